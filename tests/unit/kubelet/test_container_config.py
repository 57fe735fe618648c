import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import core_pb2
from h9s.kubelet.container_config import (
    ContainerConfigError,
    container_config,
    expand,
    grace_seconds,
    sandbox_config,
    spec_hash,
)
from h9s.kubelet.runtime import PortMapping
from tests.unit.kubelet.world import make_pod


def from_field(name, path):
    variable = core_pb2.EnvVar(name=name)
    variable.value_from.field_ref.field_path = path
    return variable


def configure(container, pod=None):
    return container_config(
        pod or make_pod(container),
        container,
        attempt=2,
        sandbox_id="box",
        image_id="sha256:1",
        pod_ip="10.0.0.2",
        host_ip="192.0.2.1",
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(NONE)", "$(NONE)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$", "$"),
        ("$", "$"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(A)$", "1$"),
        ("100$%", "100$%"),
    ],
)
def test_references_to_variables_are_expanded_as_kubernetes_does(text, expanded):
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text())
def test_a_text_whose_dollars_are_doubled_expands_to_itself(text):
    assert expand(text.replace("$", "$$"), {"A": "1", "": "2"}) == text


def test_the_environment_sees_the_pods_own_fields_and_earlier_variables():
    container = core_pb2.Container(
        name="main",
        image="app:1",
        command=["run", "--name=$(NAME)"],
        args=["$(GREETING)", "$(LATER)"],
        env=[
            from_field("NAME", "metadata.name"),
            from_field("IP", "status.podIP"),
            from_field("NODE", "spec.nodeName"),
            from_field("HOST", "status.hostIP"),
            from_field("APP", "metadata.labels['app']"),
            core_pb2.EnvVar(name="GREETING", value="hello $(NAME) at $(IP), not $(LATER)"),
            core_pb2.EnvVar(name="LATER", value="z"),
        ],
    )
    pod = make_pod(container)
    pod.metadata.labels["app"] = "shop"
    config = configure(container, pod)
    assert dict(config.env) == {
        "NAME": "web",
        "IP": "10.0.0.2",
        "NODE": "n1",
        "HOST": "192.0.2.1",
        "APP": "shop",
        "GREETING": "hello web at 10.0.0.2, not $(LATER)",
        "LATER": "z",
    }
    assert config.command == ("run", "--name=web")
    assert config.args == ("hello web at 10.0.0.2, not $(LATER)", "z")
    assert pod.status.pod_ip == ""


def test_quantities_become_numbers_and_a_limit_stands_in_for_a_request():
    container = core_pb2.Container(name="main", image="app:1")
    container.resources.limits.update({"cpu": "1500m", "memory": "64Mi"})
    config = configure(container)
    assert (config.cpu_limit_millis, config.cpu_request_millis) == (1500, 1500)
    assert config.memory_limit_bytes == 64 << 20
    container.resources.requests["cpu"] = "0.25"
    assert configure(container).cpu_request_millis == 250


def test_a_field_that_pods_do_not_have_is_a_config_error_that_names_it():
    container = core_pb2.Container(name="main", image="app:1", env=[from_field("X", "spec.nonsense")])
    with pytest.raises(ContainerConfigError, match=r"container main: .*spec\.nonsense"):
        configure(container)


def test_the_hash_tells_specs_apart():
    container = core_pb2.Container(name="main", image="app:1")
    before = spec_hash(container)
    assert spec_hash(container) == before
    container.image = "app:2"
    assert spec_hash(container) != before


def test_a_sandbox_has_the_host_name_and_the_ports_of_the_machine():
    container = core_pb2.Container(
        name="main",
        image="app:1",
        ports=[
            core_pb2.ContainerPort(container_port=80, host_port=8080, protocol="TCP"),
            core_pb2.ContainerPort(container_port=53, host_port=53, host_ip="127.0.0.1", protocol="UDP"),
            core_pb2.ContainerPort(container_port=9000),
        ],
    )
    config = sandbox_config(make_pod(container, name="n" * 62 + "-x"), attempt=1)
    assert config.hostname == "n" * 62
    assert config.ports == (PortMapping(80, 8080, "", "TCP"), PortMapping(53, 53, "127.0.0.1", "UDP"))
    assert sandbox_config(make_pod(hostname="db"), attempt=0).hostname == "db"


def test_the_grace_period_is_the_deletions_then_the_specs_then_thirty_seconds():
    pod = make_pod()
    assert grace_seconds(pod) == 30
    pod.spec.termination_grace_period_seconds = 5
    assert grace_seconds(pod) == 5
    pod.metadata.deletion_grace_period_seconds = 0
    assert grace_seconds(pod) == 0
