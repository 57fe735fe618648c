"""What to do about the pods of a node that does not report, from a snapshot of both.

The apiserver says whether a node is Ready; this only waits and acts. Time counts on this process's
own monotonic clock, from when it saw the node become not ready, and never from before it led: clocks
need not agree, and neither its own failover nor the apiservers' makes a node look silent for longer
than it was watched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from h9s._pb import api_pb2, core_pb2
from h9s.api import conditions
from h9s.client import operations
from h9s.controllers.decision import BATCH_SIZE, NOTHING_TO_DO, Decision, Note


@dataclass(frozen=True)
class NodeSnapshot:
    """A node and the pods that are bound to it. `node` is None where there is no such object.

    Monotonic seconds: `now`; `not_ready_since`, None while it is ready; `patience_since`, before which
    nothing counts: since when this process leads, and some node has been ready.
    """

    name: str
    node: core_pb2.Node | None
    pods: tuple[core_pb2.Pod, ...]
    now: float
    not_ready_since: float | None
    patience_since: float
    #: Whether any node is ready. If none is, the fault is hardly the nodes', and there is nowhere to go.
    any_ready: bool
    eviction_timeout_seconds: float


def decide(snapshot: NodeSnapshot) -> Decision:
    """One commit about at most `BATCH_SIZE` pods; its own changes lead to the next. It fails if the
    node has changed, and so does not evict from one that has just come back."""
    if snapshot.node is None:
        return _forget(snapshot)
    if snapshot.not_ready_since is None or not snapshot.any_ready:
        return NOTHING_TO_DO
    doomed = [pod for pod in snapshot.pods if not pod.metadata.HasField("deletion_timestamp")]
    if not doomed:
        return NOTHING_TO_DO
    since = max(snapshot.not_ready_since, snapshot.patience_since)
    wait = since + snapshot.eviction_timeout_seconds - snapshot.now
    if wait > 0:
        return Decision(again_after=wait)
    return _evict(snapshot, snapshot.node, doomed[:BATCH_SIZE])


def is_ready(node: core_pb2.Node) -> bool:
    """Whether the apiserver says that it reports."""
    return conditions.is_true(node.status.conditions, "Ready")


def _evict(snapshot: NodeSnapshot, node: core_pb2.Node, doomed: Iterable[core_pb2.Pod]) -> Decision:
    """The pods are to be deleted: at once for their owners, for good when the node is back or gone."""
    guard = operations.check(node, mod_revision=int(node.metadata.resource_version))
    message = (
        f"node {snapshot.name} has not been ready for {snapshot.eviction_timeout_seconds:g} s: "
        "the pod is given up so that its owner can replace it on another node"
    )
    notes = tuple(Note(pod, "Warning", "NodeNotReady", message) for pod in doomed)
    return Decision((guard, *map(operations.delete, doomed)), notes)


def _forget(snapshot: NodeSnapshot) -> Decision:
    """Nobody is left who could stop the pods."""
    doomed = snapshot.pods[:BATCH_SIZE]
    if not doomed:
        return NOTHING_TO_DO
    guard = operations.check(core_pb2.Node, snapshot.name, mod_revision=0)
    message = f"node {snapshot.name} has been deleted, and the pod with it"
    notes = tuple(Note(pod, "Warning", "NodeDeleted", message) for pod in doomed)
    return Decision((guard, *map(_delete_now, doomed)), notes)


def _delete_now(pod: core_pb2.Pod) -> api_pb2.Operation:
    return operations.delete(pod, grace_period_seconds=0)
