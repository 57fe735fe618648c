"""Which columns each kind has in `howbectl get`: kubectl's, where kubectl knows the kind. Pure.

A kind without an entry is shown by name and age, so that kinds registered later need nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import apps_pb2, cluster_pb2, coordination_pb2, core_pb2, meta_pb2
from h9s.api import conditions
from h9s.api.labels import Selector
from h9s.cli.durations import human_duration
from h9s.cli.pod_summary import pod_ready, pod_restarts, pod_status

NONE = "<none>"
UNKNOWN = "<unknown>"

#: What a cell is made of: the object, and the time in seconds since 1970.
Cell = Callable[[Any, float], str]


@dataclass(frozen=True)
class Column:
    """A column; `wide` ones are shown with `-o wide` only."""

    header: str
    cell: Cell
    wide: bool = False


def age(moment: Timestamp, now: float) -> str:
    """How long ago; `<unknown>` for a moment that is not set."""
    return human_duration(now - moment.ToNanoseconds() / 1e9) if moment.seconds else UNKNOWN


def label_text(labels: Mapping[str, str]) -> str:
    """`a=b,c=d`, sorted, or `<none>`."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) or NONE


def selector_text(selector: meta_pb2.LabelSelector) -> str:
    """A selector as `-l` takes it, or `<none>`."""
    return str(Selector.from_label_selector(selector)) or NONE


def columns_of(message_type: type[Any], *, wide: bool) -> list[Column]:
    """The columns of a kind, in order."""
    return [column for column in _COLUMNS.get(message_type, _ANY) if wide or not column.wide]


def _joined(values: Iterable[str]) -> str:
    return ",".join(values) or NONE


def _name(message: Any, _now: float) -> str:
    return str(message.metadata.name)


def _age(message: Any, now: float) -> str:
    return age(message.metadata.creation_timestamp, now)


_NAME = Column("NAME", _name)
_AGE = Column("AGE", _age)
_ANY = (_NAME, _AGE)

_POD = (
    _NAME,
    Column("READY", lambda pod, _: pod_ready(pod)),
    Column("STATUS", lambda pod, _: pod_status(pod)),
    Column("RESTARTS", pod_restarts),
    _AGE,
    Column("IP", lambda pod, _: pod.status.pod_ip or NONE, wide=True),
    Column("NODE", lambda pod, _: pod.spec.node_name or NONE, wide=True),
)


def _template_columns() -> tuple[Column, ...]:
    return (
        Column(
            "CONTAINERS", lambda obj, _: _joined(c.name for c in obj.spec.template.spec.containers), wide=True
        ),
        Column(
            "IMAGES", lambda obj, _: _joined(c.image for c in obj.spec.template.spec.containers), wide=True
        ),
        Column("SELECTOR", lambda obj, _: selector_text(obj.spec.selector), wide=True),
    )


_DEPLOYMENT = (
    _NAME,
    Column("READY", lambda d, _: f"{d.status.ready_replicas}/{d.spec.replicas}"),
    Column("UP-TO-DATE", lambda d, _: str(d.status.updated_replicas)),
    Column("AVAILABLE", lambda d, _: str(d.status.available_replicas)),
    _AGE,
    *_template_columns(),
)

_REPLICA_SET = (
    _NAME,
    Column("DESIRED", lambda rs, _: str(rs.spec.replicas)),
    Column("CURRENT", lambda rs, _: str(rs.status.replicas)),
    Column("READY", lambda rs, _: str(rs.status.ready_replicas)),
    _AGE,
    *_template_columns(),
)


def node_status(node: core_pb2.Node) -> str:
    """`Ready`, `NotReady` or `Unknown`, and whether new pods may come."""
    ready = conditions.get(node.status.conditions, "Ready")
    words = ["Unknown" if ready is None else "Ready" if ready.status == "True" else "NotReady"]
    if node.spec.unschedulable:
        words.append("SchedulingDisabled")
    return ",".join(words)


