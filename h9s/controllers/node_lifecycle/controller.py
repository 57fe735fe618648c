"""Watches nodes come and go, and remembers since when each has not been ready."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from h9s._pb import core_pb2
from h9s.api import conditions
from h9s.clock import Clock
from h9s.controllers.cluster import Cluster
from h9s.controllers.controller import Controller, Wake
from h9s.controllers.decision import Decision, Note
from h9s.controllers.node_lifecycle.decide import NodeSnapshot, decide, is_ready


class NodeLifecycleController(Controller[str]):
    """Keys are names of nodes, whether they exist or not."""

    name: ClassVar[str] = "nodelifecycle"

    def __init__(self, cluster: Cluster, *, clock: Clock, eviction_timeout_seconds: float) -> None:
        self._cluster = cluster
        self._clock = clock
        self._eviction_timeout_seconds = eviction_timeout_seconds
        self._not_ready_since: dict[str, float] = {}
        self._ready: set[str] = set()
        self._leading_since = 0.0
        self._some_ready_since = 0.0
        self._announcements: dict[str, Note] = {}
        cluster.nodes.add_handler(self._observe)

    def wakes(self) -> Sequence[Wake[str]]:
        """See `Controller.wakes`."""
        return (Wake(self._cluster.nodes, self._keys_of_node), Wake(self._cluster.pods, _keys_of_pod))

    def first_keys(self) -> Iterable[str]:
        """See `Controller.first_keys`. From here on time counts."""
        self._leading_since = self._clock.monotonic()
        self._announcements.clear()
        return ()

    async def decide(self, key: str) -> Decision:
        """See `Controller.decide`."""
        announcement = self._announcements.pop(key, None)
        decision = decide(
            NodeSnapshot(
                name=key,
                node=self._cluster.nodes.get("", key),
                pods=tuple(self._cluster.pods_by_node.get(key)),
                now=self._clock.monotonic(),
                not_ready_since=self._not_ready_since.get(key),
                patience_since=max(self._leading_since, self._some_ready_since),
                any_ready=bool(self._ready),
                eviction_timeout_seconds=self._eviction_timeout_seconds,
            )
        )
        if announcement is None:
            return decision
        return Decision(decision.operations, (announcement, *decision.notes), decision.again_after)

    def _observe(self, old: core_pb2.Node | None, new: core_pb2.Node | None) -> None:
        node = new if new is not None else old
        assert node is not None
        name = node.metadata.name
        if new is None:
            self._ready.discard(name)
            self._not_ready_since.pop(name, None)
        elif is_ready(new):
            if not self._ready:
                self._some_ready_since = self._clock.monotonic()
            self._ready.add(name)
            self._not_ready_since.pop(name, None)
        else:
            self._ready.discard(name)
            self._not_ready_since.setdefault(name, self._clock.monotonic())
        if old is not None and new is not None and is_ready(old) != is_ready(new):
            self._announcements[name] = _announcement(new)

    def _keys_of_node(self, old: core_pb2.Node | None, new: core_pb2.Node | None) -> Iterable[str]:
        """One that changes between ready and not; then also the others, where that was the last or the
        first ready one."""
        if old is not None and new is not None and is_ready(old) == is_ready(new):
            return ()
        node = new if new is not None else old
        assert node is not None
        return (
            (node.metadata.name, *self._not_ready_since) if len(self._ready) <= 1 else (node.metadata.name,)
        )


def _keys_of_pod(old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> Iterable[str]:
    """The node of a pod that has been bound, or that is to be deleted: more may be left to do there."""
    if new is None or not new.spec.node_name:
        return ()
    if old is None or not old.spec.node_name:
        return (new.spec.node_name,)
    going = new.metadata.HasField("deletion_timestamp") and not old.metadata.HasField("deletion_timestamp")
    return (new.spec.node_name,) if going else ()


def _announcement(node: core_pb2.Node) -> Note:
    if is_ready(node):
        return Note(node, "Normal", "NodeReady", f"node {node.metadata.name} is ready")
    ready = conditions.get(node.status.conditions, "Ready")
    reason = f": {ready.message or ready.reason}" if ready is not None else ""
    return Note(node, "Warning", "NodeNotReady", f"node {node.metadata.name} is not ready{reason}")
