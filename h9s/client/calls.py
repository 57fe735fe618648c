"""One call over many attempts: to the leader or to any replica, until it is answered or time is up.

The rounds: within one, every server is asked at most once, at once; between two, there is a wait.
A server that says who leads is believed unless that one has just failed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from h9s.client import metrics
from h9s.client.retry import Backoff, RetryPolicy, is_retriable
from h9s.client.servers import Servers
from h9s.client.transport import Method, NotConnectedError, Transport, UntrustedServerError
from h9s.clock import Clock
from h9s.errors import (
    FutureRevisionError,
    H9sError,
    HistoryNotHeldError,
    NotLeaderError,
    OverloadedError,
    RequestExpiredError,
    TimeoutExpiredError,
)

logger = logging.getLogger(__name__)

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

#: How long, in seconds, replicas may all say that a revision is still to come before that is the answer.
_FUTURE_REVISION_PATIENCE = 1.0

_NOTHING_WAS_DONE = (NotLeaderError, OverloadedError, RequestExpiredError, NotConnectedError)


@dataclass
class Fate:
    """What is known of a write whose attempts have all failed."""

    #: Whether an attempt may have been executed although its answer never came.
    open: bool = False

    def note(self, error: H9sError) -> None:
        """An attempt ended with `error`."""
        if not isinstance(error, _NOTHING_WAS_DONE):
            self.open = True


class Calls:
    """Makes calls on behalf of one client."""

    def __init__(
        self,
        transport: Transport,
        servers: Servers,
        *,
        policy: RetryPolicy,
        clock: Clock,
        rng: random.Random,
        name: str,
    ) -> None:
        self.transport = transport
        self.servers = servers
        self.policy = policy
        self.clock = clock
        self.rng = rng
        self.name = name
        self._redirects = metrics.REDIRECTS.labels(name)

    async def to_leader(
        self, method: Method[Q, R], request: Q, *, timeout: float | None = None, fate: Fate | None = None
    ) -> R:
        """Ask the leader, wherever it moves. `timeout` (seconds, all attempts; default: the policy's
        deadline). Raises TimeoutExpiredError, or the server's error where trying again is no use."""
        servers = self.servers
        answer, server = await self._until_answered(
            method, request, servers.for_writing, timeout, fate or Fate()
        )
        servers.leads(server)
        return answer

    async def to_any(self, method: Method[Q, R], request: Q, *, timeout: float | None = None) -> R:
        """Ask the replica that answered last, or another if it does not. Errors as in `to_leader`."""
        answer, server = await self._until_answered(
            method, request, self.servers.for_reading, timeout, Fate()
        )
        self.servers.answered(server)
        return answer

    async def live_server(self, method: Method[Q, R], request: Q) -> str:
        """The address of a replica that has just answered `request`."""
        _, server = await self._until_answered(method, request, self.servers.for_reading, None, Fate())
        self.servers.answered(server)
        return server

    def backoff(self) -> Backoff:
        """The waits for a new sequence of failures."""
        return Backoff(self.policy, self.rng)

    def failed(self, server: str, error: H9sError, *, started: float) -> None:
        """Learn from an attempt at `server` that began at `started` (monotonic) and failed retriably."""
        if isinstance(error, NotLeaderError):
            if error.leader_address:
                self._redirects.inc()
            self.servers.redirect(server, error.leader_address)
        elif not isinstance(error, OverloadedError | HistoryNotHeldError):
            self.servers.failed(server, after_seconds=self.clock.monotonic() - started)

    async def _until_answered(
        self,
        method: Method[Q, R],
        request: Q,
        choose: Callable[[set[str]], str | None],
        timeout: float | None,
        fate: Fate,
    ) -> tuple[R, str]:
        started = self.clock.monotonic()
        deadline = started + (self.policy.deadline if timeout is None else timeout)
        backoff = self.backoff()
        tried: set[str] = set()
        last: H9sError | None = None
        untrusted: set[str] = set()
        lacking: HistoryNotHeldError | None = None
        slow = 0
        while True:
            now = self.clock.monotonic()
            server = choose(tried)
            wait = 0.0 if server else backoff.next()
            if now + wait >= deadline:
                raise self._gave_up(method, last, started)
            if server is None and lacking is not None:
                self._observe(method, lacking.reason, started)
                raise lacking
            if server is None:
                await asyncio.sleep(wait)
                tried.clear()
                continue
            limit = min(self.policy.patience(slow), deadline - now)
            try:
                answer = await self.transport.unary(server, method, request, timeout=limit)
            except H9sError as error:
                fate.note(error)
                if isinstance(error, UntrustedServerError):
                    untrusted.add(server)
                if isinstance(error, HistoryNotHeldError):
                    lacking = error
                if untrusted.issuperset(self.servers.known) or not self._may_retry(error, started):
                    self._observe(method, error.reason, started)
                    raise
                metrics.RETRIES.labels(self.name, method.name, error.reason).inc()
                self.failed(server, error, started=now)
                # Where a queue is full, waiting helps, not asking somebody else.
                tried.update(self.servers.known if isinstance(error, OverloadedError) else [server])
                slow += isinstance(error, TimeoutExpiredError)
                last = error
            else:
                self._observe(method, "OK", started)
                return answer, server

    def _may_retry(self, error: H9sError, started: float) -> bool:
        if isinstance(error, FutureRevisionError):
            return self.clock.monotonic() - started < _FUTURE_REVISION_PATIENCE
        # What one replica lacks another may have: each is asked once.
        return is_retriable(error) or isinstance(error, HistoryNotHeldError)

    def _gave_up(self, method: Method[Q, R], last: H9sError | None, started: float) -> TimeoutExpiredError:
        self._observe(method, TimeoutExpiredError.reason, started)
        seconds = self.clock.monotonic() - started
        servers = ", ".join(self.servers.known)
        reason = f": {last.message}" if last else ""
        return TimeoutExpiredError(f"no answer to {method.name} from {servers} in {seconds:.1f} s{reason}")

    def _observe(self, method: Method[Q, R], outcome: str, started: float) -> None:
        seconds = self.clock.monotonic() - started
        metrics.REQUEST_SECONDS.labels(self.name, method.name, outcome).observe(seconds)
