"""Time and randomness, as things that are handed in.

Nothing else in h9s asks the operating system what time it is or for a random number; everything
takes a `Clock` and a `random.Random`, so that a whole cluster can run on virtual time from a seed.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970; may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return time.time()


class LoopClock:
    """The running event loop's time, so that timers and clock agree on a virtual-time loop.

    `epoch` is the wall time, in seconds since 1970, at loop time 0.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, epoch: float = 1_700_000_000.0) -> None:
        self._loop = loop
        self._epoch = epoch

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._loop.time()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self._epoch + self._loop.time()


def system_random() -> random.Random:
    """A generator seeded by the operating system, for processes that run for real."""
    return random.SystemRandom()


def now_timestamp(clock: Clock) -> Timestamp:
    """The clock's wall time in whole seconds, as Kubernetes stamps its objects."""
    return Timestamp(seconds=int(clock.wall()))


def wall_ms(clock: Clock) -> int:
    """The clock's wall time in milliseconds since 1970."""
    return int(clock.wall() * 1000)
