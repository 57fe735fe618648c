"""What a pod asks of a node, apart from everything else that a pod is.

Pods with equal demands are interchangeable for placement, which is what lets a batch of replicas be
placed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from h9s._pb import core_pb2
from h9s.api import pods
from h9s.api.pods import Resources

#: What a pod that requests nothing counts as when nodes are compared (never when they are filtered):
#: such pods use something too, and would all land on one node otherwise. Kubernetes' own numbers.
NOMINAL_CPU_MILLIS = 100
NOMINAL_MEMORY_BYTES = 200 * 1024 * 1024

NO_RESOURCES = Resources()

_ANY_ADDRESS = ("", "0.0.0.0")


class HostPort(NamedTuple):
    """A port of the node itself that a container asks for; "" as address is all of them."""

    protocol: str
    port: int
    address: str = ""

    def conflicts(self, other: HostPort) -> bool:
        """Whether both cannot be had on one node."""
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return self.address == other.address or not self.address or not other.address


@dataclass(frozen=True)
class Demand:
    """Requests of the pod as a whole, in thousandths of a core and bytes; its node selector, sorted."""

    requests: Resources = NO_RESOURCES
    node_selector: tuple[tuple[str, str], ...] = ()
    host_ports: tuple[HostPort, ...] = ()

    @property
    def nominal(self) -> Resources:
        """The requests, with a small amount in place of none."""
        return Resources(
            self.requests.cpu_millis or NOMINAL_CPU_MILLIS,
            self.requests.memory_bytes or NOMINAL_MEMORY_BYTES,
        )


def demand_of(pod: core_pb2.Pod) -> Demand:
    """What the pod asks for. Raises InvalidError if a quantity is none (validation lets none in)."""
    return Demand(
        requests=pods.requests(pod),
        node_selector=tuple(sorted(pod.spec.node_selector.items())),
        host_ports=tuple(
            sorted(
                HostPort(
                    port.protocol or "TCP",
                    port.host_port,
                    "" if port.host_ip in _ANY_ADDRESS else port.host_ip,
                )
                for container in pod.spec.containers
                for port in container.ports
                if port.host_port
            )
        ),
    )
