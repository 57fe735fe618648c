"""Describes a node: whether it is well, what it has, and what runs on it."""

from __future__ import annotations

from collections.abc import Sequence

from h9s._pb import core_pb2
from h9s.api import quantity
from h9s.api.pods import Resources, is_terminal, requests
from h9s.cli.columns import age, node_roles
from h9s.cli.describe.common import Related, moment, put_conditions, put_events, put_identity, put_labels
from h9s.cli.describe.sheet import Sheet
from h9s.cli.workers import node_resources, total_requests


def describe_node(node: core_pb2.Node, related: Related, now: float) -> Sheet:
    """The whole node, with its pods."""
    sheet = Sheet()
    put_identity(sheet, node)
    sheet.put("Roles", node_roles(node))
    put_labels(sheet, node)
    sheet.put("Created", moment(node.metadata.creation_timestamp))
    sheet.put("Unschedulable", str(node.spec.unschedulable).lower())
    put_conditions(sheet, node.status.conditions, now)
    addresses = sheet.section("Addresses")
    for address in node.status.addresses:
        addresses.put(address.type, address.address)
    for title, amounts in (("Capacity", node.status.capacity), ("Allocatable", node.status.allocatable)):
        section = sheet.section(title)
        for resource in sorted(amounts):
            section.put(resource, amounts[resource])
    _put_system(sheet.section("System Info"), node.status.node_info)
    running = [pod for pod in related.pods if not is_terminal(pod)]
    _put_pods(sheet, running, node, now)
    put_events(sheet, related.events, now)
    return sheet


def _put_system(sheet: Sheet, info: core_pb2.NodeSystemInfo) -> None:
    sheet.put_some("Machine ID", info.machine_id)
    sheet.put_some(
        "Operating System", "/".join(part for part in (info.operating_system, info.architecture) if part)
    )
    sheet.put_some("OS Image", info.os_image)
    sheet.put_some("Kernel Version", info.kernel_version)
    sheet.put_some("Container Runtime Version", info.container_runtime_version)
    sheet.put_some("Kubelet Version", info.kubelet_version)


def share(part: int, whole: int) -> str:
    """`25%`, or nothing where there is no whole."""
    return f"{100 * part // whole}%" if whole else "-"


def _put_pods(sheet: Sheet, pods: Sequence[core_pb2.Pod], node: core_pb2.Node, now: float) -> None:
    has = node_resources(node)
    rows = []
    for pod in sorted(pods, key=lambda pod: (pod.metadata.namespace, pod.metadata.name)):
        asked = requests(pod)
        rows.append(
            [
                pod.metadata.namespace,
                pod.metadata.name,
                _cpu(asked, has),
                _memory(asked, has),
                age(pod.metadata.creation_timestamp, now),
            ]
        )
    header = ["Namespace", "Name", "CPU Requests", "Memory Requests", "Age"]
    sheet.put_table(f"Pods ({len(rows)})", header, rows)
    total = total_requests(pods)
    section = sheet.section("Requested by Pods")
    section.put("cpu", _cpu(total, has))
    section.put("memory", _memory(total, has))


def _cpu(asked: Resources, has: Resources) -> str:
    return f"{asked.cpu_millis}m ({share(asked.cpu_millis, has.cpu_millis)})"


def _memory(asked: Resources, has: Resources) -> str:
    text = quantity.format_bytes(asked.memory_bytes)
    return f"{text} ({share(asked.memory_bytes, has.memory_bytes)})"
