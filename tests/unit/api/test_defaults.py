"""What a manifest leaves open becomes what Kubernetes would make of it."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings

from h9s.api.defaults import default_pull_policy, set_defaults
from tests.unit.api.manifests import DEPLOYMENT, POD, complete, deployment, load, pod, replica_set
from tests.unit.api.messages import any_objects


def test_a_pod_restarts_and_gets_thirty_seconds_to_end():
    spec = pod().spec
    assert spec.restart_policy == "Always"
    assert spec.termination_grace_period_seconds == 30
    assert spec.containers[0].ports[0].protocol == "TCP"


def test_a_pod_starts_pending_with_its_quality_of_service():
    status = pod().status
    assert (status.phase, status.qos_class) == ("Pending", "Guaranteed")


def test_what_is_given_stays():
    spec = complete(
        POD.replace("containers:", "restartPolicy: Never\n  terminationGracePeriodSeconds: 0\n  containers:")
        .replace("image:", "imagePullPolicy: Never\n    image:")
        .replace("containerPort: 80", "containerPort: 80, protocol: UDP")
    ).spec
    assert spec.restart_policy == "Never"
    assert spec.termination_grace_period_seconds == 0
    assert spec.containers[0].image_pull_policy == "Never"
    assert spec.containers[0].ports[0].protocol == "UDP"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1.27", "IfNotPresent"),
        ("registry:5000/team/nginx:latest", "Always"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("nginx:latest@sha256:abc", "Always"),
        ("nginx:1.27@sha256:abc", "IfNotPresent"),
    ],
)
def test_only_a_tag_that_moves_is_always_pulled(image, policy):
    assert default_pull_policy(image) == policy
    assert complete(POD.replace("nginx:1.27", image)).spec.containers[0].image_pull_policy == policy


def test_requests_default_to_the_limits_in_pods_but_not_in_templates():
    container = complete(
        "{kind: Pod, spec: {containers: [{resources: {limits: {cpu: 2, memory: 1Gi}, requests: {cpu: 1}}}]}}"
    ).spec.containers[0]
    assert dict(container.resources.requests) == {"cpu": "1", "memory": "1Gi"}
    template = complete(
        "{kind: Deployment, spec: {template: {spec: {containers: [{resources: {limits: {cpu: 2}}}]}}}}"
    ).spec.template
    assert not template.spec.containers[0].resources.requests


def test_equal_amounts_are_written_equally():
    resources = "{kind: Pod, spec: {containers: [{resources: {limits: {cpu: '%s', memory: '%s'}}}]}}"
    assert complete(resources % ("0.5", "1024Mi")) == complete(resources % ("500m", "1Gi"))


def test_a_wrong_quantity_is_left_for_validation():
    message = complete("{kind: Pod, spec: {containers: [{resources: {limits: {cpu: lots}}}]}}")
    assert message.spec.containers[0].resources.limits["cpu"] == "lots"


def test_a_field_reference_is_to_version_1():
    env = "[{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: B}]"
    message = complete(f"{{kind: Pod, spec: {{containers: [{{env: {env}}}]}}}}")
    first, second = message.spec.containers[0].env
    assert first.value_from.field_ref.api_version == "v1"
    assert not second.HasField("value_from")


def test_workloads_have_one_replica_unless_told():
    assert complete(DEPLOYMENT.replace("replicas: 3", "")).spec.replicas == 1
    assert complete(DEPLOYMENT.replace("replicas: 3", "replicas: 0")).spec.replicas == 0
    assert replica_set().spec.replicas == 3


def test_a_deployment_rolls_by_quarters():
    spec = deployment().spec
    assert spec.strategy.type == "RollingUpdate"
    assert spec.strategy.rolling_update.max_surge.string_value == "25%"
    assert spec.strategy.rolling_update.max_unavailable.string_value == "25%"
    assert (spec.revision_history_limit, spec.progress_deadline_seconds) == (10, 600)
    assert spec.template.spec.restart_policy == "Always"
    assert spec.template.spec.containers[0].image_pull_policy == "Always"


def test_a_deployment_that_recreates_has_no_rolling_update():
    strategy = complete(DEPLOYMENT.replace("replicas: 3", "strategy: {type: Recreate}")).spec.strategy
    assert strategy.type == "Recreate"
    assert not strategy.HasField("rolling_update")


def test_a_given_surge_of_zero_stays():
    text = DEPLOYMENT.replace("replicas: 3", "strategy: {rollingUpdate: {maxSurge: 0}}")
    rolling_update = complete(text).spec.strategy.rolling_update
    assert rolling_update.max_surge.WhichOneof("value") == "int_value"
    assert rolling_update.max_unavailable.string_value == "25%"


def test_a_workloads_own_labels_are_not_made_up():
    assert not deployment().metadata.labels
    assert not replica_set().metadata.labels


def test_a_namespace_is_active_and_waits_for_its_content():
    namespace = complete(
        "{kind: Namespace, metadata: {name: shop, labels: {kubernetes.io/metadata.name: liar}}}"
    )
    assert list(namespace.spec.finalizers) == ["kubernetes"]
    assert namespace.status.phase == "Active"
    assert namespace.metadata.labels["kubernetes.io/metadata.name"] == "shop"


def test_the_last_finalizer_of_a_namespace_being_deleted_does_not_come_back():
    namespace = load("{kind: Namespace, metadata: {name: shop, deletionTimestamp: 2024-05-01T10:00:00Z}}")
    set_defaults(namespace)
    assert not namespace.spec.finalizers


def test_a_node_gives_all_it_has():
    node = complete("{kind: Node, status: {capacity: {cpu: 4, memory: 1024Mi, pods: 110}}}")
    assert dict(node.status.allocatable) == {"cpu": "4", "memory": "1Gi", "pods": "110"}
    assert dict(node.status.capacity) == dict(node.status.allocatable)
    kept = complete("{kind: Node, status: {capacity: {cpu: 4}, allocatable: {cpu: 3}}}")
    assert dict(kept.status.allocatable) == {"cpu": "3"}


@given(any_objects)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_defaulting_twice_changes_nothing_more(message):
    set_defaults(message)
    once = copy.deepcopy(message)
    set_defaults(message)
    assert message == once
