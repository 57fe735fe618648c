"""What the server itself writes into objects: identity, generation, deletion, who may write which part.

Pure: every function works on the messages it is given and knows neither store nor clock. Semantics
are Kubernetes': `spec` and the rest of an object have one writer, `status` another; deletion of what
somebody still has to clean up is announced first and done when the last of them has let go.
"""

from __future__ import annotations

from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, core_pb2
from h9s.api import conditions
from h9s.api.kinds import ApiObject, Kind, kind_of
from h9s.errors import ForbiddenError, InvalidError

POD = kind_of(core_pb2.Pod)
NODE = kind_of(core_pb2.Node)
NAMESPACE = kind_of(core_pb2.Namespace)

#: Exist from the start, and stay.
SYSTEM_NAMESPACES = ("default", "h9s-system")
FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
_FINALIZER_OF_POLICY = {
    "": "",
    "Background": "",
    "Foreground": FOREGROUND_FINALIZER,
    "Orphan": ORPHAN_FINALIZER,
}

#: The condition by which a node is alive.
READY = "Ready"


def prepare_create(kind: Kind, new: ApiObject, *, uid: str, now: Timestamp, keep_liveness: bool) -> None:
    """Give a new object what only the server may: in place, before defaults and validation.

    Whatever the client put there is replaced. Status starts empty, except a node's, which its
    howbelet may report along with it; but not, with `keep_liveness`, that it is ready.
    """
    metadata = new.metadata
    metadata.uid = uid
    metadata.resource_version = ""
    metadata.creation_timestamp.CopyFrom(now)
    metadata.ClearField("deletion_timestamp")
    metadata.ClearField("deletion_grace_period_seconds")
    metadata.generation = 1 if kind.has_spec else 0
    if kind.has_status and kind is not NODE:
        cast(Any, new).ClearField("status")
    if isinstance(new, core_pb2.Node) and keep_liveness:
        conditions.remove(new.status.conditions, READY)


def prepare_update(kind: Kind, new: ApiObject, old: ApiObject) -> None:
    """Carry over from `old` what an update cannot change: in place, before defaults and validation."""
    metadata, before = new.metadata, old.metadata
    metadata.uid = before.uid
    metadata.resource_version = ""
    metadata.generate_name = before.generate_name
    metadata.generation = before.generation
    _carry(metadata, before, "creation_timestamp")
    _carry(metadata, before, "deletion_timestamp")
    if before.HasField("deletion_grace_period_seconds"):
        metadata.deletion_grace_period_seconds = before.deletion_grace_period_seconds
    else:
        metadata.ClearField("deletion_grace_period_seconds")
    if kind.has_status:
        _carry(cast(Any, new), cast(Any, old), "status")


def keep_namespace_finalizers(new: ApiObject, old: ApiObject) -> None:
    """Carry over what a namespace's deletion waits for, in place: an update by somebody who has not seen
    that it is being deleted must not end it with its content left behind."""
    if (
        isinstance(new, core_pb2.Namespace)
        and isinstance(old, core_pb2.Namespace)
        and old.metadata.HasField("deletion_timestamp")
    ):
        del new.spec.finalizers[:]
        new.spec.finalizers.extend(old.spec.finalizers)


def count_generation(kind: Kind, new: ApiObject, old: ApiObject) -> None:
    """Count a change of the spec, in place; `new` has its defaults."""
    if kind.has_spec and cast(Any, new).spec != cast(Any, old).spec:
        new.metadata.generation = old.metadata.generation + 1


def with_status(old: ApiObject, new: ApiObject, *, keep_liveness: bool) -> ApiObject:
    """`old` with the status of `new`; everything else of `new` is ignored.

    `keep_liveness`: a node's condition Ready stays as it is, for whoever does not judge liveness.
    """
    merged = cast(Any, type(old)())
    merged.CopyFrom(old)
    _carry(merged, cast(Any, new), "status")
    if keep_liveness and isinstance(merged, core_pb2.Node) and isinstance(old, core_pb2.Node):
        conditions.remove(merged.status.conditions, READY)
        ready = conditions.get(old.status.conditions, READY)
        if ready is not None:
            merged.status.conditions.append(ready)
    return cast(ApiObject, merged)


def drop_empty_parts(kind: Kind, target: ApiObject) -> None:
    """Leave out a spec or status that says nothing, in place: there or not is no difference."""
    parts = cast(Any, target)
    if kind.has_status and parts.HasField("status") and not parts.status.ByteSize():
        parts.ClearField("status")
    if kind.has_spec and parts.HasField("spec") and not parts.spec.ByteSize():
        parts.ClearField("spec")


def request_deletion(kind: Kind, target: ApiObject, operation: api_pb2.Operation, *, now: Timestamp) -> None:
    """Mark the object as being deleted, in place; `is_gone` then tells whether it already is.

    Raises InvalidError on a bad policy or grace period, ForbiddenError for a system namespace.
    """
    policy = operation.propagation_policy
    if policy not in _FINALIZER_OF_POLICY:
        raise InvalidError(f"propagationPolicy {policy!r} is none of Background, Foreground, Orphan")
    if kind is NAMESPACE and target.metadata.name in SYSTEM_NAMESPACES:
        raise ForbiddenError(f"namespace {target.metadata.name!r} cannot be deleted")
    metadata = target.metadata
    finalizer = _FINALIZER_OF_POLICY[policy]
    if finalizer and finalizer not in metadata.finalizers and not metadata.HasField("deletion_timestamp"):
        metadata.finalizers.append(finalizer)
    grace = _grace_seconds(target, operation)
    if not metadata.HasField("deletion_timestamp") or grace < metadata.deletion_grace_period_seconds:
        metadata.deletion_timestamp.CopyFrom(Timestamp(seconds=now.seconds + grace))
        metadata.deletion_grace_period_seconds = grace
    if isinstance(target, core_pb2.Namespace):
        target.status.phase = "Terminating"


def is_gone(target: ApiObject) -> bool:
    """Whether nothing keeps an object that is being deleted: no finalizer, no grace period to wait for."""
    metadata = target.metadata
    if not metadata.HasField("deletion_timestamp") or metadata.finalizers:
        return False
    if isinstance(target, core_pb2.Namespace) and target.spec.finalizers:
        return False
    return metadata.deletion_grace_period_seconds == 0


def _grace_seconds(target: ApiObject, operation: api_pb2.Operation) -> int:
    """How long the object's keeper gets; only a pod on a node has one, its howbelet."""
    if operation.HasField("grace_period_seconds") and operation.grace_period_seconds < 0:
        raise InvalidError(f"gracePeriodSeconds {operation.grace_period_seconds} is negative")
    if not isinstance(target, core_pb2.Pod) or not target.spec.node_name:
        return 0
    if operation.HasField("grace_period_seconds"):
        return operation.grace_period_seconds
    return target.spec.termination_grace_period_seconds


def _carry(target: Any, source: Any, field: str) -> None:
    """Make a message field of `target` what it is in `source`, absent if absent."""
    if source.HasField(field):
        getattr(target, field).CopyFrom(getattr(source, field))
    else:
        target.ClearField(field)
