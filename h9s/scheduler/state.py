"""What the scheduler knows: the nodes with everything bound to them, and the pods that wait.

Pure bookkeeping, no I/O: fed with changes in their order, asked for the next round. A binding counts
from the moment it is decided (it is assumed), so that no two rounds give away the same room; it stays
assumed until the pod is seen bound or gone, or the binding is retracted.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

from h9s._pb import core_pb2
from h9s.api import pods
from h9s.placement.demand import Demand, demand_of
from h9s.placement.node import NodeSnapshot, node_snapshot
from h9s.placement.place import Failure, place

#: (namespace, name).
Key: TypeAlias = tuple[str, str]


class Binding(NamedTuple):
    """A pod, as it was when this was decided, and the node it shall run on."""

    pod: core_pb2.Pod
    node: core_pb2.Node


class Round(NamedTuple):
    """What one round has decided; every pod that was waiting is in one of the two."""

    bindings: list[Binding]
    failures: list[tuple[core_pb2.Pod, Failure]]


@dataclass(frozen=True)
class _Waiting:
    """A pod without a node. `turn`: earlier ones are placed first."""

    pod: core_pb2.Pod
    demand: Demand
    turn: int


@dataclass(frozen=True)
class _Occupied:
    """A node's share that a pod has taken, bound or assumed."""

    node: str
    demand: Demand


class SchedulingState:
    """Changes in, rounds out."""

    def __init__(self) -> None:
        self._nodes: dict[str, core_pb2.Node] = {}
        self._bare: dict[str, NodeSnapshot] = {}
        self._loaded: dict[str, NodeSnapshot] = {}
        self._occupied: dict[Key, _Occupied] = {}
        self._by_node: dict[str, set[Key]] = {}
        self._waiting: dict[Key, _Waiting] = {}
        self._unschedulable: dict[Key, _Waiting] = {}
        #: Pods being bound.
        self._assumed: dict[Key, _Waiting] = {}
        self._turns = itertools.count()

    @property
    def waiting_count(self) -> int:
        """Pods that the next round will place."""
        return len(self._waiting)

    @property
    def unschedulable_count(self) -> int:
        """Pods that fit nowhere, and wait for a change."""
        return len(self._unschedulable)

    @property
    def binding_count(self) -> int:
        """Pods that are being bound."""
        return len(self._assumed)

    # -- changes

    def observe_node(self, old: core_pb2.Node | None, new: core_pb2.Node | None) -> None:
        """A node has come, changed or gone."""
        if new is None:
            assert old is not None
            for known in (self._nodes, self._bare, self._loaded):
                known.pop(old.metadata.name, None)
            return
        name = new.metadata.name
        self._nodes[name] = new
        bare = node_snapshot(new)
        if bare != self._bare.get(name):
            self._bare[name] = bare
            self._loaded.pop(name, None)
            self._try_again()

    def observe_pod(self, old: core_pb2.Pod | None, new: core_pb2.Pod | None) -> None:
        """A pod has come, changed or gone."""
        pod = new if new is not None else old
        assert pod is not None
        key = pod_key(pod)
        if new is None or (old is not None and old.metadata.uid != new.metadata.uid):
            self._forget(key)
        if new is None:
            return
        if pods.is_terminal(new) or (not new.spec.node_name and new.metadata.HasField("deletion_timestamp")):
            self._forget(key)
        elif new.spec.node_name:
            self._leave_queue(key)
            self._occupy(key, _Occupied(new.spec.node_name, demand_of(new)))
        else:
            self._enqueue(key, new)

    # -- rounds

    def schedule(self) -> Round:
        """Place everything that waits. Bindings are assumed; what fits nowhere waits for a change."""
        queue = sorted(self._waiting.items(), key=lambda item: item[1].turn)
        self._waiting.clear()
        placement = place([(key, entry.demand) for key, entry in queue], self._snapshots())
        bindings, failures = [], []
        for key, entry in queue:
            name = placement.bindings.get(key)
            if name is None:
                self._unschedulable[key] = entry
                failures.append((entry.pod, placement.failures[key]))
            else:
                self._assumed[key] = entry
                self._occupy(key, _Occupied(name, entry.demand))
                bindings.append(Binding(entry.pod, self._nodes[name]))
        return Round(bindings, failures)

    def retract(self, pod: core_pb2.Pod) -> None:
        """A binding has failed: the pod waits again, if it still does. Does nothing if meanwhile it
        has been seen bound or gone."""
        key = pod_key(pod)
        entry = self._assumed.get(key)
        if entry is not None and entry.pod.metadata.uid == pod.metadata.uid:
            del self._assumed[key]
            self._release(key)
            self._waiting[key] = entry

    def retract_all(self) -> None:
        """As `retract`, for all bindings under way."""
        for entry in list(self._assumed.values()):
            self.retract(entry.pod)

    # -- inside

    def _snapshots(self) -> list[NodeSnapshot]:
        for name, bare in self._bare.items():
            if name not in self._loaded:
                demands = (self._occupied[key].demand for key in self._by_node.get(name, ()))
                self._loaded[name] = bare.with_pods(demands)
        return list(self._loaded.values())

    def _enqueue(self, key: Key, pod: core_pb2.Pod) -> None:
        for queue in (self._assumed, self._unschedulable, self._waiting):
            if key in queue:
                queue[key] = replace(queue[key], pod=pod)
                return
        self._waiting[key] = _Waiting(pod, demand_of(pod), next(self._turns))

    def _try_again(self) -> None:
        self._waiting.update(self._unschedulable)
        self._unschedulable.clear()

    def _forget(self, key: Key) -> None:
        self._leave_queue(key)
        self._release(key)

    def _leave_queue(self, key: Key) -> None:
        for queue in (self._waiting, self._unschedulable, self._assumed):
            queue.pop(key, None)

    def _occupy(self, key: Key, share: _Occupied) -> None:
        if self._occupied.get(key) == share:
            return
        self._release(key)
        self._occupied[key] = share
        self._by_node.setdefault(share.node, set()).add(key)
        loaded = self._loaded.get(share.node)
        if loaded is not None:
            self._loaded[share.node] = loaded.with_pod(share.demand)

    def _release(self, key: Key) -> None:
        """Room has become free, which others may have waited for."""
        share = self._occupied.pop(key, None)
        if share is not None:
            self._by_node[share.node].discard(key)
            if not self._by_node[share.node]:
                del self._by_node[share.node]
            self._loaded.pop(share.node, None)
            self._try_again()


def pod_key(pod: core_pb2.Pod) -> Key:
    """Under which a pod is known."""
    return pod.metadata.namespace, pod.metadata.name
