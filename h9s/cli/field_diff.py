"""What is different between two states of an object, field by field, for people. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from h9s.api.codec import to_dict
from h9s.api.kinds import ApiObject
from h9s.cli.merge import LAST_APPLIED


class Absent(Enum):
    """Stands for a field that is not there."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT

#: Follow from the other changes, or from the write itself.
_IGNORED = frozenset(
    {
        "metadata.resourceVersion",
        "metadata.generation",
        "status.observedGeneration",
        f"metadata.annotations[{LAST_APPLIED}]",
    }
)
#: What tells the items of a list apart, where all of them have it.
_ITEM_KEYS = ("name", "type", "mountPath", "containerPort", "uid", "key", "ip")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_VALUE = 100


class FieldChange(NamedTuple):
    """One field: its path (`spec.template.spec.containers[web].image`), and its two values."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.before is ABSENT:
            return f"+ {self.path}: {_shown(self.after)}"
        if self.after is ABSENT:
            return f"- {self.path}: {_shown(self.before)}"
        return f"  {self.path}: {_shown(self.before)} -> {_shown(self.after)}"


def field_changes(before: ApiObject, after: ApiObject) -> list[FieldChange]:
    """The fields that differ, in the order of the manifest."""
    return list(_changes("", to_dict(before), to_dict(after)))


def _changes(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after or path in _IGNORED:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _map_changes(path, before, after)
    elif isinstance(before, list) and isinstance(after, list) and (keyed := _keyed(before, after)):
        yield from _map_changes(path, *keyed, bracket=True)
    else:
        yield FieldChange(path, before, after)


def _map_changes(
    path: str, before: Mapping[Any, Any], after: Mapping[Any, Any], *, bracket: bool = False
) -> Iterator[FieldChange]:
    for key in [*before, *(key for key in after if key not in before)]:
        below = _joined(path, str(key), bracket=bracket)
        yield from _changes(below, before.get(key, ABSENT), after.get(key, ABSENT))


def _joined(path: str, key: str, *, bracket: bool) -> str:
    if bracket or not _PLAIN_NAME.fullmatch(key):
        return f"{path}[{key if key.isprintable() else _escaped(key)}]"
    return f"{path}.{key}" if path else key


def _keyed(before: Sequence[Any], after: Sequence[Any]) -> tuple[dict[Any, Any], dict[Any, Any]] | None:
    """Both lists as maps by what names their items; by position where they only differ in few."""
    if not all(isinstance(item, Mapping) for item in (*before, *after)):
        return None
    for name in _ITEM_KEYS:
        if all(isinstance(item.get(name), str | int) for item in (*before, *after)):
            maps = tuple({item[name]: item for item in items} for items in (before, after))
            if (len(maps[0]), len(maps[1])) == (len(before), len(after)):
                return maps[0], maps[1]
    return (dict(enumerate(before)), dict(enumerate(after))) if len(before) == len(after) else None


def _escaped(value: Any) -> str:
    return json.dumps(value, sort_keys=True).replace("\x7f", "\\u007f")


def _shown(value: Any) -> str:
    plain = isinstance(value, str) and value and value.isprintable()
    text = value if plain else json.dumps(value, ensure_ascii=False, sort_keys=True)
    if not text.isprintable():
        text = _escaped(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
