"""Changes of objects, for people and for programs: what `history`, `diff` and `undo` print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from h9s.api.codec import to_dict
from h9s.api.kinds import kind_by
from h9s.api.yaml_text import dump
from h9s.cli.field_diff import ABSENT, FieldChange, field_changes
from h9s.cli.moments import when
from h9s.cli.targets import resource_name

if TYPE_CHECKING:
    from h9s.client.history import ObjectChange

_SIGNS = {"created": "+", "deleted": "-", "changed": "~"}


def verb_of(change: ObjectChange) -> str:
    """created, deleted or changed."""
    if change.before is None:
        return "created"
    if change.after is None:
        return "deleted"
    return "replaced" if change.before.metadata.uid != change.after.metadata.uid else "changed"


def fields_of(change: ObjectChange) -> list[FieldChange]:
    """The fields that a change has changed; none where the object came or went."""
    if change.before is None or change.after is None:
        return []
    return field_changes(change.before, change.after)


def name_of(change: ObjectChange) -> str:
    """`deployment.apps/web`."""
    return f"{resource_name(kind_by(change.key.group, change.key.kind))}/{change.key.name}"


def who(change: ObjectChange) -> str:
    """The author, as far as it was recorded."""
    return change.author or "<unknown>"


def headline(change: ObjectChange, *, now: float) -> str:
    """A revision's line in the history of one object."""
    return f"revision {change.revision}  {when(change.time, now=now)}  {who(change)}  {verb_of(change)}"


def difference_headline(change: ObjectChange, *, now: float) -> str:
    """An object's line in the difference of two revisions."""
    namespace = f" in {change.key.namespace}" if change.key.namespace else ""
    verb = verb_of(change)
    last = f"revision {change.revision}, {when(change.time, now=now)}, {who(change)}"
    return f"{_SIGNS.get(verb, '~')} {name_of(change)}{namespace}  {verb}  ({last})"


def as_data(change: ObjectChange) -> dict[str, Any]:
    """For -o yaml and json."""
    data: dict[str, Any] = {
        "revision": change.revision,
        "time": when(change.time, now=change.time).partition(" ")[0],
        "author": change.author,
        "object": {"kind": change.key.kind, "namespace": change.key.namespace, "name": change.key.name},
        "verb": verb_of(change),
        "fields": [_field_data(field) for field in fields_of(change)],
    }
    for name, message in (("before", change.before), ("after", change.after)):
        if message is not None:
            data[name] = to_dict(message)
    return data


def _field_data(field: FieldChange) -> dict[str, Any]:
    data = {"path": field.path}
    data.update({} if field.before is ABSENT else {"before": field.before})
    data.update({} if field.after is ABSENT else {"after": field.after})
    return data


def as_text(changes: Sequence[ObjectChange], output: str) -> str:
    """The changes as a YAML or JSON list; ends with a newline."""
    data = [as_data(change) for change in changes]
    if output == "json":
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    return dump(data)
