"""A pod that no howbelet could run as written is refused."""

import copy

import pytest

from h9s.api.defaults import set_defaults
from h9s.api.validation import validate_create, validate_update
from tests.unit.api.manifests import POD, complete, pod

CONTAINER = "- name: web"


def faults(text: str) -> list[str]:
    return [str(fault) for fault in validate_create(complete(text))]


def with_field(field: str) -> str:
    """The pod with one more field in its spec."""
    return POD.replace("spec:\n", f"spec:\n  {field}\n")


def with_container_field(field: str) -> str:
    """The pod whose container has only a name, an image and this."""
    head = POD.partition("    ports:")[0]
    return f"{head}    {field}\n"


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ("restartPolicy: Sometimes", "spec.restartPolicy: 'Sometimes' is none of Always, OnFailure, Never"),
        ("terminationGracePeriodSeconds: -1", "spec.terminationGracePeriodSeconds: must not be negative"),
        ("nodeSelector: {a b: c}", "spec.nodeSelector[a b]: 'a b' is not a valid key"),
        ("nodeName: Node_1", "spec.nodeName: 'Node_1' is not a valid name"),
        ("hostname: a.b", "spec.hostname: 'a.b' is not a valid name"),
    ],
)
def test_the_spec_must_be_proper(field, fault):
    (found,) = faults(with_field(field))
    assert found.startswith(fault)


def test_a_pod_has_at_least_one_container():
    assert faults("{kind: Pod, metadata: {name: a, namespace: b}}") == [
        "spec.containers: required: a pod has at least one container"
    ]


def test_names_of_containers_are_unique():
    assert faults(POD + "  - {name: web, image: x}\n") == ["spec.containers[1].name: 'web' is there twice"]


@pytest.mark.parametrize(
    ("container", "fault"),
    [
        ("{image: a}", "spec.containers[1].name: required"),
        ("{name: A, image: a}", "spec.containers[1].name: 'A' is not a valid name"),
        ("{name: a.b, image: a}", "spec.containers[1].name: 'a.b' is not a valid name"),
        ("{name: a}", "spec.containers[1].image: required"),
        ("{name: a, image: ' '}", "spec.containers[1].image: required"),
        ("{name: a, image: ' a'}", "spec.containers[1].image: has spaces around it"),
        (
            "{name: a, image: a, imagePullPolicy: Sometimes}",
            "spec.containers[1].imagePullPolicy: 'Sometimes' is none of Always, IfNotPresent, Never",
        ),
    ],
)
def test_every_container_has_a_name_and_an_image(container, fault):
    (found,) = faults(POD + f"  - {container}\n")
    assert found.startswith(fault)


@pytest.mark.parametrize(
    ("ports", "fault"),
    [
        ("[{name: http}]", "ports[0].containerPort: required"),
        ("[{containerPort: 70000}]", "ports[0].containerPort: 70000 is no port: from 1 to 65535"),
        ("[{containerPort: -1}]", "ports[0].containerPort: -1 is no port"),
        ("[{containerPort: 80, hostPort: 65536}]", "ports[0].hostPort: 65536 is no port"),
        ("[{containerPort: 80, hostIP: here}]", "ports[0].hostIP: 'here' is not an IP address"),
        ("[{containerPort: 80, protocol: tcp}]", "ports[0].protocol: 'tcp' is none of TCP, UDP"),
        ("[{containerPort: 80, name: HTTP}]", "ports[0].name: 'HTTP' is not a valid port name"),
        ("[{containerPort: 80, name: '80'}]", "ports[0].name: '80' is not a valid port name"),
        ("[{containerPort: 80, name: a--b}]", "ports[0].name: 'a--b' is not a valid port name"),
        (f"[{{containerPort: 80, name: {'a' * 16}}}]", "is not a valid port name"),
        ("[{containerPort: 80, name: a}, {containerPort: 81, name: a}]", "ports[1].name: 'a' is there twice"),
        ("[{containerPort: 80}, {containerPort: 80}]", "ports[1].containerPort: 80/TCP is there twice"),
        (
            "[{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 8080}]",
            "ports[1].hostPort: 8080/TCP is there twice in this pod",
        ),
    ],
)
def test_ports_must_be_proper_and_unique(ports, fault):
    (found,) = faults(with_container_field(f"ports: {ports}"))
    assert fault in found


@pytest.mark.parametrize(
    "ports",
    [
        "[{containerPort: 53, protocol: TCP}, {containerPort: 53, protocol: UDP}]",
        "[{containerPort: 80, name: a1-b2, hostPort: 1, hostIP: '::1'}]",
        "[{containerPort: 80, hostPort: 8080}, {containerPort: 81, hostPort: 8080, protocol: UDP}]",
    ],
)
def test_ports_that_do_not_collide_are_fine(ports):
    assert faults(with_container_field(f"ports: {ports}")) == []


