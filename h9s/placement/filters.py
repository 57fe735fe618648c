"""Which nodes a pod fits, and for the others every reason, with numbers.

Each filter looks at one aspect and explains itself; a new one is a function added to `FILTERS`.
Filters never prefer: that is `score`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from h9s.api import quantity
from h9s.placement.demand import Demand
from h9s.placement.node import NodeSnapshot


@dataclass(frozen=True)
class Reason:
    """Why a pod does not fit a node. Equal `summary` texts are counted together over nodes (as in
    `2 Insufficient cpu`); `detail` speaks of this one node, with numbers."""

    filter: str
    summary: str
    detail: str

    def __str__(self) -> str:
        return self.detail


Filter = Callable[[Demand, NodeSnapshot], list[Reason]]


def _schedulable(demand: Demand, node: NodeSnapshot) -> list[Reason]:
    del demand
    if not node.unschedulable:
        return []
    return [Reason("schedulable", "node(s) were unschedulable", "unschedulable: the node is cordoned")]


def _ready(demand: Demand, node: NodeSnapshot) -> list[Reason]:
    del demand
    if not node.not_ready:
        return []
    return [Reason("ready", "node(s) were not ready", f"not ready: {node.not_ready}")]


def _node_selector(demand: Demand, node: NodeSnapshot) -> list[Reason]:
    missing = [(key, value) for key, value in demand.node_selector if node.labels.get(key) != value]
    if not missing:
        return []
    wanted = ",".join(f"{key}={value}" for key, value in missing)
    found = ", ".join(
        f"{key} is {node.labels[key]!r}" if key in node.labels else f"there is no label {key}"
        for key, _ in missing
    )
    summary = f"didn't match nodeSelector {wanted}"
    return [Reason("nodeSelector", f"node(s) {summary}", f"{summary}: {found}")]


def _host_ports(demand: Demand, node: NodeSnapshot) -> list[Reason]:
    taken = sorted(
        {
            f"{wanted.port}/{wanted.protocol}"
            for wanted in demand.host_ports
            if any(wanted.conflicts(other) for other in node.host_ports)
        }
    )
    if not taken:
        return []
    return [
        Reason(
            "hostPorts",
            "node(s) didn't have free ports for the requested pod ports",
            f"host port {', '.join(taken)} is taken",
        )
    ]


def _resources(demand: Demand, node: NodeSnapshot) -> list[Reason]:
    reasons = []
    if node.pod_count >= node.max_pods:
        detail = f"Too many pods: {node.pod_count} of at most {node.max_pods}"
        reasons.append(Reason("resources", "Too many pods", detail))
    rows = (
        ("cpu", demand.requests.cpu_millis, node.free.cpu_millis, node.allocatable.cpu_millis, _cores),
        (
            "memory",
            demand.requests.memory_bytes,
            node.free.memory_bytes,
            node.allocatable.memory_bytes,
            _memory,
        ),
    )
    for name, requested, free, allocatable, text in rows:
        # What asks for nothing fits even where more is promised than there is.
        if requested and requested > free:
            detail = f"requested {text(requested)}, free {text(max(free, 0))} of {text(allocatable)}"
            reasons.append(Reason("resources", f"Insufficient {name}", f"Insufficient {name}: {detail}"))
    return reasons


def _cores(millis: int) -> str:
    return f"{millis / 1000:g}"


def _memory(count: int) -> str:
    """Whole binary units of which at least two digits are left, so that people can compare them."""
    for power, suffix in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if count >= 10 * 1024**power or (count and count % 1024**power == 0):
            return f"{count / 1024**power:.4g}{suffix}"
    return quantity.format_bytes(count)


#: In the order in which they speak: a summary counts a node under the first filter that refuses it.
FILTERS: tuple[Filter, ...] = (_schedulable, _ready, _node_selector, _host_ports, _resources)


def fits(demand: Demand, node: NodeSnapshot) -> tuple[Reason, ...]:
    """All reasons why the pod does not fit the node, in the order of `FILTERS`; empty if it fits."""
    return tuple(reason for check in FILTERS for reason in check(demand, node))
