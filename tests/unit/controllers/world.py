"""A small model of the cluster to run decisions against: objects, atomic commits, time, and nodes
that run pods. Every state it has been in stays readable, so that decisions can be made on old ones."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import immutables
from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import api_pb2, apps_pb2, core_pb2, meta_pb2
from h9s.api import conditions
from h9s.api.keys import object_key
from h9s.api.kinds import ApiObject, kind_by, kind_of
from h9s.api.objects import from_any, to_any
from h9s.errors import AlreadyExistsError, ConflictError, NotFoundError

M = TypeVar("M", bound=ApiObject)
State = Mapping[str, ApiObject]
Op = api_pb2.Operation

START = 1_700_000_000


class World:
    """`states[r]` is what there is after revision r; `now` is in seconds since 1970."""

    def __init__(self) -> None:
        self.states: list[immutables.Map[str, ApiObject]] = [immutables.Map()]
        self.now = START
        self._serial = 0

    # -- reading

    @property
    def revision(self) -> int:
        return len(self.states) - 1

    def all(self, cls: type[M], *, at: int = -1) -> list[M]:
        return [obj for _, obj in sorted(self.states[at].items()) if isinstance(obj, cls)]

    def get(self, cls: type[M], name: str, namespace: str = "default", *, at: int = -1) -> M | None:
        kind = kind_of(cls)
        obj = self.states[at].get(object_key(kind, namespace if kind.namespaced else "", name))
        assert obj is None or isinstance(obj, cls)
        return obj

    # -- writing

    def commit(self, operations: Sequence[Op]) -> None:
        """All or nothing, one revision; one that changes nothing makes none."""
        before = self.states[-1]
        after = before
        for operation in operations:
            after = self._apply(before, after, operation)
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        if not changed:
            return
        revision = self.revision + 1
        for key in changed & set(after):
            stamped = copy.deepcopy(after[key])
            stamped.metadata.resource_version = str(revision)
            after = after.set(key, stamped)
        self.states.append(after)

    def put(self, *objects: ApiObject) -> None:
        """Make or replace objects as they are given, status and all, at one revision."""
        revision = self.revision + 1
        after = self.states[-1]
        for obj in objects:
            stored = copy.deepcopy(obj)
            self._serial += 1
            stored.metadata.uid = stored.metadata.uid or f"uid-{self._serial}"
            if kind_of(stored).namespaced:
                stored.metadata.namespace = stored.metadata.namespace or "default"
            stored.metadata.resource_version = str(revision)
            after = after.set(_key(stored), stored)
        self.states.append(after)

    def change(self, obj: M, edit: Callable[[M], object]) -> None:
        """What a user or another component does: edit an object's spec and metadata."""
        changed = copy.deepcopy(obj)
        edit(changed)
        changed.metadata.resource_version = ""
        self.commit([Op(verb=Op.UPDATE, object=to_any(changed))])

    def remove(self, obj: ApiObject) -> None:
        """The object disappears, whatever anybody still wants to do about it."""
        self.states.append(self.states[-1].delete(_key(obj)))

    def _apply(
        self, before: immutables.Map[str, ApiObject], state: immutables.Map[str, ApiObject], operation: Op
    ) -> immutables.Map[str, ApiObject]:
        now = Timestamp(seconds=self.now)
        if operation.verb == Op.CREATE:
            return self._create(state, operation, now)
        if operation.verb in (Op.UPDATE, Op.UPDATE_STATUS):
            sent = from_any(operation.object)
            key = _key(sent)
        else:
            sent = None
            kind = kind_by(operation.key.group, operation.key.kind)
            key = object_key(kind, operation.key.namespace, operation.key.name)
        current = state.get(key)
        _require(operation, sent, before.get(key), key)
        if operation.verb == Op.CHECK:
            return state
        if current is None:
            raise NotFoundError(key)
        changed = copy.deepcopy(current)
        if operation.verb == Op.UPDATE:
            assert sent is not None
            changed = _updated(sent, current)
        elif operation.verb == Op.UPDATE_STATUS:
            assert sent is not None
            cast(Any, changed).status.CopyFrom(cast(Any, sent).status)
        else:
            _request_deletion(changed, operation, now)
        return state.delete(key) if _is_gone(changed) else state.set(key, changed)

    def _create(
        self, state: immutables.Map[str, ApiObject], operation: Op, now: Timestamp
    ) -> immutables.Map[str, ApiObject]:
        new = from_any(operation.object)
        self._serial += 1
        if not new.metadata.name:
            new.metadata.name = f"{new.metadata.generate_name}{self._serial:05}"
        if _key(new) in state:
            raise AlreadyExistsError(_key(new))
        new.metadata.uid = f"uid-{self._serial}"
        new.metadata.generation = 1
        new.metadata.creation_timestamp.CopyFrom(now)
        return state.set(_key(new), new)

    # -- nodes

    def run_pods(
        self, rng: random.Random, *, nodes: Sequence[str] = ("n1", "n2"), eager: bool = False
    ) -> None:
        """Scheduler and howbelets do a bit of their work; with `eager`, all of it."""
        for pod in self.all(core_pb2.Pod):
            if eager or rng.random() < 0.7:
                self.advance_pod(pod, rng.choice(list(nodes)))

    def advance_pod(self, pod: core_pb2.Pod, node: str) -> None:
        """One step on the way: pending, assigned, ready; terminating, gone."""
        if pod.metadata.HasField("deletion_timestamp"):
            self.remove(pod)
            return
        changed = copy.deepcopy(pod)
        if not pod.spec.node_name:
            changed.spec.node_name = node
        elif not pod.status.conditions:
            changed.status.phase = "Running"
            set_ready(changed, now=self.now)
        else:
            return
        self.put(changed)


