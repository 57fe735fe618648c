"""Values that are a number or a percentage of one: maxSurge, maxUnavailable."""

from __future__ import annotations

import re

from h9s._pb import meta_pb2
from h9s.errors import InvalidError

_PERCENTAGE = re.compile(r"([0-9]{1,9})%")


def of(value: int | str) -> meta_pb2.IntOrString:
    """The message of a bare number or a bare string."""
    if isinstance(value, str):
        return meta_pb2.IntOrString(string_value=value)
    return meta_pb2.IntOrString(int_value=value)


def percentage(text: str) -> int | None:
    """25 for "25%"; None for anything else."""
    match = _PERCENTAGE.fullmatch(text)
    return int(match[1]) if match else None


def resolve(value: meta_pb2.IntOrString, total: int, *, round_up: bool) -> int:
    """The number itself, or the percentage of `total`, rounded as told. An unset value is 0.
    Raises InvalidError if the string is not a percentage."""
    if value.WhichOneof("value") != "string_value":
        return value.int_value
    percent = percentage(value.string_value)
    if percent is None:
        raise InvalidError(f"expected a number or a percentage such as '25%', got {value.string_value!r}")
    hundredfold = percent * total
    return -(-hundredfold // 100) if round_up else hundredfold // 100
