"""Waiting for a condition, with a deadline, saying what is still missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from h9s.clock import Clock, SystemClock
from h9s.errors import TimeoutExpiredError

_SYSTEM_CLOCK = SystemClock()


async def wait_until(
    check: Callable[[], Awaitable[str]],
    *,
    what: str,
    timeout: float,
    interval: float = 0.05,
    watch: Callable[[], None] | None = None,
    tell: Callable[[str], None] | None = None,
    clock: Clock = _SYSTEM_CLOCK,
) -> float:
    """Repeat `check` until it returns "", which means that nothing is missing; returns the seconds it took.

    `watch` is called in between and raises if waiting is pointless; `tell` gets what is missing
    whenever that changes. Raises TimeoutExpiredError, saying what was missing last.
    """
    begin = clock.monotonic()
    told = ""
    while missing := await check():
        if watch is not None:
            watch()
        if tell is not None and missing != told:
            tell(missing)
            told = missing
        if clock.monotonic() - begin > timeout:
            raise TimeoutExpiredError(f"{what}: still not so after {timeout:.0f} s: {missing}")
        await asyncio.sleep(interval)
    return clock.monotonic() - begin
