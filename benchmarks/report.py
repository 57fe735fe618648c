"""Results and how they are shown: a table for people, one JSON object for programs. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Result:
    """One measured number. `peer` is the same number of what h9s is compared with, `ratio` is value
    through peer; `met` is None where there is no aim, or none that this run can tell."""

    name: str
    value: float
    unit: str
    peer: float | None = None
    ratio: float | None = None
    aim: str | None = None
    met: bool | None = None


@dataclass(frozen=True)
class Report:
    """One run of one benchmark."""

    benchmark: str
    machine: Mapping[str, object]
    settings: Mapping[str, object]
    results: Sequence[Result]


def at_most(name: str, value: float, unit: str, limit: float, *, peer: float | None = None) -> Result:
    """A number that should not be above a limit."""
    return Result(name, value, unit, peer, ratio(value, peer), aim=f"≤ {limit:g} {unit}", met=value <= limit)


def at_least_times(
    name: str,
    value: float,
    unit: str,
    factor: float,
    base: float | None,
    base_name: str,
    *,
    peer: float | None,
) -> Result:
    """A number that should be at least `factor` times another one, which may not have been measured."""
    return Result(
        name,
        value,
        unit,
        peer,
        ratio(value, peer),
        aim=f"≥ {factor:g} × {base_name}",
        met=None if base is None else value >= factor * base,
    )


def at_most_times(
    name: str, value: float, unit: str, factor: float, base: float | None, base_name: str
) -> Result:
    """A number that should be at most `factor` times the peer's, which may not have been measured."""
    return Result(
        name,
        value,
        unit,
        base,
        ratio(value, base),
        aim=f"≤ {factor:g} × {base_name}",
        met=None if base is None else value <= factor * base,
    )


def ratio(value: float, peer: float | None) -> float | None:
    """Value through peer; None without a peer."""
    return value / peer if peer else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that at least `percent` % are not above.

    Raises ValueError if there are no values.
    """
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones. Raises ValueError if there are none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def to_json(report: Report) -> str:
    """One JSON object."""
    document = {
        "benchmark": report.benchmark,
        "machine": dict(report.machine),
        "settings": dict(report.settings),
        "results": [asdict(result) for result in report.results],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def to_table(report: Report) -> str:
    """A table, with the machine and the settings above it."""
    header = ("result", "value", "peer", "ratio", "aim", "met")
    rows = [
        (
            result.name,
            f"{_number(result.value)} {result.unit}",
            "" if result.peer is None else f"{_number(result.peer)} {result.unit}",
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.aim or "",
            "" if result.met is None else ("yes" if result.met else "NO"),
        )
        for result in report.results
    ]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [
        f"benchmark {report.benchmark}",
        "machine   " + ", ".join(f"{key} {value}" for key, value in report.machine.items()),
        "settings  " + ", ".join(f"{key} {value}" for key, value in report.settings.items()),
        "",
    ]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join(lines)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
