"""A client for those who write a lot: all its commits share one stream to the leader."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn, Self

from h9s._pb import api_pb2
from h9s.client.client import Client
from h9s.client.commit_stream import CommitStream
from h9s.client.retry import DEFAULT_POLICY, RetryPolicy
from h9s.client.transport import Transport
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import UnavailableError


class BatchingClient(Client):
    """A Client whose commits share one stream. Each has its own outcome; they are independent and may
    be executed in any order. Works only within `async with`."""

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
        self._commits = CommitStream(self._calls, self._request_ids)
        self._running: asyncio.Task[NoReturn] | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._running = loop.create_task(self._commits.run(), name=f"{self.name}-commits")
        self._running.add_done_callback(_report_death)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what has no answer and break all connections."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
        await super().__aexit__(kind, error, trace)

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
        """`commit` without waiting: gives the answer's future. Cancelling that does not stop the
        commit."""
        if self._running is None or self._running.done():
            raise UnavailableError("this client is not running; use it as `async with`")
        return self._commits.submit(operations, dry_run=dry_run, timeout=timeout)


def _report_death(task: asyncio.Task[NoReturn]) -> None:
    """The stream's task ends only when cancelled: anything else is fatal, as the loop's handler decides."""
    if task.cancelled() or task.exception() is None:
        return
    context = {"message": "the commit stream died", "exception": task.exception(), "task": task}
    task.get_loop().call_exception_handler(context)
