"""A cluster of apiservers in memory, as a `Transport`: for unit tests of clients, with faults to order.

All servers share one `FakeObjects`. Calls take a little virtual time. Runs on any event loop.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from typing import Any, Generic, TypeVar, cast

from google.protobuf.message import Message

from h9s._pb import api_pb2, cluster_pb2
from h9s.client import transport as methods
from h9s.client.transport import Duplex, Method, NotConnectedError
from h9s.errors import (
    FieldFault,
    FutureRevisionError,
    H9sError,
    InvalidError,
    NotLeaderError,
    RequestExpiredError,
    TimeoutExpiredError,
    UnavailableError,
)
from h9s.testing.fake_objects import FakeObjects

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

#: How long, in seconds, an answer takes, and how often a quiet watch is sent a bookmark.
LATENCY = 0.001
BOOKMARK_INTERVAL = 1.0


class FakeApi:
    """The servers and what is wrong with them. Tests change the attributes as they go."""

    def __init__(self, servers: tuple[str, ...] = ("a:1", "b:1", "c:1")) -> None:
        self.servers = servers
        self.objects = FakeObjects()
        #: Who leads, and whom followers name; "" is nobody.
        self.leader = servers[0]
        #: Servers that refuse connections; whose answers never come; that lag at a revision.
        self.down: set[str] = set()
        self.hanging: set[str] = set()
        self.lagging: dict[str, int] = {}
        #: So many next commits are executed without the client hearing of it.
        self.lost_answers = 0
        #: Called before every request is served; may raise an H9sError.
        self.intercept: Callable[[str, str, Message], None] | None = None
        #: (server, method) of every request that reached a server.
        self.requests: list[tuple[str, str]] = []
        self.heartbeats: list[str] = []
        #: The servers' clock, milliseconds since 1970; ids more than 10 minutes off are refused. 0: all pass.
        self.time_ms = 0
        self._generation: defaultdict[str, int] = defaultdict(int)
        self._news = asyncio.Event()

    def kill(self, server: str) -> None:
        """Break all its connections and refuse new ones."""
        self.down.add(server)
        self.break_connections(server)

    def hang(self, server: str) -> None:
        """Take requests but answer nothing, as a stopped process does."""
        self.hanging.add(server)

    def restart(self, server: str) -> None:
        """Take connections, and answer, again."""
        self.down.discard(server)
        self.hanging.discard(server)
        self.notify()

    def break_connections(self, server: str) -> None:
        """Connections under way end; new ones are taken."""
        self._generation[server] += 1
        self.notify()

    def notify(self) -> None:
        """Wake the watches: something has changed."""
        self._news.set()
        self._news = asyncio.Event()

    # -- Transport

    async def unary(self, server: str, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `Transport.unary`."""
        try:
            async with asyncio.timeout(timeout):
                generation = await self.reach(server)
                answer = self._serve(server, method, request)
                await asyncio.sleep(LATENCY)
                self.still_connected(server, generation)
                if method is methods.COMMIT and self.lost_answers:
                    self.lost_answers -= 1
                    raise UnavailableError(f"{server}: connection reset")
                return cast(R, answer)
        except TimeoutError:
            raise TimeoutExpiredError(f"{server}: no answer in {timeout} s") from None

    async def stream(self, server: str, method: Method[Q, R], request: Q) -> AsyncGenerator[R, None]:
        """See `Transport.stream`; watches only."""
        if not isinstance(request, api_pb2.WatchRequest):
            raise InvalidError(f"{method.name} is not there", faults=[FieldFault("method", method.name)])
        generation = await self.reach(server)
        self.note(server, method, request)
        position = request.after_revision if request.HasField("after_revision") else self.objects.revision
        while True:
            await self._not_hanging(server)
            self.still_connected(server, generation)
            visible = self.lagging.get(server, self.objects.revision)
            if position > visible:
                raise FutureRevisionError(f"{server} is at revision {visible}")
            for response in self.objects.changes(request, position):
                if response.revision <= visible:
                    yield cast(R, response)
            position = visible
            yield cast(R, api_pb2.WatchResponse(revision=position))
            await self._wait_for_news()

    def duplex(self, server: str, method: Method[Q, R]) -> Duplex[Q, R]:
        """See `Transport.duplex`; commit streams only."""
        return _FakeCommitStream(self, server, method)

    async def close(self) -> None:
        """See `Transport.close`."""

    # -- the servers

    async def reach(self, server: str) -> int:
        """Connect; gives the connection's generation."""
        if server in self.down:
            raise NotConnectedError(f"{server}: connection refused")
        generation = self._generation[server]
        await self._not_hanging(server)
        await asyncio.sleep(LATENCY)
        self.still_connected(server, generation)
        return generation

    async def _not_hanging(self, server: str) -> None:
        while server in self.hanging:
            await self.news()

    def still_connected(self, server: str, generation: int) -> None:
        """Raises UnavailableError if the connection has been broken since."""
        if server in self.down or self._generation[server] != generation:
            raise UnavailableError(f"{server}: connection reset")

    async def news(self) -> None:
        """Wait for the next `notify`."""
        await self._news.wait()

    async def _wait_for_news(self) -> None:
        try:
            async with asyncio.timeout(BOOKMARK_INTERVAL):
                await self.news()
        except TimeoutError:
            pass

    def note(self, server: str, method: Method[Any, Any], request: Message) -> None:
        """A request has reached a server."""
        self.requests.append((server, method.name))
        if self.intercept is not None:
            self.intercept(server, method.name, request)

    def _serve(self, server: str, method: Method[Any, Any], request: Message) -> Message:
        self.note(server, method, request)
        if isinstance(request, api_pb2.CommitRequest):
            return self.commit(server, request)
        if isinstance(request, api_pb2.GetRequest):
            return self.objects.get(request)
        if isinstance(request, api_pb2.ListRequest):
            return self.objects.list(request)
        if isinstance(request, api_pb2.HeartbeatRequest):
            self._must_lead(server)
            self.heartbeats.append(request.node_name)
            return api_pb2.HeartbeatResponse(grace_period_ms=5000, interval_ms=1000)
        if isinstance(request, cluster_pb2.ClusterStatusRequest):
            return cluster_pb2.ClusterStatusResponse(replica_id=server, leader_id=self.leader)
        raise InvalidError(f"{method.name} is not there")

    def commit(self, server: str, request: api_pb2.CommitRequest) -> api_pb2.CommitResponse:
        """Serve one Commit on `server`."""
        self._must_lead(server)
        age_ms = abs(self.time_ms - request.request_id.issued_at_ms)
        if self.time_ms and age_ms > 600_000:
            raise RequestExpiredError("the request id is too old", server_time_ms=self.time_ms)
        before = self.objects.revision
        try:
            return self.objects.commit(request)
        finally:
            if self.objects.revision != before:
                self.notify()

    def _must_lead(self, server: str) -> None:
        if server != self.leader:
            raise NotLeaderError(f"{server} does not lead", leader_address=self.leader)


