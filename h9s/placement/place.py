"""Placing a batch of pods: one after the other, each on the least loaded node that it fits, and each
seeing those placed before it."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from h9s.placement.demand import Demand
from h9s.placement.filters import Reason, fits
from h9s.placement.node import NodeSnapshot
from h9s.placement.score import Score, score

K = TypeVar("K")


class Refusal(NamedTuple):
    """A node that did not take a pod, and why: at least one reason."""

    node: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Failure:
    """Why a pod fits nowhere: one refusal per node, in order of their names."""

    refusals: tuple[Refusal, ...]

    def summary(self) -> str:
        """`0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`

        A node counts under the first filter that refused it, so that nobody is told of missing cpu on
        a node that is cordoned anyway; within one filter it counts under every reason.
        """
        if not self.refusals:
            return "0/0 nodes are available: no node has joined yet."
        counts = Counter(
            reason.summary
            for refusal in self.refusals
            for reason in refusal.reasons
            if reason.filter == refusal.reasons[0].filter
        )
        reasons = ", ".join(sorted(f"{count} {summary}" for summary, count in counts.items()))
        return f"0/{len(self.refusals)} nodes are available: {reasons}."

    def explanation(self, *, limit: int = 5) -> str:
        """The summary, and of up to `limit` nodes the details."""
        shown = "; ".join(self.details()[:limit])
        more = f"; and {len(self.refusals) - limit} more nodes" if len(self.refusals) > limit else ""
        return f"{self.summary()} {shown}{more}".strip()

    def details(self) -> tuple[str, ...]:
        """One line per node with every reason: `n1: Insufficient cpu: requested 2, free 0.5 of 4`."""
        return tuple(f"{refusal.node}: {'; '.join(map(str, refusal.reasons))}" for refusal in self.refusals)


@dataclass(frozen=True)
class Placement(Generic[K]):
    """Where each pod of a batch goes (pod to node's name), or why it goes nowhere. Every pod is in
    exactly one of the two."""

    bindings: dict[K, str]
    failures: dict[K, Failure]


def place(pods: Sequence[tuple[K, Demand]], nodes: Sequence[NodeSnapshot]) -> Placement[K]:
    """Place the pods in their order. The outcome depends on nothing else: not on the order of nodes."""
    batch: _Batch[K] = _Batch(nodes)
    for pod, demand in pods:
        batch.place(pod, demand)
    return Placement(batch.bindings, batch.failures)


class _Batch(Generic[K]):
    """One batch under way. Nodes only fill up, so a candidate that was scored earlier can only have
    become worse: a heap per demand, whose top is looked at again if its node has changed since, finds
    the best without looking at every node for every pod."""

    def __init__(self, nodes: Sequence[NodeSnapshot]) -> None:
        self.bindings: dict[K, str] = {}
        self.failures: dict[K, Failure] = {}
        self._nodes = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}
        self._candidates: dict[Demand, list[Score]] = {}
        self._refused: dict[Demand, Failure] = {}

    def place(self, pod: K, demand: Demand) -> None:
        name = self._best(demand)
        if name is None:
            self.failures[pod] = self._failure(demand)
        else:
            self.bindings[pod] = name
            self._nodes[name] = self._nodes[name].with_pod(demand)

    def _best(self, demand: Demand) -> str | None:
        heap = self._candidates.get(demand)
        if heap is None:
            heap = [score(demand, node) for node in self._nodes.values() if not fits(demand, node)]
            heapq.heapify(heap)
            self._candidates[demand] = heap
        while heap:
            node = self._nodes[heap[0].name]
            if fits(demand, node):
                heapq.heappop(heap)
                continue
            current = score(demand, node)
            if current == heap[0]:
                return node.name
            heapq.heapreplace(heap, current)
        return None

    def _failure(self, demand: Demand) -> Failure:
        if demand not in self._refused:
            self._refused[demand] = Failure(
                tuple(Refusal(node.name, fits(demand, node)) for node in self._nodes.values())
            )
        return self._refused[demand]
