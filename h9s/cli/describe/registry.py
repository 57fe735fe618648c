"""Which describer describes which kind; a kind without one is written out field by field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from h9s._pb import apps_pb2, core_pb2
from h9s.api.codec import to_dict
from h9s.api.kinds import ApiObject
from h9s.cli.describe.common import Related, moment, put_events, put_identity, put_labels
from h9s.cli.describe.nodes import describe_node
from h9s.cli.describe.pods import describe_pod
from h9s.cli.describe.sheet import Sheet
from h9s.cli.describe.workloads import describe_deployment, describe_replica_set

Describer = Callable[[Any, Related, float], Sheet]


def describe(message: ApiObject, related: Related, now: float) -> str:
    """The text, ending in a newline; `now` in seconds since 1970."""
    describer = _DESCRIBERS.get(type(message), _describe_any)
    return "\n".join(describer(message, related, now).lines()) + "\n"


def _describe_any(message: ApiObject, related: Related, now: float) -> Sheet:
    sheet = Sheet()
    put_identity(sheet, message)
    put_labels(sheet, message)
    sheet.put("Created", moment(message.metadata.creation_timestamp))
    fields = to_dict(message)
    for name in ("apiVersion", "kind", "metadata"):
        fields.pop(name, None)
    _put_fields(sheet, fields)
    put_events(sheet, related.events, now)
    return sheet


def _put_fields(sheet: Sheet, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        title = _title(name)
        if isinstance(value, dict):
            _put_fields(sheet.section(title), value)
        elif isinstance(value, list):
            _put_list(sheet, title, value)
        else:
            sheet.put(title, str(value).lower() if isinstance(value, bool) else value)


def _put_list(sheet: Sheet, title: str, values: list[Any]) -> None:
    if any(isinstance(value, dict) for value in values):
        section = sheet.section(title)
        for number, value in enumerate(values, start=1):
            _put_fields(section.section(f"{number}"), value)
    else:
        sheet.put_lines(title, map(str, values))


def _title(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return words[:1].upper() + words[1:]


_DESCRIBERS: dict[type[Any], Describer] = {
    core_pb2.Pod: describe_pod,
    core_pb2.Node: describe_node,
    apps_pb2.Deployment: describe_deployment,
    apps_pb2.ReplicaSet: describe_replica_set,
}
