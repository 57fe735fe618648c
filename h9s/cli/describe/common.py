"""What descriptions of several kinds have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from h9s._pb import apps_pb2, core_pb2, meta_pb2
from h9s.api.kinds import ApiObject, kind_of
from h9s.api.owners import controller_of
from h9s.cli.columns import age, event_age, event_order, event_source
from h9s.cli.describe.sheet import Sheet
from h9s.cli.merge import LAST_APPLIED


@dataclass(frozen=True)
class Related:
    """What belongs to the object that is described, as far as its kind needs it."""

    events: Sequence[core_pb2.Event] = ()
    pods: Sequence[core_pb2.Pod] = ()
    replica_sets: Sequence[apps_pb2.ReplicaSet] = field(default=())


def put_identity(sheet: Sheet, message: ApiObject) -> None:
    """Name and namespace."""
    sheet.put("Name", message.metadata.name)
    if kind_of(message).namespaced:
        sheet.put("Namespace", message.metadata.namespace)


def put_labels(sheet: Sheet, message: ApiObject) -> None:
    """Labels and annotations; the one that `apply` keeps for itself would only be in the way."""
    sheet.put_map("Labels", message.metadata.labels)
    annotations = {
        key: " ".join(value.split())
        for key, value in message.metadata.annotations.items()
        if key != LAST_APPLIED
    }
    sheet.put_map("Annotations", annotations, sign=": ")


def put_owner(sheet: Sheet, message: ApiObject) -> None:
    """Who made it."""
    owner = controller_of(message)
    if owner is not None:
        sheet.put("Controlled By", f"{owner.kind}/{owner.name}")


def put_conditions(sheet: Sheet, conditions: Iterable[meta_pb2.Condition], now: float) -> None:
    """A table of conditions."""
    rows = [
        [item.type, item.status, age(item.last_transition_time, now), item.reason, item.message]
        for item in conditions
    ]
    sheet.put_table("Conditions", ["Type", "Status", "Since", "Reason", "Message"], rows)


def put_events(sheet: Sheet, events: Sequence[core_pb2.Event], now: float) -> None:
    """Oldest first, as things happened."""
    ordered = sorted(events, key=event_order)
    rows = [
        [event.type, event.reason, event_age(event, now), event_source(event), event.message.strip()]
        for event in ordered
    ]
    sheet.put_table("Events", ["Type", "Reason", "Age", "From", "Message"], rows)


def put_template(sheet: Sheet, template: core_pb2.PodTemplateSpec) -> None:
    """A pod template."""
    section = sheet.section("Pod Template")
    section.put_map("Labels", template.metadata.labels)
    if template.metadata.annotations:
        section.put_map("Annotations", template.metadata.annotations, sign=": ")
    containers = section.section("Containers")
    for container in template.spec.containers:
        put_container_spec(containers.section(container.name), container)
    section.put_map("Node-Selectors", template.spec.node_selector)


def put_container_spec(sheet: Sheet, container: core_pb2.Container) -> None:
    """What was asked for."""
    sheet.put("Image", container.image)
    ports = [f"{port.container_port}/{port.protocol or 'TCP'}" for port in container.ports]
    sheet.put("Ports", ", ".join(ports) or "<none>")
    host_ports = [f"{port.host_port}/{port.protocol or 'TCP'}" for port in container.ports if port.host_port]
    sheet.put_some("Host Ports", ", ".join(host_ports))
    if container.command:
        sheet.put_lines("Command", container.command)
    if container.args:
        sheet.put_lines("Args", container.args)
    if container.resources.limits:
        sheet.put_map("Limits", container.resources.limits, sign=": ")
    if container.resources.requests:
        sheet.put_map("Requests", container.resources.requests, sign=": ")
    sheet.put_lines("Environment", map(_variable, container.env))


def _variable(variable: core_pb2.EnvVar) -> str:
    path = variable.value_from.field_ref.field_path
    return f"{variable.name}: ({path})" if path else f"{variable.name}: {variable.value}"


def moment(timestamp: Timestamp) -> str:
    """`Mon, 02 Jan 2006 15:04:05 +0000`, in UTC; `<unknown>` where it is not set."""
    if not timestamp.seconds:
        return "<unknown>"
    return datetime.fromtimestamp(timestamp.seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
