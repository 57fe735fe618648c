"""Rules for ReplicaSets and Deployments: selector and template belong together, rollouts can proceed."""

from __future__ import annotations

from typing import TypeAlias

from h9s._pb import apps_pb2, core_pb2, meta_pb2
from h9s.api import int_or_string, names
from h9s.api.labels import Operator, Selector
from h9s.api.validation_metadata import (
    REQUIRED,
    Faults,
    enum_fault,
    label_and_annotation_faults,
    label_faults,
)
from h9s.api.validation_pods import pod_spec_faults
from h9s.errors import FieldFault

Workload: TypeAlias = apps_pb2.ReplicaSet | apps_pb2.Deployment

STRATEGIES = ("RollingUpdate", "Recreate")


def replica_set_faults(replica_set: apps_pb2.ReplicaSet) -> Faults:
    """Faults of a ReplicaSet's spec."""
    spec = replica_set.spec
    faults = _not_negative(("replicas", spec.replicas), ("minReadySeconds", spec.min_ready_seconds))
    return faults + _selector_and_template_faults(spec.selector, spec.template)


def deployment_faults(deployment: apps_pb2.Deployment) -> Faults:
    """Faults of a Deployment's spec."""
    spec = deployment.spec
    faults = _not_negative(
        ("replicas", spec.replicas),
        ("minReadySeconds", spec.min_ready_seconds),
        ("revisionHistoryLimit", spec.revision_history_limit),
        ("progressDeadlineSeconds", spec.progress_deadline_seconds),
    )
    if 0 <= spec.progress_deadline_seconds <= spec.min_ready_seconds:
        message = f"must be more than minReadySeconds, {spec.min_ready_seconds}"
        faults.append(FieldFault("spec.progressDeadlineSeconds", message))
    faults += _selector_and_template_faults(spec.selector, spec.template)
    return faults + _strategy_faults(spec.strategy)


def selector_update_faults(new: Workload, old: Workload) -> Faults:
    """A workload keeps its selector for life: it tells which pods are its own."""
    if new.spec.selector == old.spec.selector:
        return []
    return [FieldFault("spec.selector", "cannot be changed in an existing object")]


def selector_faults(selector: meta_pb2.LabelSelector, path: str) -> Faults:
    """Faults of a label selector that must select something in particular."""
    if not selector.match_labels and not selector.match_expressions:
        return [FieldFault(path, REQUIRED)]
    faults = label_faults(selector.match_labels, f"{path}.matchLabels")
    operators = tuple(operator.value for operator in Operator)
    for index, expression in enumerate(selector.match_expressions):
        place = f"{path}.matchExpressions[{index}]"
        if message := names.label_key_fault(expression.key) if expression.key else REQUIRED:
            faults.append(FieldFault(f"{place}.key", message))
        if message := enum_fault(expression.operator, operators):
            faults.append(FieldFault(f"{place}.operator", message))
        elif expression.operator in ("In", "NotIn"):
            if not expression.values:
                faults.append(FieldFault(f"{place}.values", f"required with {expression.operator}"))
        elif expression.values:
            faults.append(FieldFault(f"{place}.values", f"not allowed with {expression.operator}"))
        for number, value in enumerate(expression.values):
            if message := names.label_value_fault(value):
                faults.append(FieldFault(f"{place}.values[{number}]", message))
    return faults


def _selector_and_template_faults(
    selector: meta_pb2.LabelSelector, template: core_pb2.PodTemplateSpec
) -> Faults:
    faults = selector_faults(selector, "spec.selector")
    if not faults and not Selector.from_label_selector(selector).matches(template.metadata.labels):
        message = f"do not match spec.selector ({Selector.from_label_selector(selector)})"
        faults.append(FieldFault("spec.template.metadata.labels", message))
    faults += label_and_annotation_faults(template.metadata, "spec.template.metadata")
    faults += pod_spec_faults(template.spec, "spec.template.spec")
    if template.spec.restart_policy in ("OnFailure", "Never"):
        message = f"{template.spec.restart_policy!r} is not possible here: it must be Always"
        faults.append(FieldFault("spec.template.spec.restartPolicy", message))
    return faults


def _strategy_faults(strategy: apps_pb2.DeploymentStrategy) -> Faults:
    path = "spec.strategy.rollingUpdate"
    if message := enum_fault(strategy.type, STRATEGIES):
        return [FieldFault("spec.strategy.type", message)]
    if strategy.type == "Recreate":
        if strategy.HasField("rolling_update"):
            return [FieldFault(path, "cannot be given with the strategy Recreate")]
        return []
    surge, unavailable = strategy.rolling_update.max_surge, strategy.rolling_update.max_unavailable
    faults = _int_or_percentage_faults(surge, f"{path}.maxSurge")
    faults += _int_or_percentage_faults(unavailable, f"{path}.maxUnavailable")
    if faults:
        return faults
    if (int_or_string.percentage(unavailable.string_value) or 0) > 100:
        faults.append(FieldFault(f"{path}.maxUnavailable", "cannot be more than 100%"))
    if not int_or_string.resolve(surge, 100, round_up=True) and not int_or_string.resolve(
        unavailable, 100, round_up=True
    ):
        message = "cannot be 0 when maxSurge is 0 too: no pod could ever be replaced"
        faults.append(FieldFault(f"{path}.maxUnavailable", message))
    return faults


def _int_or_percentage_faults(value: meta_pb2.IntOrString, path: str) -> Faults:
    if value.WhichOneof("value") == "string_value":
        if int_or_string.percentage(value.string_value) is None:
            message = f"expected a number or a percentage such as '25%', got {value.string_value!r}"
            return [FieldFault(path, message)]
    elif value.int_value < 0:
        return [FieldFault(path, "must not be negative")]
    return []


def _not_negative(*fields: tuple[str, int]) -> Faults:
    return [FieldFault(f"spec.{name}", "must not be negative") for name, value in fields if value < 0]
