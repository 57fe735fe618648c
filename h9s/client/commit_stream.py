"""One stream of commits to the leader, thousands of them outstanding.

What is submitted within one turn of the event loop travels as one message. A commit costs a future
and an entry in a dictionary, no task and no timer. When the stream breaks, everything without an
answer goes to the next leader under its old request id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import NoReturn, TypeAlias

from h9s._pb import api_pb2
from h9s.client import metrics
from h9s.client.calls import Calls, Fate
from h9s.client.cancellation import run_group
from h9s.client.error_detail import to_error
from h9s.client.request_ids import RequestIds
from h9s.client.retry import Backoff, is_retriable
from h9s.client.transport import COMMIT_STREAM, Duplex
from h9s.errors import (
    H9sError,
    NotLeaderError,
    RequestExpiredError,
    TimeoutExpiredError,
    TooLargeError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

#: The most that one message holds, and the largest commit.
_MESSAGE_ITEMS = 512
_MESSAGE_BYTES = 1024 * 1024
_COMMIT_BYTES = 16 * 1024 * 1024
#: How often, in seconds, deadlines and the stream's liveness are looked at.
_SWEEP_SECONDS = 0.1

_Stream: TypeAlias = Duplex[api_pb2.CommitStreamRequest, api_pb2.CommitStreamResponse]


class _Pending:
    """A commit without an answer."""

    __slots__ = ("backoff", "corrected", "deadline", "fate", "future", "item", "started")

    def __init__(
        self,
        item: api_pb2.CommitStreamRequest.Item,
        future: asyncio.Future[api_pb2.CommitResponse],
        *,
        started: float,
        deadline: float,
    ) -> None:
        self.item = item
        self.future = future
        self.started = started
        self.deadline = deadline
        self.fate = Fate()
        self.corrected = False
        self.backoff: Backoff | None = None


class CommitStream:
    """Submits commits; `run` carries them to the leader and brings back the answers."""

    def __init__(self, calls: Calls, request_ids: RequestIds) -> None:
        self._calls = calls
        self._clock = calls.clock
        self._request_ids = request_ids
        self._tag = 0
        self._outstanding: dict[int, _Pending] = {}
        self._unsent: deque[_Pending] = deque()
        self._wakeup = asyncio.Event()
        self._stream: _Stream | None = None
        self._last_heard = 0.0
        #: Streams in a row that were left because nothing came.
        self._silent_streams = 0
        self._observe_ok = metrics.REQUEST_SECONDS.labels(calls.name, COMMIT_STREAM.name, "OK").observe
        self._outstanding_gauge = metrics.OUTSTANDING_COMMITS.labels(calls.name)

    def submit(
        self, operations: Sequence[api_pb2.Operation], *, dry_run: bool, timeout: float | None
    ) -> asyncio.Future[api_pb2.CommitResponse]:
        """Have a commit made and get the future of its answer. See `Client.commit`."""
        self._tag = tag = self._tag + 1
        item = api_pb2.CommitStreamRequest.Item(tag=tag)
        request = item.commit
        request.operations.extend(operations)
        request.request_id.CopyFrom(self._request_ids.new())
        if dry_run:
            request.dry_run = True
        now = self._clock.monotonic()
        future: asyncio.Future[api_pb2.CommitResponse] = asyncio.get_running_loop().create_future()
        if item.ByteSize() > _COMMIT_BYTES:
            future.set_exception(TooLargeError(f"a commit of {item.ByteSize()} bytes is too large"))
            return future
        deadline = now + (self._calls.policy.deadline if timeout is None else timeout)
        pending = _Pending(item, future, started=now, deadline=deadline)
        self._outstanding[tag] = pending
        self._unsent.append(pending)
        self._wakeup.set()
        return future

    async def run(self) -> NoReturn:
        """Until cancelled; what then has no answer ends with UnavailableError."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_conversing())
                group.create_task(self._sweep())
        finally:
            self._fail_all(UnavailableError("the client was closed before the answer came"))
        raise AssertionError("conversing does not end")

    # -- the stream

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
                metrics.RECONNECTS.labels(self._calls.name, COMMIT_STREAM.name).inc()
            started = self._last_heard = self._clock.monotonic()
            try:
                await run_group(self._converse(server))
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
        metrics.RETRIES.labels(self._calls.name, COMMIT_STREAM.name, error.reason).inc()
        for pending in self._outstanding.values():
            pending.fate.note(error)
        if self._outstanding:
            self._wakeup.set()

    async def _converse(self, server: str) -> NoReturn:
        """Send everything outstanding over a new stream, then what comes, until it breaks."""
        self._unsent = deque(
            pending for pending in self._outstanding.values() if not pending.future.cancelled()
        )
        self._outstanding = {pending.item.tag: pending for pending in self._unsent}
        stream = self._stream = self._calls.transport.duplex(server, COMMIT_STREAM)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(stream))
                group.create_task(self._receive(stream, server))
        except* H9sError as errors:
            failure = _first(errors)
        finally:
            self._stream = None
            stream.cancel()
        raise failure

    async def _send(self, stream: _Stream) -> None:
        while True:
            await self._wakeup.wait()
            self._wakeup.clear()
            while self._unsent:
                message = self._next_message()
                try:
                    if message.items:
                        await stream.write(message)
                except UnavailableError:
                    # The call has ended, and reading from it tells why.
                    return

    def _next_message(self) -> api_pb2.CommitStreamRequest:
        message = api_pb2.CommitStreamRequest()
        unsent, items, size = self._unsent, message.items, 0
        while unsent and len(items) < _MESSAGE_ITEMS and size < _MESSAGE_BYTES:
            pending = unsent.popleft()
            if not pending.future.done():
                items.append(pending.item)
                size += pending.item.ByteSize()
        return message

    async def _receive(self, stream: _Stream, server: str) -> NoReturn:
        while (message := await stream.read()) is not None:
            now = self._last_heard = self._clock.monotonic()
            self._silent_streams = 0
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
        pending.fate.note(error)
        renewed = isinstance(error, RequestExpiredError) and self._renew(pending, error)
        if renewed or is_retriable(error):
            metrics.RETRIES.labels(self._calls.name, COMMIT_STREAM.name, error.reason).inc()
            pending.backoff = pending.backoff or self._calls.backoff()
            asyncio.get_running_loop().call_later(pending.backoff.next(), self._send_again, tag)
        else:
            self._finish(tag, error)

    def _send_again(self, tag: int) -> None:
        pending = self._outstanding.get(tag)
        if pending is not None and self._stream is not None:
            self._unsent.append(pending)
            self._wakeup.set()

    def _renew(self, pending: _Pending, error: RequestExpiredError) -> bool:
        """Give a commit that certainly was not executed an id by the server's clock, once."""
        if pending.fate.open or pending.corrected or not error.server_time_ms:
            return False
        self._request_ids.correct(error.server_time_ms)
        pending.item.commit.request_id.CopyFrom(self._request_ids.new())
        pending.corrected = True
        return True

    def _finish(self, tag: int, error: H9sError) -> None:
        pending = self._outstanding.pop(tag)
        if not pending.future.done():
            pending.future.set_exception(error)
        seconds = self._clock.monotonic() - pending.started
        metrics.REQUEST_SECONDS.labels(self._calls.name, COMMIT_STREAM.name, error.reason).observe(seconds)

    def _fail_all(self, error: H9sError) -> None:
        for tag in list(self._outstanding):
            self._finish(tag, error)

    async def _sweep(self) -> NoReturn:
        """Enforce deadlines, and leave a server that says nothing."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            self._outstanding_gauge.set(len(self._outstanding))
            now = self._clock.monotonic()
            late = [tag for tag, pending in self._outstanding.items() if pending.deadline <= now]
            for tag in late:
                self._finish(tag, TimeoutExpiredError("no leader answered the commit in time"))
            if self._stream is not None and self._is_silent(now):
                self._silent_streams += 1
                self._stream.cancel()

    def _is_silent(self, now: float) -> bool:
        oldest = next(iter(self._outstanding.values()), None)
        if oldest is None:
            return False
        waited = now - max(self._last_heard, oldest.started)
        return waited > self._calls.policy.patience(self._silent_streams)


def _first(errors: BaseExceptionGroup[H9sError]) -> H9sError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, H9sError)
    return error
