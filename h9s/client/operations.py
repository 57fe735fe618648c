"""The operations of a Commit, made from objects and names."""

from __future__ import annotations

from h9s._pb import api_pb2
from h9s.api.kinds import ApiObject, M, kind_of
from h9s.api.objects import to_any

Operation = api_pb2.Operation


def create(obj: ApiObject) -> Operation:
    """Make the object; it must not exist."""
    return Operation(verb=Operation.CREATE, object=to_any(obj))


def update(obj: ApiObject, *, mod_revision: int | None = None, uid: str = "") -> Operation:
    """Replace everything but the status. Where the object carries metadata.resourceVersion, or
    `mod_revision` or `uid` is given, it must be the current one."""
    return Operation(
        verb=Operation.UPDATE, object=to_any(obj), preconditions=_preconditions(mod_revision, uid)
    )


def update_status(obj: ApiObject, *, mod_revision: int | None = None, uid: str = "") -> Operation:
    """Replace the status alone. Preconditions as in `update`."""
    return Operation(
        verb=Operation.UPDATE_STATUS, object=to_any(obj), preconditions=_preconditions(mod_revision, uid)
    )


def delete(
    target: M | type[M],
    name: str = "",
    namespace: str = "",
    *,
    uid: str = "",
    mod_revision: int | None = None,
    grace_period_seconds: int | None = None,
    propagation_policy: str = "",
) -> Operation:
    """Delete an object, given itself (its uid is then a precondition), or its class and name.

    `grace_period_seconds` is for pods: None means the pod's own, 0 at once and without asking its
    howbelet. `propagation_policy`: Background (default), Foreground or Orphan.
    """
    if not isinstance(target, type):
        uid = uid or target.metadata.uid
    operation = Operation(
        verb=Operation.DELETE,
        key=key_of(target, name, namespace),
        preconditions=_preconditions(mod_revision, uid),
        propagation_policy=propagation_policy,
    )
    if grace_period_seconds is not None:
        operation.grace_period_seconds = grace_period_seconds
    return operation


def check(
    target: M | type[M],
    name: str = "",
    namespace: str = "",
    *,
    uid: str = "",
    mod_revision: int | None = None,
) -> Operation:
    """Change nothing, but fail the transaction unless the object is as said (`mod_revision` 0: it
    does not exist). An object stands for its own name."""
    return Operation(
        verb=Operation.CHECK,
        key=key_of(target, name, namespace),
        preconditions=_preconditions(mod_revision, uid),
    )


def key_of(target: M | type[M], name: str = "", namespace: str = "") -> api_pb2.ObjectKey:
    """The key of an object, or of a class with a name; without a name, of its collection."""
    kind = kind_of(target)
    if not isinstance(target, type):
        name, namespace = target.metadata.name, target.metadata.namespace
    return api_pb2.ObjectKey(
        group=kind.group, kind=kind.kind, namespace=namespace if kind.namespaced else "", name=name
    )


def _preconditions(mod_revision: int | None, uid: str) -> api_pb2.Preconditions | None:
    if mod_revision is None and not uid:
        return None
    return api_pb2.Preconditions(mod_revision=mod_revision, uid=uid)
