"""Which of the nodes that fit is preferred: the least loaded."""

from __future__ import annotations

from typing import NamedTuple

from h9s.placement.demand import Demand
from h9s.placement.node import NodeSnapshot


class Score(NamedTuple):
    """Lower is better. The name comes last, so that equals are told apart the same way every time."""

    load: float
    pod_count: int
    name: str


def score(demand: Demand, node: NodeSnapshot) -> Score:
    """The load that the node would have with the pod: the mean of the fractions of its cpu and of its
    memory that are spoken for; among equals, the node with fewer pods."""
    after = node.nominal.plus(demand.nominal)
    cpu = _fraction(after.cpu_millis, node.allocatable.cpu_millis)
    memory = _fraction(after.memory_bytes, node.allocatable.memory_bytes)
    return Score((cpu + memory) / 2, node.pod_count, node.name)


def _fraction(used: int, allocatable: int) -> float:
    """A node that offers nothing of it counts as full."""
    return used / allocatable if allocatable > 0 else 1.0