def set_ready(pod: core_pb2.Pod, *, now: int, ready: bool = True) -> None:
    condition = meta_pb2.Condition(type="Ready", status="True" if ready else "False")
    conditions.set_condition(pod.status.conditions, condition, Timestamp(seconds=now))


def pod_template(app: str = "web", image: str = "v1") -> core_pb2.PodTemplateSpec:
    return core_pb2.PodTemplateSpec(
        metadata=meta_pb2.ObjectMeta(labels={"app": app}),
        spec=core_pb2.PodSpec(containers=[core_pb2.Container(name="main", image=image)]),
    )


def replica_set(name: str = "web", replicas: int = 3, app: str = "web", **spec: Any) -> apps_pb2.ReplicaSet:
    return apps_pb2.ReplicaSet(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default", generation=1),
        spec=apps_pb2.ReplicaSetSpec(
            replicas=replicas,
            selector=meta_pb2.LabelSelector(match_labels={"app": app}),
            template=pod_template(app),
            **spec,
        ),
    )


def _updated(sent: ApiObject, current: ApiObject) -> ApiObject:
    """Everything as sent but the status and what only the server writes."""
    changed = copy.deepcopy(sent)
    metadata, before = changed.metadata, current.metadata
    metadata.uid, metadata.resource_version = before.uid, before.resource_version
    metadata.creation_timestamp.CopyFrom(before.creation_timestamp)
    if before.HasField("deletion_timestamp"):
        metadata.deletion_timestamp.CopyFrom(before.deletion_timestamp)
    if kind_of(changed).has_status:
        cast(Any, changed).status.CopyFrom(cast(Any, current).status)
    respecified = cast(Any, changed).spec != cast(Any, current).spec
    metadata.generation = before.generation + 1 if respecified else before.generation
    return changed


_FINALIZERS = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}


def _request_deletion(target: ApiObject, operation: Op, now: Timestamp) -> None:
    metadata = target.metadata
    if not metadata.HasField("deletion_timestamp"):
        metadata.deletion_timestamp.CopyFrom(now)
        if operation.propagation_policy in _FINALIZERS:
            metadata.finalizers.append(_FINALIZERS[operation.propagation_policy])
        graceful = isinstance(target, core_pb2.Pod) and target.spec.node_name
        metadata.deletion_grace_period_seconds = 30 if graceful else 0
    if operation.HasField("grace_period_seconds"):
        metadata.deletion_grace_period_seconds = operation.grace_period_seconds


def _is_gone(target: ApiObject) -> bool:
    metadata = target.metadata
    return (
        metadata.HasField("deletion_timestamp")
        and not metadata.finalizers
        and not metadata.deletion_grace_period_seconds
    )


def _require(operation: Op, sent: ApiObject | None, base: ApiObject | None, key: str) -> None:
    """The preconditions hold, or else ConflictError or NotFoundError."""
    wanted = operation.preconditions
    revision = int(base.metadata.resource_version) if base is not None else 0
    if wanted.HasField("mod_revision") and wanted.mod_revision != revision:
        raise ConflictError(f"{key} is at {revision}, not {wanted.mod_revision}")
    if sent is not None and sent.metadata.resource_version not in ("", str(revision)):
        raise ConflictError(f"{key} is at {revision}, not {sent.metadata.resource_version}")
    uids = {uid for uid in (wanted.uid, sent.metadata.uid if sent is not None else "") if uid}
    if uids:
        if base is None:
            raise NotFoundError(key)
        if uids != {base.metadata.uid}:
            raise ConflictError(f"{key} is {base.metadata.uid}, not {uids}")


def _key(obj: ApiObject) -> str:
    kind = kind_of(obj)
    return object_key(kind, obj.metadata.namespace if kind.namespaced else "", obj.metadata.name)
