"""Which keys need work: each at most once in the queue, and worked on by one worker at a time.

The semantics are those of Kubernetes' client-go work queue: a key that is added while it is being
worked on is queued again when that is done, so that no change is missed and none is worked on twice
at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, NoReturn, TypeVar

from h9s.client import metrics
from h9s.client.retry import Backoff, RetryPolicy
from h9s.clock import Clock
from h9s.errors import H9sError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

#: How long a key waits after its work has failed.
QUEUE_POLICY = RetryPolicy(initial=0.02, factor=2.0, maximum=30.0)


class WorkQueue(Generic[K]):
    """A queue of keys for one control loop. Belongs to one event loop."""

    def __init__(
        self, *, name: str, clock: Clock, rng: random.Random, retry: RetryPolicy = QUEUE_POLICY
    ) -> None:
        self.name = name
        self._clock = clock
        self._rng = rng
        self._policy = retry
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._dirty: dict[K, float] = {}
        self._processing: dict[K, float] = {}
        self._backoffs: dict[K, Backoff] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._depth = metrics.QUEUE_DEPTH.labels(name)
        self._adds = metrics.QUEUE_ADDS.labels(name)
        self._retries = metrics.QUEUE_RETRIES.labels(name)
        self._wait_seconds = metrics.QUEUE_WAIT_SECONDS.labels(name)
        self._work_seconds = metrics.QUEUE_WORK_SECONDS.labels(name)

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return self._ready.qsize()

    def add(self, key: K) -> None:
        """The key needs work, now."""
        self._cancel_timer(key)
        if key in self._dirty:
            return
        self._dirty[key] = self._clock.monotonic()
        self._adds.inc()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, seconds: float) -> None:
        """The key needs work in so many seconds; the earliest of several such wishes counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        pending = self._timers.get(key)
        if pending is not None and pending.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def add_rate_limited(self, key: K) -> None:
        """The key's work has failed: again after a wait that grows with every failure in a row."""
        self._retries.inc()
        if key not in self._backoffs:
            self._backoffs[key] = Backoff(self._policy, self._rng)
        self.add_after(key, self._backoffs[key].next())

    def forget(self, key: K) -> None:
        """The key's work has succeeded: its next failure starts with the shortest wait."""
        self._backoffs.pop(key, None)

    async def get(self) -> K:
        """The next key; `done` must follow."""
        key = await self._ready.get()
        now = self._clock.monotonic()
        self._wait_seconds.observe(now - self._dirty.pop(key))
        self._processing[key] = now
        self._depth.set(self._ready.qsize())
        return key

    def done(self, key: K) -> None:
        """The work on a key that `get` gave has ended, well or not."""
        self._work_seconds.observe(self._clock.monotonic() - self._processing.pop(key))
        if key in self._dirty:
            self._push(key)

    async def work(self, reconcile: Callable[[K], Awaitable[float | None]], *, workers: int = 1) -> NoReturn:
        """Call `reconcile(key)` for every key, up to `workers` at a time, until cancelled.

        It may give a number of seconds after which to look at the key again. An H9sError is logged
        and the key tried again with back-off; any other error ends this, and so the process.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work(reconcile))
        raise AssertionError("workers do not return")

    async def _work(self, reconcile: Callable[[K], Awaitable[float | None]]) -> NoReturn:
        while True:
            key = await self.get()
            try:
                again_after = await reconcile(key)
            except H9sError as error:
                logger.warning("%s: %s: %s; it will be tried again", self.name, key, error.message)
                self.add_rate_limited(key)
            else:
                self.forget(key)
                if again_after is not None:
                    self.add_after(key, again_after)
            finally:
                self.done(key)

    def _push(self, key: K) -> None:
        self._ready.put_nowait(key)
        self._depth.set(self._ready.qsize())

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
