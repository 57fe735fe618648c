"""What a pod's fields add up to."""

import pytest

from h9s._pb import core_pb2, meta_pb2
from h9s.api import pods
from h9s.api.pods import Resources
from h9s.errors import InvalidError
from tests.unit.api.manifests import complete, load


def pod_with(*resources: str) -> core_pb2.Pod:
    """A pod with one container per text of its resources."""
    containers = ", ".join(f"{{name: c{n}, resources: {text}}}" for n, text in enumerate(resources))
    message = load(f"{{kind: Pod, spec: {{containers: [{containers}]}}}}")
    assert isinstance(message, core_pb2.Pod)
    return message


def ready_pod(status: str, since: int) -> core_pb2.Pod:
    message = core_pb2.Pod()
    condition = meta_pb2.Condition(type="Ready", status=status)
    condition.last_transition_time.seconds = since
    message.status.conditions.append(condition)
    return message


@pytest.mark.parametrize(("status", "ready"), [("True", True), ("False", False), ("Unknown", False)])
def test_a_pod_is_ready_when_its_condition_says_so(status, ready):
    assert pods.is_ready(ready_pod(status, 0)) is ready
    assert not pods.is_ready(core_pb2.Pod())


@pytest.mark.parametrize(
    ("min_ready_seconds", "now", "available"), [(0, 100.0, True), (10, 109.9, False), (10, 110.0, True)]
)
def test_a_pod_is_available_once_it_has_been_ready_long_enough(min_ready_seconds, now, available):
    assert pods.is_available(ready_pod("True", 100), min_ready_seconds, now) is available


def test_a_pod_that_is_not_ready_is_never_available():
    assert not pods.is_available(ready_pod("False", 0), 0, 1e9)
    assert not pods.is_available(core_pb2.Pod(), 0, 1e9)


@pytest.mark.parametrize(
    ("phase", "terminal"),
    [
        ("", False),
        ("Pending", False),
        ("Running", False),
        ("Unknown", False),
        ("Succeeded", True),
        ("Failed", True),
    ],
)
def test_a_pod_is_terminal_once_its_containers_have_ended_for_good(phase, terminal):
    message = core_pb2.Pod(status=core_pb2.PodStatus(phase=phase))
    assert pods.is_terminal(message) is terminal
    assert pods.is_active(message) is not terminal


def test_a_pod_being_deleted_is_not_active():
    message = core_pb2.Pod()
    message.metadata.deletion_timestamp.seconds = 1
    assert not pods.is_active(message)


def test_requests_of_all_containers_add_up_and_limits_stand_in():
    message = pod_with(
        "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 1, memory: 1Gi}}", "{limits: {cpu: 0.5}}", "{}"
    )
    assert pods.requests(message) == Resources(cpu_millis=600, memory_bytes=64 * 1024**2)


def test_a_quantity_that_is_none_is_an_error():
    with pytest.raises(InvalidError):
        pods.requests(pod_with("{requests: {cpu: lots}}"))


def test_resources_add_and_subtract_field_by_field():
    assert Resources(1, 2).plus(Resources(3, 4)) == Resources(4, 6)
    assert Resources(1, 2).minus(Resources(3, 1)) == Resources(-2, 1)


@pytest.mark.parametrize(
    ("resources", "qos_class"),
    [
        (["{}", "{}"], "BestEffort"),
        (["{limits: {cpu: 0}}"], "BestEffort"),
        (["{limits: {cpu: 1, memory: 1Gi}}"], "Guaranteed"),
        (["{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1000m, memory: 1024Mi}}"], "Guaranteed"),
        (["{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}"], "Burstable"),
        (["{limits: {cpu: 1}}"], "Burstable"),
        (["{requests: {memory: 1Mi}}"], "Burstable"),
        (["{limits: {cpu: 1, memory: 1Gi}}", "{}"], "Burstable"),
    ],
)
def test_quality_of_service_follows_from_requests_and_limits(resources, qos_class):
    message = pod_with(*resources)
    assert pods.qos_class(message) == qos_class


def test_defaults_do_not_change_the_quality_of_service():
    text = "{kind: Pod, spec: {containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi}}}]}}"
    assert pods.qos_class(load(text)) == complete(text).status.qos_class == "Guaranteed"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "u1"),
        ("metadata.labels['app']", "shop"),
        ("metadata.labels['absent']", ""),
        ("metadata.annotations['example.com/a']", "b"),
        ("spec.nodeName", "n1"),
        ("status.podIP", "10.0.0.1"),
        ("status.hostIP", "192.0.2.1"),
    ],
)
def test_a_pod_knows_its_own_fields(path, value):
    message = load(
        "{kind: Pod, metadata: {name: web, namespace: default, uid: u1, labels: {app: shop},"
        " annotations: {example.com/a: b}}, spec: {nodeName: n1},"
        " status: {podIP: 10.0.0.1, hostIP: 192.0.2.1}}"
    )
    assert pods.is_field_path(path)
    assert pods.field_value(message, path) == value


@pytest.mark.parametrize(
    "path", ["", "spec.hostname", "metadata.labels", "metadata.labels[app]", "status.podIP "]
)
def test_a_pod_does_not_give_away_other_fields(path):
    assert not pods.is_field_path(path)
    with pytest.raises(InvalidError, match="is none of metadata"):
        pods.field_value(core_pb2.Pod(), path)
