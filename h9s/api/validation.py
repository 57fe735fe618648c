"""Whether an object, complete with its defaults, may be created, or take another's place.

Kubernetes' rules for the fields that h9s has. Every fault is found, not only the first. Runs on the
leader before every commit: nothing here walks a message by its descriptor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from h9s._pb import apps_pb2, cluster_pb2, coordination_pb2, core_pb2
from h9s.api import names
from h9s.api.kinds import ApiObject, Kind, kind_of
from h9s.api.validation_metadata import (
    REQUIRED,
    Faults,
    condition_faults,
    enum_fault,
    metadata_faults,
    metadata_update_faults,
    name_fault,
)
from h9s.api.validation_pods import (
    pod_spec_faults,
    pod_spec_update_faults,
    pod_status_faults,
    quantity_faults,
)
from h9s.api.validation_workloads import (
    Workload,
    deployment_faults,
    replica_set_faults,
    selector_update_faults,
)
from h9s.errors import FieldFault

_SHA256 = re.compile(r"[0-9a-f]{64}")


def validate_create(message: ApiObject) -> list[FieldFault]:
    """All faults of a new object whose name has been generated and whose defaults are set."""
    kind = kind_of(message)
    rules = _rules_of(message)
    faults = metadata_faults(message.metadata, kind) + rules.spec(message) + rules.status(message)
    if message.metadata.resource_version:
        faults.append(FieldFault("metadata.resourceVersion", "must not be set on a new object"))
    return faults


def validate_update(new: ApiObject, old: ApiObject) -> list[FieldFault]:
    """All faults of `new` as the next state of `old`: its own, and changes of what cannot change.

    A spec that stays as it was is not judged again: an object accepted once can always report its
    status, under stricter rules too.
    """
    kind = kind_of(new)
    rules = _rules_of(new)
    faults = metadata_update_faults(new.metadata, old.metadata)
    faults += metadata_faults(new.metadata, kind)
    if not kind.has_status or getattr(new, "spec", None) != getattr(old, "spec", None):
        faults += rules.update(new, old) + rules.spec(new)
    return faults + rules.status(new)


def validate_name(kind: Kind, name: str) -> list[FieldFault]:
    """Faults of a name for an object of this kind."""
    message = name_fault(kind, name) if name else REQUIRED
    return [FieldFault("metadata.name", message)] if message else []


def _nothing(*_messages: ApiObject) -> Faults:
    return []


class Rules(NamedTuple):
    """What a kind asks for beyond its metadata: of all but its status, of its status, and of changes."""

    spec: Callable[[Any], Faults]
    status: Callable[[Any], Faults] = _nothing
    update: Callable[[Any, Any], Faults] = _nothing


def _rules_of(message: ApiObject) -> Rules:
    return _RULES.get(type(message), _NO_RULES)


def _status_condition_faults(message: core_pb2.Namespace | Workload) -> Faults:
    conditions = message.status.conditions
    return condition_faults(conditions) if conditions else []


def _namespace_spec_faults(namespace: core_pb2.Namespace) -> Faults:
    return [
        FieldFault(f"spec.finalizers[{index}]", message)
        for index, finalizer in enumerate(namespace.spec.finalizers)
        if (message := names.label_key_fault(finalizer))
    ]


def _namespace_status_faults(namespace: core_pb2.Namespace) -> Faults:
    faults = _status_condition_faults(namespace)
    if message := enum_fault(namespace.status.phase, ("Active", "Terminating")):
        faults.append(FieldFault("status.phase", message))
    return faults


def _node_status_faults(node: core_pb2.Node) -> Faults:
    status = node.status
    faults = condition_faults(status.conditions)
    faults += quantity_faults(status.capacity, "status.capacity")
    return faults + quantity_faults(status.allocatable, "status.allocatable", but=status.capacity)


def _event_faults(event: core_pb2.Event) -> Faults:
    faults: Faults = []
    namespace = event.involved_object.namespace
    if namespace and namespace != event.metadata.namespace:
        message = f"{namespace!r} is not the event's own, {event.metadata.namespace!r}"
        faults.append(FieldFault("involvedObject.namespace", message))
    if event.type and (message := enum_fault(event.type, ("Normal", "Warning"))):
        faults.append(FieldFault("type", message))
    if event.count < 0:
        faults.append(FieldFault("count", "must not be negative"))
    return faults


def _lease_faults(lease: coordination_pb2.Lease) -> Faults:
    faults: Faults = []
    spec = lease.spec
    if spec.HasField("lease_duration_seconds") and spec.lease_duration_seconds <= 0:
        faults.append(FieldFault("spec.leaseDurationSeconds", "must be more than 0"))
    if spec.lease_transitions < 0:
        faults.append(FieldFault("spec.leaseTransitions", "must not be negative"))
    return faults


def _join_token_faults(token: cluster_pb2.JoinToken) -> Faults:
    faults: Faults = []
    if not _SHA256.fullmatch(token.spec.secret_sha256):
        faults.append(FieldFault("spec.secretSha256", "expected 64 hexadecimal digits"))
    if not token.spec.HasField("expires_at"):
        faults.append(FieldFault("spec.expiresAt", REQUIRED))
    return faults


def _pod_spec_faults(pod: core_pb2.Pod) -> Faults:
    return pod_spec_faults(pod.spec, "spec")


def _pod_update_faults(new: core_pb2.Pod, old: core_pb2.Pod) -> Faults:
    return pod_spec_update_faults(new.spec, old.spec)


_NO_RULES = Rules(spec=_nothing)
_RULES: dict[type[ApiObject], Rules] = {
    core_pb2.Namespace: Rules(spec=_namespace_spec_faults, status=_namespace_status_faults),
    core_pb2.Pod: Rules(spec=_pod_spec_faults, status=pod_status_faults, update=_pod_update_faults),
    core_pb2.Node: Rules(spec=_nothing, status=_node_status_faults),
    core_pb2.Event: Rules(spec=_event_faults),
    apps_pb2.ReplicaSet: Rules(
        spec=replica_set_faults, status=_status_condition_faults, update=selector_update_faults
    ),
    apps_pb2.Deployment: Rules(
        spec=deployment_faults, status=_status_condition_faults, update=selector_update_faults
    ),
    coordination_pb2.Lease: Rules(spec=_lease_faults),
    cluster_pb2.JoinToken: Rules(spec=_join_token_faults),
}
