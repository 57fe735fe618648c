"""`--sort-by`: objects in the order of one of their fields. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from h9s.api.codec import to_dict
from h9s.api.kinds import ApiObject
from h9s.errors import UsageError

_PATH = re.compile(r"\{?\.?([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\}?")


def sort_objects(objects: Sequence[ApiObject], path: str) -> tuple[ApiObject, ...]:
    """Ascending by the field at a path such as `.metadata.name` or `{.status.startTime}`.

    Numbers go before texts, objects without the field first. Raises UsageError on another kind of path.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise UsageError(f"--sort-by takes the path of a field, as in .metadata.name, not {path!r}")
    return tuple(sorted(objects, key=lambda message: _order(_value(to_dict(message), match[1].split(".")))))


def _value(document: Any, names: Sequence[str]) -> Any:
    for name in names:
        if not isinstance(document, dict):
            return None
        document = document.get(name)
    return document


def _order(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, (int, float)):
        return (1, float(value), "")
    return (2, 0.0, str(value))