class _FakeCommitStream(Generic[Q, R]):
    """A CommitStream to one server; each message is answered by one message, after a little while."""

    def __init__(self, api: FakeApi, server: str, method: Method[Q, R]) -> None:
        self._api = api
        self._server = server
        self._method = method
        self._generation: int | None = None
        self._answers: asyncio.Queue[api_pb2.CommitStreamResponse | None] = asyncio.Queue()
        self._cancelled = False

    async def write(self, request: Q) -> None:
        assert isinstance(request, api_pb2.CommitStreamRequest)
        await self._connect()
        await asyncio.sleep(LATENCY)
        answer = api_pb2.CommitStreamResponse()
        for item in request.items:
            self._answer(item, answer.items.add(tag=item.tag))
        if self._api.lost_answers:
            self._api.lost_answers -= 1
            self._api.break_connections(self._server)
        self._answers.put_nowait(answer)

    async def done_writing(self) -> None:
        self._answers.put_nowait(None)

    async def read(self) -> R | None:
        await self._connect()
        while True:
            try:
                async with asyncio.timeout(LATENCY * 10):
                    answer = await self._answers.get()
            except TimeoutError:
                answer = None
            await self._or_cancelled()
            assert self._generation is not None
            self._api.still_connected(self._server, self._generation)
            if answer is not None:
                return cast(R, answer)

    def cancel(self) -> None:
        self._cancelled = True
        self._api.notify()

    async def _connect(self) -> None:
        if self._generation is None:
            await self._or_cancelled()
            self._generation = await self._api.reach(self._server)

    async def _or_cancelled(self) -> None:
        while self._server in self._api.hanging and not self._cancelled:
            await self._api.news()
        if self._cancelled:
            raise UnavailableError(f"{self._server}: the call was cancelled")

    def _answer(
        self, item: api_pb2.CommitStreamRequest.Item, answer: api_pb2.CommitStreamResponse.Item
    ) -> None:
        try:
            self._api.note(self._server, self._method, item)
            answer.response.CopyFrom(self._api.commit(self._server, item.commit))
        except H9sError as error:
            answer.error.reason, answer.error.message = error.reason, error.message
            if error.operation is not None:
                answer.error.operation = error.operation
            if isinstance(error, NotLeaderError):
                answer.error.leader_address = error.leader_address
            if isinstance(error, RequestExpiredError):
                answer.error.server_time_ms = error.server_time_ms
