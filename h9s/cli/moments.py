"""A revision or a time on the command line: `--at-revision 812`, `--at 10m`, `--from 2026-11-20T10:00Z`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from h9s.cli.durations import human_duration, parse_duration
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client

F = TypeVar("F", bound=Callable[..., Any])

_HOW = "write it like 10m (ago) or 2026-11-20T10:00:00Z"


@dataclass(frozen=True)
class Moment:
    """A revision, or a time in seconds since 1970; neither: now."""

    revision: int = 0
    time: float = 0.0

    @property
    def is_now(self) -> bool:
        """Nothing was given."""
        return not self.revision and not self.time


NOW = Moment()


def past_options(function: F) -> F:
    """--at-revision and --at."""
    function = click.option(
        "--at", metavar="TIME", help="As it was then: 10m (ago) or 2026-11-20T10:00:00Z."
    )(function)
    return click.option(
        "--at-revision", type=click.IntRange(min=1), metavar="REVISION", help="As it was at this revision."
    )(function)


def moment_of(at_revision: int | None, at: str | None, *, now: float) -> Moment:
    """What the two options say together. Raises UsageError."""
    if at_revision is not None and at is not None:
        raise UsageError("give --at-revision or --at, not both")
    if at is not None:
        return Moment(time=parse_time(at, now=now))
    return Moment(revision=at_revision or 0)


def parse_moment(text: str, *, now: float) -> Moment:
    """A revision (a bare number) or a time. Raises UsageError."""
    if text.isascii() and text.isdigit():
        if int(text) == 0:
            raise UsageError("revisions begin at 1")
        return Moment(revision=int(text))
    return Moment(time=parse_time(text, now=now))


def parse_time(text: str, *, now: float) -> float:
    """Seconds since 1970 of `10m` (before `now`) or an RFC 3339 time. Raises UsageError.

    A time without an offset is in this machine's time zone.
    """
    time = _ago(text, now)
    if time is None:
        try:
            time = datetime.fromisoformat(text.strip()).astimezone(UTC).timestamp()
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{text!r} is not a time: {_HOW}") from error
    if time > now:
        raise UsageError(f"{text!r} lies in the future")
    if time <= 0:
        raise UsageError(f"{text!r} is too long ago")
    return time


def _ago(text: str, now: float) -> float | None:
    if not text.strip()[-1:].isalpha() or text.strip()[-1:] == "Z":
        return None
    try:
        return now - parse_duration(text)
    except ValueError:
        return None


async def revision_of(client: Client, moment: Moment) -> int:
    """The revision that is meant; 0: now. Raises CompactedError, HistoryNotHeldError."""
    return await client.history.revision_at(moment.time) if moment.time else moment.revision


def when(time: float, *, now: float) -> str:
    """`2026-11-20T10:00:00Z (3m12s ago)`."""
    stamp = datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{stamp} ({human_duration(now - time)} ago)"