def node_roles(node: core_pb2.Node) -> str:
    """From the labels `node-role.kubernetes.io/ROLE`."""
    prefix = "node-role.kubernetes.io/"
    return _joined(sorted(key.removeprefix(prefix) for key in node.metadata.labels if key.startswith(prefix)))


def node_address(node: core_pb2.Node) -> str:
    """The node's internal address, or `<none>`."""
    return next((a.address for a in node.status.addresses if a.type == "InternalIP"), NONE)


_NODE = (
    _NAME,
    Column("STATUS", lambda node, _: node_status(node)),
    Column("ROLES", lambda node, _: node_roles(node)),
    _AGE,
    Column("VERSION", lambda node, _: node.status.node_info.kubelet_version or UNKNOWN),
    Column("INTERNAL-IP", lambda node, _: node_address(node), wide=True),
    Column("OS-IMAGE", lambda node, _: node.status.node_info.os_image or UNKNOWN, wide=True),
    Column("KERNEL-VERSION", lambda node, _: node.status.node_info.kernel_version or UNKNOWN, wide=True),
    Column(
        "CONTAINER-RUNTIME",
        lambda node, _: node.status.node_info.container_runtime_version or UNKNOWN,
        wide=True,
    ),
)

_NAMESPACE = (_NAME, Column("STATUS", lambda namespace, _: namespace.status.phase or UNKNOWN), _AGE)


def event_time(event: core_pb2.Event) -> Timestamp:
    """When the event was last seen."""
    for moment in (event.last_timestamp, event.first_timestamp):
        if moment.seconds:
            return moment
    return event.metadata.creation_timestamp


def event_order(event: core_pb2.Event) -> tuple[int, int, str]:
    """What to sort events by: time, and within a second the order in which they were written."""
    revision = event.metadata.resource_version
    return event_time(event).seconds, int(revision) if revision.isdecimal() else 0, event.metadata.name


def event_age(event: core_pb2.Event, now: float) -> str:
    """How long ago, and for a repeated event how often since when: `3s (x5 over 2m)`."""
    last = age(event_time(event), now)
    if event.count > 1 and event.first_timestamp.seconds:
        return f"{last} (x{event.count} over {age(event.first_timestamp, now)})"
    return last


def event_object(event: core_pb2.Event) -> str:
    """What the event is about: `pod/web`."""
    return f"{event.involved_object.kind.lower()}/{event.involved_object.name}"


def event_source(event: core_pb2.Event) -> str:
    """Who reported it: `howbelet, n1`."""
    return ", ".join(part for part in (event.source.component, event.source.host) if part) or NONE


_EVENT = (
    Column("LAST SEEN", event_age),
    Column("TYPE", lambda event, _: event.type or NONE),
    Column("REASON", lambda event, _: event.reason or NONE),
    Column("OBJECT", lambda event, _: event_object(event)),
    Column("SOURCE", lambda event, _: event_source(event), wide=True),
    Column("MESSAGE", lambda event, _: event.message.strip()),
    Column("NAME", _name, wide=True),
)

_LEASE = (_NAME, Column("HOLDER", lambda lease, _: lease.spec.holder_identity or NONE), _AGE)

_JOIN_TOKEN = (
    _NAME,
    Column(
        "EXPIRES IN",
        lambda token, now: human_duration(max(0.0, token.spec.expires_at.seconds - now)),
    ),
    _AGE,
)

_COLUMNS: dict[type[Any], tuple[Column, ...]] = {
    core_pb2.Pod: _POD,
    core_pb2.Node: _NODE,
    core_pb2.Namespace: _NAMESPACE,
    core_pb2.Event: _EVENT,
    apps_pb2.Deployment: _DEPLOYMENT,
    apps_pb2.ReplicaSet: _REPLICA_SET,
    coordination_pb2.Lease: _LEASE,
    cluster_pb2.JoinToken: _JOIN_TOKEN,
}
