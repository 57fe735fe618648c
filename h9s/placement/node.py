"""A node as placement sees it: what it offers, and what is taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from h9s._pb import core_pb2
from h9s.api import conditions, quantity
from h9s.api.pods import Resources
from h9s.placement.demand import NO_RESOURCES, Demand, HostPort

#: How many pods a node takes that does not say.
DEFAULT_MAX_PODS = 110


@dataclass(frozen=True)
class NodeSnapshot:
    """One node at one moment. `requested` is the sum of the requests of its pods, `nominal` the same
    with a small amount for pods that request nothing (see `Demand.nominal`)."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Why it takes no work now ("Ready is Unknown: ..."); "" when it is ready.
    not_ready: str = ""
    unschedulable: bool = False
    allocatable: Resources = NO_RESOURCES
    max_pods: int = DEFAULT_MAX_PODS
    requested: Resources = NO_RESOURCES
    nominal: Resources = NO_RESOURCES
    pod_count: int = 0
    host_ports: tuple[HostPort, ...] = ()

    @property
    def free(self) -> Resources:
        """What is not requested yet; negative where a node shrank under its pods."""
        return self.allocatable.minus(self.requested)

    def with_pod(self, demand: Demand) -> NodeSnapshot:
        """The node with one more pod on it, whether or not it fits."""
        return self.with_pods((demand,))

    def with_pods(self, demands: Iterable[Demand]) -> NodeSnapshot:
        """The node with these pods on it as well, whether or not they fit."""
        requested, nominal, count, host_ports = self.requested, self.nominal, self.pod_count, self.host_ports
        for demand in demands:
            requested = requested.plus(demand.requests)
            nominal = nominal.plus(demand.nominal)
            host_ports += demand.host_ports
            count += 1
        return replace(self, requested=requested, nominal=nominal, pod_count=count, host_ports=host_ports)


def node_snapshot(node: core_pb2.Node, demands: Iterable[Demand] = ()) -> NodeSnapshot:
    """The node with the pods whose demands are given. What it does not declare it does not have,
    but for the number of pods. Raises InvalidError if a quantity is none."""
    offered = node.status.allocatable or node.status.capacity
    return NodeSnapshot(
        name=node.metadata.name,
        labels=dict(node.metadata.labels),
        not_ready=_not_ready(node),
        unschedulable=node.spec.unschedulable,
        allocatable=Resources(
            quantity.cpu_millis(offered.get("cpu") or "0"),
            quantity.byte_count(offered.get("memory") or "0"),
        ),
        max_pods=int(quantity.parse(offered.get("pods") or str(DEFAULT_MAX_PODS))),
    ).with_pods(demands)


def _not_ready(node: core_pb2.Node) -> str:
    if node.metadata.HasField("deletion_timestamp"):
        return "it is being deleted"
    ready = conditions.get(node.status.conditions, "Ready")
    if ready is None:
        return "it has not reported yet"
    if ready.status == "True":
        return ""
    reason = f" ({ready.reason})" if ready.reason else ""
    return f"Ready is {ready.status}{reason}"
