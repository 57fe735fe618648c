"""Lengths of time as people write and read them.

Writing follows kubectl: two units at most, coarser the longer it gets (`45s`, `3m12s`, `17m`,
`5h20m`, `2d4h`, `400d`). Reading follows Go's notation (`90s`, `1h30m`, `1.5h`, `250ms`).
"""

from __future__ import annotations

import re

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY

#: (below this many seconds, the unit, the smaller unit that is shown beside it), finest first.
_STEPS: tuple[tuple[float, tuple[int, str], tuple[int, str] | None], ...] = (
    (2 * MINUTE, (1, "s"), None),
    (10 * MINUTE, (MINUTE, "m"), (1, "s")),
    (3 * HOUR, (MINUTE, "m"), None),
    (8 * HOUR, (HOUR, "h"), (MINUTE, "m")),
    (2 * DAY, (HOUR, "h"), None),
    (8 * DAY, (DAY, "d"), (HOUR, "h")),
    (2 * YEAR, (DAY, "d"), None),
    (8 * YEAR, (YEAR, "y"), (DAY, "d")),
    (float("inf"), (YEAR, "y"), None),
)

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": float(MINUTE),
    "h": float(HOUR),
    "d": float(DAY),
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h|d)")


def human_duration(seconds: float) -> str:
    """A length of time for a table's column.

    Clocks of two machines differ a little: up to a second in the future counts as now, more is
    shown as `<invalid>`.
    """
    if seconds <= -2:
        return "<invalid>"
    whole = max(0, int(seconds))
    unit, smaller = next((unit, smaller) for limit, unit, smaller in _STEPS if whole < limit)
    text = f"{whole // unit[0]}{unit[1]}"
    if smaller is not None:
        rest = whole % unit[0] // smaller[0]
        if rest:
            text += f"{rest}{smaller[1]}"
    return text


def parse_duration(text: str) -> float:
    """Seconds from `1h30m`, `500ms` or a bare number of seconds. Raises ValueError."""
    body = text.strip()
    sign = 1.0
    if body[:1] in ("-", "+"):
        sign = -1.0 if body[0] == "-" else 1.0
        body = body[1:]
    if body.isascii() and body.isdigit():
        return sign * float(body)
    position = 0
    total = 0.0
    while match := _PART.match(body, position):
        total += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if position == 0 or position != len(body):
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 5m or 1h30m")
    return sign * total
