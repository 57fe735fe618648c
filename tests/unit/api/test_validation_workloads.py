"""ReplicaSets and Deployments that could never do their work are refused."""

import copy

import pytest

from h9s.api.validation import validate_create, validate_update
from tests.unit.api.manifests import DEPLOYMENT, REPLICA_SET, complete, deployment, replica_set


def faults(text: str) -> list[str]:
    return [str(fault) for fault in validate_create(complete(text))]


@pytest.mark.parametrize("text", [REPLICA_SET, DEPLOYMENT])
@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("replicas: 3", "replicas: -1", "spec.replicas: must not be negative"),
        ("replicas: 3", "minReadySeconds: -1", "spec.minReadySeconds: must not be negative"),
        ("selector: {matchLabels: {app: web}}", "", "spec.selector: required"),
        ("matchLabels: {app: web}", "matchLabels: {}", "spec.selector: required"),
        (
            "matchLabels: {app: web}",
            "matchLabels: {app: db}",
            "spec.template.metadata.labels: do not match spec.selector (app=db)",
        ),
        (
            "matchLabels: {app: web}",
            "matchExpressions: [{key: tier, operator: NotIn, values: [front]}]",
            "spec.template.metadata.labels: do not match spec.selector (tier!=front)",
        ),
        ("matchLabels: {app: web}", "matchLabels: {a b: c}", "spec.selector.matchLabels[a b]: 'a b'"),
        (
            "matchLabels: {app: web}",
            "matchExpressions: [{key: app, operator: Is}]",
            "spec.selector.matchExpressions[0].operator: 'Is' is none of In, NotIn, Exists, DoesNotExist",
        ),
        (
            "matchLabels: {app: web}",
            "matchExpressions: [{key: app, operator: In}]",
            "spec.selector.matchExpressions[0].values: required with In",
        ),
        (
            "matchLabels: {app: web}",
            "matchExpressions: [{key: app, operator: Exists, values: [a]}]",
            "spec.selector.matchExpressions[0].values: not allowed with Exists",
        ),
        (
            "matchLabels: {app: web}",
            "matchExpressions: [{operator: Exists}]",
            "spec.selector.matchExpressions[0].key: required",
        ),
        (
            "matchLabels: {app: web}",
            "matchExpressions: [{key: app, operator: In, values: [a b]}]",
            "spec.selector.matchExpressions[0].values[0]: 'a b' is not a valid label value",
        ),
        ("tier: front", "tier: a b", "spec.template.metadata.labels[tier]: 'a b' is not a valid label value"),
        ("image: nginx", "image: ''", "spec.template.spec.containers[0].image: required"),
        (
            "containers: [",
            "restartPolicy: Never\n      containers: [",
            "spec.template.spec.restartPolicy: 'Never' is not possible here: it must be Always",
        ),
    ],
)
def test_a_workload_must_be_proper(text, before, after, fault):
    (found,) = faults(text.replace(before, after))
    assert found.startswith(fault)


@pytest.mark.parametrize("text", [REPLICA_SET, DEPLOYMENT])
def test_a_workload_needs_a_template(text):
    assert faults(text.partition("  template:")[0]) == [
        "spec.template.metadata.labels: do not match spec.selector (app=web)",
        "spec.template.spec.containers: required: a pod has at least one container",
    ]


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ("revisionHistoryLimit: -1", "spec.revisionHistoryLimit: must not be negative"),
        ("progressDeadlineSeconds: -1", "spec.progressDeadlineSeconds: must not be negative"),
        ("minReadySeconds: 600", "spec.progressDeadlineSeconds: must be more than minReadySeconds, 600"),
        ("strategy: {type: BlueGreen}", "spec.strategy.type: 'BlueGreen' is none of RollingUpdate, Recreate"),
        (
            "strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}",
            "spec.strategy.rollingUpdate: cannot be given with the strategy Recreate",
        ),
        (
            "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0%}}",
            "spec.strategy.rollingUpdate.maxUnavailable: cannot be 0 when maxSurge is 0 too",
        ),
        (
            "strategy: {rollingUpdate: {maxSurge: -1}}",
            "spec.strategy.rollingUpdate.maxSurge: must not be negative",
        ),
        (
            "strategy: {rollingUpdate: {maxSurge: many}}",
            "spec.strategy.rollingUpdate.maxSurge: expected a number or a percentage such as '25%'",
        ),
        (
            "strategy: {rollingUpdate: {maxUnavailable: '1'}}",
            "spec.strategy.rollingUpdate.maxUnavailable: expected a number or a percentage",
        ),
        (
            "strategy: {rollingUpdate: {maxUnavailable: 101%}}",
            "spec.strategy.rollingUpdate.maxUnavailable: cannot be more than 100%",
        ),
    ],
)
def test_a_rollout_must_be_able_to_proceed(field, fault):
    (found,) = faults(DEPLOYMENT.replace("replicas: 3", field))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "strategy",
    [
        "{type: Recreate}",
        "{rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}",
        "{rollingUpdate: {maxSurge: 200%, maxUnavailable: 0}}",
        "{rollingUpdate: {maxSurge: 1%, maxUnavailable: 0}}",
    ],
)
def test_strategies_that_can_proceed_are_accepted(strategy):
    assert faults(DEPLOYMENT.replace("replicas: 3", f"strategy: {strategy}")) == []


@pytest.mark.parametrize("old", [replica_set(), deployment()])
def test_a_selector_is_for_life_and_the_rest_is_not(old):
    new = copy.deepcopy(old)
    new.spec.replicas = 7
    new.spec.template.spec.containers[0].image = "nginx:2"
    new.status.replicas = 3
    assert validate_update(new, old) == []
    new.spec.selector.match_labels["tier"] = "front"
    assert [str(fault) for fault in validate_update(new, old)] == [
        "spec.selector: cannot be changed in an existing object"
    ]
