"""An asyncio event loop on virtual time: waiting takes no time, and every run is the same.

Where the real loop would sleep until the next timer, this one sets its clock to it. There are no
file descriptors, threads or signals; code that needs them does not belong on it. Determinism also
asks of the code that it does not iterate over sets of tasks (`asyncio.wait`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Everything waits, and no timer will ever wake it."""


class LivelockError(RuntimeError):
    """Callbacks bring about callbacks without end, and time stands still."""


#: Turns of the loop at one moment, far beyond what honest work takes.
_MOST_TURNS_AT_ONCE = 100_000


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """A loop whose `time()` starts at 0 seconds and jumps."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._turns_at_once = 0
        self._clock_resolution = 1e-9
        self._selector = self

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def select(self, timeout: float | None) -> list[object]:
        """Advance to the next timer instead of waiting for it.

        Raises DeadlockError if there is none, LivelockError if none is ever reached.
        """
        if timeout is None:
            raise DeadlockError("everything waits, and no timer will ever wake it")
        self._turns_at_once = 0 if timeout else self._turns_at_once + 1
        if self._turns_at_once > _MOST_TURNS_AT_ONCE:
            raise LivelockError(f"time has stood still at {self._now:.6f} s for {_MOST_TURNS_AT_ONCE} turns")
        self._now += timeout
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There are no descriptors, hence no events."""

    def _write_to_self(self) -> None:
        """Nobody sleeps, hence nobody has to be woken."""


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` to its end on a new virtual-time loop; cancel what it left behind."""
    loop = VirtualTimeLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main())
    finally:
        try:
            _cancel_rest(loop)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _cancel_rest(loop: VirtualTimeLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
