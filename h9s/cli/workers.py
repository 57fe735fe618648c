"""The workers as a table: whether each is well, and how full. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from h9s._pb import core_pb2
from h9s.api import quantity
from h9s.api.pods import Resources, is_terminal, requests
from h9s.cli.columns import NONE, UNKNOWN, age, node_address, node_status

_HEADER = ["NAME", "STATUS", "PODS", "CPU", "MEMORY", "RUNTIME", "ADDRESS", "VERSION", "AGE"]


def worker_rows(nodes: Sequence[core_pb2.Node], pods: Sequence[core_pb2.Pod], now: float) -> list[list[str]]:
    """The table, title line first. CPU and MEMORY: what pods request of what the node has."""
    return [_HEADER, *(_row(node, _pods_on(node, pods), now) for node in nodes)]


def _pods_on(node: core_pb2.Node, pods: Sequence[core_pb2.Pod]) -> list[core_pb2.Pod]:
    return [pod for pod in pods if pod.spec.node_name == node.metadata.name and not is_terminal(pod)]


def _row(node: core_pb2.Node, pods: Sequence[core_pb2.Pod], now: float) -> list[str]:
    asked, has = total_requests(pods), node_resources(node)
    info = node.status.node_info
    room = node.status.allocatable.get("pods") or "-"
    return [
        node.metadata.name,
        node_status(node),
        f"{len(pods)}/{room}",
        f"{_cores(asked)}/{_cores(has)}",
        f"{_size(asked)}/{_size(has)}",
        info.container_runtime_version or UNKNOWN,
        _endpoint(node),
        info.kubelet_version or UNKNOWN,
        age(node.metadata.creation_timestamp, now),
    ]


def _cores(resources: Resources) -> str:
    return f"{resources.cpu_millis / 1000:g}"


def _size(resources: Resources) -> str:
    """Rounded: what fits is for the scheduler to reckon, this is to be read."""
    count = float(resources.memory_bytes)
    units = ["", "Ki", "Mi", "Gi", "Ti"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop(0)
    return f"{count:.1f}{units[0]}" if units[0] else f"{count:.0f}"


def _endpoint(node: core_pb2.Node) -> str:
    address, port = node_address(node), node.status.daemon_endpoints.kubelet_endpoint.port
    return f"{address}:{port}" if address != NONE and port else address


def node_resources(node: core_pb2.Node) -> Resources:
    """What the node has for pods."""
    available = node.status.allocatable
    return Resources(
        quantity.cpu_millis(available.get("cpu") or "0"), quantity.byte_count(available.get("memory") or "0")
    )


def total_requests(pods: Sequence[core_pb2.Pod]) -> Resources:
    """What pods ask for together."""
    total = Resources()
    for pod in pods:
        total = total.plus(requests(pod))
    return total
