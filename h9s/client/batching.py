"""Thousands of independent commits over one stream to the leader.

What is submitted within one turn of the event loop travels as one message. A commit costs a future
and an entry in a dictionary, no task and no timer. When the stream breaks, everything without an
answer goes to the next leader under its old request id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn, Self

from h9s._pb import api_pb2
from h9s.client import metrics
from h9s.client.calls import Fate
from h9s.client.client import Client
from h9s.client.error_detail import to_error
from h9s.client.retry import DEFAULT_POLICY, Backoff, RetryPolicy, is_retriable
from h9s.client.transport import COMMIT_STREAM, Duplex, Transport
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import (
    H9sError,
    NotLeaderError,
    RequestExpiredError,
    TimeoutExpiredError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

#: The most that one message holds.
_MESSAGE_ITEMS = 512
_MESSAGE_BYTES = 1024 * 1024
#: How often, in seconds, deadlines and the stream's liveness are looked at.
_SWEEP_SECONDS = 0.25

Item = api_pb2.CommitStreamRequest.Item


class _Pending:
    """A commit without an answer."""

    __slots__ = ("backoff", "deadline", "fate", "future", "item", "started")

    def __init__(
        self,
        item: Item,
        future: asyncio.Future[api_pb2.CommitResponse],
        *,
        started: float,
        deadline: float,
    ) -> None:
        self.item = item
        self.future = future
        self.started = started
        self.deadline = deadline
        self.fate: Fate | None = None
        self.backoff: Backoff | None = None


class BatchingClient(Client):
    """A Client whose commits share one stream. Each keeps its own outcome; they are independent and
    may be executed in any order."""

    def __init__(
        self,
        config: ClientConfig,
        *,
        clock: Clock,
        rng: random.Random,
        retry: RetryPolicy = DEFAULT_POLICY,
        name: str = "client",
        transport: Transport | None = None,
    ) -> None:
        super().__init__(config, clock=clock, rng=rng, retry=retry, name=name, transport=transport)
        self._tag = 0
        self._outstanding: dict[int, _Pending] = {}
        self._unsent: deque[_Pending] = deque()
        self._wakeup = asyncio.Event()
        self._stream: Duplex[api_pb2.CommitStreamRequest, api_pb2.CommitStreamResponse] | None = None
        self._last_heard = 0.0
        self._tasks: asyncio.Task[None] | None = None
        self._observe_ok = metrics.REQUEST_SECONDS.labels(name, COMMIT_STREAM.name, "OK").observe
        self._outstanding_gauge = metrics.OUTSTANDING_COMMITS.labels(name)

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.get_running_loop().create_task(self._run(), name=f"{self.name}-commits")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what has no answer, and raise what broke the machinery, if anything did."""
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel()
            await asyncio.wait([tasks])
        await super().__aexit__(kind, error, trace)
        if tasks is not None and not tasks.cancelled() and tasks.exception() is not None:
            raise tasks.exception() from None  # type: ignore[misc]

    async def commit(
        self,
        operations: Sequence[api_pb2.Operation],
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> api_pb2.CommitResponse:
        """See `Client.commit`."""
        return await self.submit(operations, dry_run=dry_run, timeout=timeout)

    def submit(
        self,
        operations: Sequence[api_pb2.Operation],
        *,
        dry_run: bool = False,
        timeout: float | None = None,
    ) -> asyncio.Future[api_pb2.CommitResponse]:
        """`commit` without waiting: gives the answer's future. It may be cancelled, the commit not."""
        if self._tasks is None or self._tasks.done():
            raise UnavailableError("this client is not running; use it as `async with`")
        self._tag += 1
        item = Item(tag=self._tag)
        request = item.commit
        request.operations.extend(operations)
        request.request_id.CopyFrom(self._request_ids.new())
        if dry_run:
            request.dry_run = True
        now = self.clock.monotonic()
        future: asyncio.Future[api_pb2.CommitResponse] = asyncio.get_running_loop().create_future()
        deadline = now + (self._calls.policy.deadline if timeout is None else timeout)
        pending = _Pending(item, future, started=now, deadline=deadline)
        self._outstanding[self._tag] = pending
        self._unsent.append(pending)
        self._wakeup.set()
        return future

    # -- the stream

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_conversing())
                group.create_task(self._sweep())
        finally:
            for pending in self._outstanding.values():
                if not pending.future.done():
                    pending.future.set_exception(UnavailableError("the client was closed"))
            self._outstanding.clear()

    async def _keep_conversing(self) -> NoReturn:
        """Hold a stream to the leader whenever there is something to send, wherever it moves."""
        calls = self._calls
        backoff = calls.backoff()
        tried: set[str] = set()
        streams = 0
        while True:
            await self._wakeup.wait()
            server = calls.servers.for_writing(tried)
            if server is None:
                tried.clear()
                await asyncio.sleep(backoff.next())
                continue
            streams += 1
            if streams > 1:
                metrics.RECONNECTS.labels(self.name, COMMIT_STREAM.name).inc()
            started = self._last_heard = self.clock.monotonic()
            try:
                await self._converse(server)
            except H9sError as error:
                if self._last_heard > started:
                    backoff.reset()
                    tried.clear()
                self._after_break(server, error, max(started, self._last_heard))
                tried.add(server)

    def _after_break(self, server: str, error: H9sError, started: float) -> None:
        if not is_retriable(error):
            self._fail_all(error)
            return
        self._calls.failed(server, error, started=started)
        metrics.RETRIES.labels(self.name, COMMIT_STREAM.name, error.reason).inc()
        for pending in self._outstanding.values():
            self._note(pending, error)
        if self._outstanding:
            self._wakeup.set()

    async def _converse(self, server: str) -> None:
        """Send everything outstanding over a new stream, then what comes, until it breaks."""
        self._unsent = deque(
            pending for pending in self._outstanding.values() if not pending.future.cancelled()
        )
        self._outstanding = {pending.item.tag: pending for pending in self._unsent}
        stream = self._stream = self._transport.duplex(server, COMMIT_STREAM)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(stream))
                group.create_task(self._receive(stream, server))
        except* H9sError as errors:
            raise _first(errors) from None
        finally:
            self._stream = None
            stream.cancel()

    async def _send(
        self, stream: Duplex[api_pb2.CommitStreamRequest, api_pb2.CommitStreamResponse]
    ) -> NoReturn:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            while self._unsent:
                await stream.write(self._next_message())

    def _next_message(self) -> api_pb2.CommitStreamRequest:
        message = api_pb2.CommitStreamRequest()
        unsent, items, size = self._unsent, message.items, 0
        while unsent and len(items) < _MESSAGE_ITEMS and size < _MESSAGE_BYTES:
            item = unsent.popleft().item
            items.append(item)
            size += item.ByteSize()
        return message

    async def _receive(
        self, stream: Duplex[api_pb2.CommitStreamRequest, api_pb2.CommitStreamResponse], server: str
    ) -> NoReturn:
        while (message := await stream.read()) is not None:
            now = self._last_heard = self.clock.monotonic()
            moved: NotLeaderError | None = None
            for item in message.items:
                if item.HasField("error"):
                    error = to_error(item.error)
                    if isinstance(error, NotLeaderError):
                        moved = error
                    else:
                        self._failed(item.tag, error)
                    continue
                pending = self._outstanding.pop(item.tag, None)
                if pending is not None and not pending.future.done():
                    pending.future.set_result(item.response)
                    self._observe_ok(now - pending.started)
            if moved is not None:
                raise moved
            self._calls.servers.leads(server)
        raise UnavailableError(f"{server} ended the stream")

    # -- failures

    def _failed(self, tag: int, error: H9sError) -> None:
        """One commit was answered with an error: pass it on, or try that one again."""
        pending = self._outstanding.get(tag)
        if pending is None:
            return
        expired = isinstance(error, RequestExpiredError) and self._renew(pending, error)
        if expired or is_retriable(error):
            self._note(pending, error)
            metrics.RETRIES.labels(self.name, COMMIT_STREAM.name, error.reason).inc()
            pending.backoff = pending.backoff or self._calls.backoff()
            asyncio.get_running_loop().call_later(pending.backoff.next(), self._send_again, tag)
        else:
            self._finish(tag, error)

    def _send_again(self, tag: int) -> None:
        pending = self._outstanding.get(tag)
        if pending is not None and self._stream is not None:
            self._unsent.append(pending)
            self._wakeup.set()

    def _note(self, pending: _Pending, error: H9sError) -> None:
        if isinstance(error, RequestExpiredError):
            return
        pending.fate = pending.fate or Fate()
        pending.fate.note(error)

    def _renew(self, pending: _Pending, error: RequestExpiredError) -> bool:
        """Give a commit that certainly was not executed an id by the server's clock, once."""
        if (pending.fate is not None and pending.fate.open) or not error.server_time_ms:
            return False
        self._request_ids.correct(error.server_time_ms)
        pending.item.commit.request_id.CopyFrom(self._request_ids.new())
        pending.fate = Fate(open=True)
        return True

    def _finish(self, tag: int, error: H9sError) -> None:
        pending = self._outstanding.pop(tag)
        if not pending.future.done():
            pending.future.set_exception(error)
        seconds = self.clock.monotonic() - pending.started
        metrics.REQUEST_SECONDS.labels(self.name, COMMIT_STREAM.name, error.reason).observe(seconds)

    def _fail_all(self, error: H9sError) -> None:
        for tag in list(self._outstanding):
            self._finish(tag, error)

    async def _sweep(self) -> NoReturn:
        """Enforce deadlines, and leave a server that says nothing."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._outstanding_gauge.set(len(self._outstanding))
            now = self.clock.monotonic()
            late = [tag for tag, pending in self._outstanding.items() if pending.deadline <= now]
            for tag in late:
                self._finish(tag, TimeoutExpiredError("no leader answered the commit in time"))
            silent = now - self._last_heard > self._calls.policy.attempt_timeout
            if silent and self._stream is not None and self._outstanding:
                self._stream.cancel()


def _first(errors: BaseExceptionGroup[H9sError]) -> H9sError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, H9sError)
    return error
