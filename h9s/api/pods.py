"""What a pod's fields add up to: readiness, resources, quality of service, its own fields as text."""

from __future__ import annotations

import re
from typing import NamedTuple

from h9s._pb import core_pb2
from h9s.api import conditions, quantity
from h9s.errors import InvalidError

PENDING, RUNNING, SUCCEEDED, FAILED, UNKNOWN = PHASES = (
    "Pending",
    "Running",
    "Succeeded",
    "Failed",
    "Unknown",
)


class Resources(NamedTuple):
    """Amounts of what nodes have to give."""

    cpu_millis: int = 0
    memory_bytes: int = 0

    def plus(self, other: Resources) -> Resources:
        """The sum, field by field."""
        return Resources(self.cpu_millis + other.cpu_millis, self.memory_bytes + other.memory_bytes)

    def minus(self, other: Resources) -> Resources:
        """The difference, field by field; may be negative."""
        return Resources(self.cpu_millis - other.cpu_millis, self.memory_bytes - other.memory_bytes)


def is_ready(pod: core_pb2.Pod) -> bool:
    """Whether it serves: its condition Ready is True."""
    return conditions.is_true(pod.status.conditions, "Ready")


def is_available(pod: core_pb2.Pod, min_ready_seconds: int, now: float) -> bool:
    """Whether it has been ready for `min_ready_seconds` at `now` (seconds since 1970)."""
    ready = conditions.get(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return False
    since = ready.last_transition_time
    return min_ready_seconds == 0 or since.seconds + since.nanos / 1e9 + min_ready_seconds <= now


def is_terminal(pod: core_pb2.Pod) -> bool:
    """Whether its containers have ended for good."""
    return pod.status.phase in (SUCCEEDED, FAILED)


def is_active(pod: core_pb2.Pod) -> bool:
    """Whether it counts as a replica: neither ended nor being deleted."""
    return not is_terminal(pod) and not pod.metadata.HasField("deletion_timestamp")


def requests(pod: core_pb2.Pod) -> Resources:
    """What its containers ask for together; a limit stands in for a request that is not given.
    Raises InvalidError if a quantity is none."""
    cpu = memory = 0
    for container in pod.spec.containers:
        wanted, limits = container.resources.requests, container.resources.limits
        cpu += quantity.cpu_millis(wanted.get("cpu") or limits.get("cpu") or "0")
        memory += quantity.byte_count(wanted.get("memory") or limits.get("memory") or "0")
    return Resources(cpu, memory)


def qos_class(pod: core_pb2.Pod) -> str:
    """Guaranteed: every container's requests are its limits, for cpu and memory. BestEffort: none
    asks for anything. Burstable: the rest. Raises InvalidError if a quantity is none."""
    guaranteed, best_effort = True, True
    for container in pod.spec.containers:
        wanted, limits = container.resources.requests, container.resources.limits
        for resource in ("cpu", "memory"):
            limit = quantity.parse(limits.get(resource) or "0")
            request = quantity.parse(wanted.get(resource) or limits.get(resource) or "0")
            best_effort &= not limit and not request
            guaranteed &= bool(limit) and limit == request
    if best_effort:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


_MAP_ENTRY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels['KEY']",
    "metadata.annotations['KEY']",
    "spec.nodeName",
    "status.hostIP",
    "status.podIP",
)


def is_field_path(path: str) -> bool:
    """Whether an environment variable can take its value from this field of its pod."""
    return path in FIELD_PATHS or _MAP_ENTRY.fullmatch(path) is not None


def field_value(pod: core_pb2.Pod, path: str) -> str:
    """The text of one of the pod's own fields, "" where it is not set. Raises InvalidError on any
    path but `FIELD_PATHS`."""
    entry = _MAP_ENTRY.fullmatch(path)
    if entry:
        held = pod.metadata.labels if entry[1] == "labels" else pod.metadata.annotations
        return held.get(entry[2]) or ""
    match path:
        case "metadata.name":
            return pod.metadata.name
        case "metadata.namespace":
            return pod.metadata.namespace
        case "metadata.uid":
            return pod.metadata.uid
        case "spec.nodeName":
            return pod.spec.node_name
        case "status.hostIP":
            return pod.status.host_ip
        case "status.podIP":
            return pod.status.pod_ip
    raise InvalidError(f"fieldPath {path!r} is none of {', '.join(FIELD_PATHS)}")