def test_containers_of_a_pod_share_the_ports_of_the_host():
    port = "ports: [{containerPort: 80, hostPort: 8080}]"
    assert faults(with_container_field(port) + f"  - {{name: b, image: b, {port}}}\n") == [
        "spec.containers[1].ports[0].hostPort: 8080/TCP is there twice in this pod"
    ]


@pytest.mark.parametrize(
    ("variable", "fault"),
    [
        ("{value: a}", "env[0].name: required"),
        ("{name: 1A}", "env[0].name: '1A' is not a valid environment variable name"),
        ("{name: A=B}", "env[0].name: 'A=B' is not a valid environment variable name"),
        ("{name: ..a}", "env[0].name: '..a' is not a valid environment variable name"),
        ("{name: A, valueFrom: {}}", "env[0].valueFrom.fieldRef: required"),
        (
            "{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}",
            "env[0].valueFrom: cannot be given together with a value",
        ),
        (
            "{name: A, valueFrom: {fieldRef: {}}}",
            "env[0].valueFrom.fieldRef.fieldPath: required: one of metadata.name",
        ),
        (
            "{name: A, valueFrom: {fieldRef: {fieldPath: spec.nodename}}}",
            "fieldPath: 'spec.nodename' is none of metadata.name, ",
        ),
        (
            "{name: A, valueFrom: {fieldRef: {apiVersion: v2, fieldPath: metadata.name}}}",
            "env[0].valueFrom.fieldRef.apiVersion: 'v2' is none of v1",
        ),
    ],
)
def test_environment_variables_must_be_proper(variable, fault):
    (found,) = faults(with_container_field(f"env: [{variable}]"))
    assert fault in found


@pytest.mark.parametrize(
    "variable",
    [
        "{name: A}",
        "{name: my.var-1, value: ''}",
        "{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}",
        """{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['example.com/app']"}}}""",
    ],
)
def test_environment_variables_of_every_sort_are_accepted(variable):
    assert faults(with_container_field(f"env: [{variable}]")) == []


@pytest.mark.parametrize(
    ("resources", "fault"),
    [
        ("{limits: {cpu: lots}}", "resources.limits[cpu]: 'lots' is not a quantity"),
        ("{requests: {memory: 64MB}}", "resources.requests[memory]: '64MB' is not a quantity"),
        ("{limits: {memory: -1}, requests: {memory: 0}}", "resources.limits[memory]: must not be negative"),
        ("{requests: {gpu: 1}}", "resources.requests[gpu]: unknown resource: h9s knows cpu and memory"),
        (
            "{limits: {cpu: 1}, requests: {cpu: 1001m}}",
            "resources.requests[cpu]: 1001m is more than the limit, 1",
        ),
        (
            "{limits: {memory: 1G}, requests: {memory: 1Gi}}",
            "resources.requests[memory]: 1Gi is more than the limit",
        ),
    ],
)
def test_resources_must_be_proper_and_within_their_limits(resources, fault):
    (found,) = faults(with_container_field(f"resources: {resources}"))
    assert fault in found


def changed(change) -> list[str]:
    old = pod()
    new = copy.deepcopy(old)
    change(new)
    set_defaults(new)
    return [str(fault) for fault in validate_update(new, old)]


def test_an_existing_pods_images_can_be_changed():
    def change(new):
        new.spec.containers[0].image = "nginx:1.28"

    assert changed(change) == []


def test_a_new_image_must_be_proper_too():
    def change(new):
        new.spec.containers[0].image = ""

    assert changed(change) == ["spec.containers[0].image: required"]


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("spec.restartPolicy", lambda new: setattr(new.spec, "restart_policy", "Never")),
        ("spec.hostname", lambda new: setattr(new.spec, "hostname", "a")),
        ("spec.nodeSelector", lambda new: new.spec.node_selector.update({"a": "b"})),
        ("spec.containers", lambda new: new.spec.containers.add(name="b", image="b")),
        ("spec.containers", lambda new: setattr(new.spec.containers[0], "working_dir", "/")),
    ],
)
def test_nothing_else_of_its_spec_can(path, change):
    (found,) = changed(change)
    assert found == f"{path}: cannot be changed in an existing pod (only its containers' images can)"


def test_a_pod_is_bound_to_a_node_once():
    def bind(new):
        new.spec.node_name = "n1"

    assert changed(bind) == []
    old = pod()
    old.spec.node_name = "n0"
    new = copy.deepcopy(old)
    bind(new)
    assert [str(fault) for fault in validate_update(new, old)] == [
        "spec.nodeName: cannot be changed: the pod is bound to 'n0'"
    ]
