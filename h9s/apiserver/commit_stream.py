"""One CommitStream: many Commits outstanding at once, answered as they are done.

All Commits of one message are decided in one go and proposed together; all that are done by the time
the answer can be written travel in one message.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from h9s._pb import api_pb2
from h9s.apiserver.committer import Committed, Committer
from h9s.apiserver.error_mapping import detail_of
from h9s.errors import H9sError
from h9s.pki import Identity

#: Above this many unanswered Commits no more are read: the client waits.
MAX_UNANSWERED = 8192
#: How many are decided before the event loop gets its turn: a message may hold very many small ones.
_SLICE = 512

Write = Callable[[api_pb2.CommitStreamResponse], Awaitable[None]]


class CommitStreamSession:
    """The state of one stream. A Commit that was read is carried out even if the stream breaks."""

    def __init__(self, committer: Committer, caller: Identity, *, timeout: float) -> None:
        self._committer = committer
        self._caller = caller
        self._timeout = timeout
        #: Read, and its answer not written yet.
        self._unanswered = 0
        self._response = api_pb2.CommitStreamResponse()
        self._progress = asyncio.Event()
        self._room = asyncio.Event()

    async def run(self, requests: AsyncIterator[api_pb2.CommitStreamRequest], write: Write) -> None:
        """Serve the stream until the client ends it and everything is answered."""
        reading = asyncio.create_task(self._read(requests))
        reading.add_done_callback(self._ended)
        try:
            while not reading.done() or self._unanswered:
                await self._progress.wait()
                self._progress.clear()
                if self._response.items:
                    response, self._response = self._response, api_pb2.CommitStreamResponse()
                    await write(response)
                    self._unanswered -= len(response.items)
                    self._room.set()
            await reading
        finally:
            reading.cancel()

    async def _read(self, requests: AsyncIterator[api_pb2.CommitStreamRequest]) -> None:
        async for request in requests:
            for start in range(0, len(request.items), _SLICE):
                if start:
                    await asyncio.sleep(0)
                for item in request.items[start : start + _SLICE]:
                    self._submit(item)
                while self._unanswered > MAX_UNANSWERED:
                    self._room.clear()
                    await self._room.wait()

    def _ended(self, reading: asyncio.Task[None]) -> None:
        """Nothing more comes. What went wrong is for `run` to raise, unless the call is over already:
        then it is nobody's concern, and must not look like an error that was overlooked."""
        if not reading.cancelled():
            reading.exception()
        self._progress.set()

    def _submit(self, item: api_pb2.CommitStreamRequest.Item) -> None:
        self._unanswered += 1
        on_done = partial(self._answer, item.tag)
        self._committer.submit(item.commit, self._caller, timeout=self._timeout, on_done=on_done)

    def _answer(self, tag: int, result: Committed | H9sError) -> None:
        answer = self._response.items.add()
        answer.tag = tag
        if isinstance(result, H9sError):
            answer.error.CopyFrom(detail_of(result))
        else:
            result.write_to(answer.response)
        self._progress.set()
