"""Three real gRPC servers with mutual TLS on loopback, each behind a wire that can be cut or frozen.

What they serve is a `FakeApi`: its faults (who leads, lost answers) are there too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from h9s import pki
from h9s._pb import api_pb2, api_pb2_grpc, cluster_pb2_grpc
from h9s.client import BatchingClient, Client
from h9s.client import transport as methods
from h9s.client.error_detail import TRAILER
from h9s.client.grpc_transport import SERVER_OPTIONS
from h9s.client.retry import DEFAULT_POLICY, RetryPolicy
from h9s.client.transport import Method
from h9s.clock import SystemClock
from h9s.config import ClientConfig
from h9s.errors import H9sError, NotLeaderError
from h9s.testing.fake_api import FakeApi

CA = pki.create_ca("test")
SERVER = pki.issue(
    CA, common_name="r1", organization=pki.ROLE_REPLICA, dns_names=[pki.APISERVER_NAME], server=True
)
CLIENT = pki.issue(CA, common_name="me", organization=pki.ROLE_ADMIN)


def detail_of(error: H9sError) -> api_pb2.ErrorDetail:
    detail = api_pb2.ErrorDetail(reason=error.reason, message=error.message, operation=error.operation)
    if isinstance(error, NotLeaderError):
        detail.leader_address = error.leader_address
    return detail


class Servicer:
    """Passes every call on to the FakeApi, under this server's address."""

    def __init__(self, api: FakeApi, address: str) -> None:
        self.api = api
        self.address = address

    def __getattr__(self, name: str) -> Any:
        method: Method[Any, Any] = next(
            value for value in vars(methods).values() if isinstance(value, Method) and value.name == name
        )

        async def unary(request: Any, context: Any) -> Any:
            try:
                return await self.api.unary(self.address, method, request, timeout=60.0)
            except H9sError as error:
                await abort(context, error)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in self.api.stream(self.address, method, request):
                    yield response
            except H9sError as error:
                await abort(context, error)

        async def logs(request: Any, context: Any) -> AsyncIterator[Any]:
            for line in (b"one\n", b"two\n"):
                yield api_pb2.LogsResponse(data=request.pod.encode() + b": " + line)

        async def execute(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for request in requests:
                if request.HasField("start"):
                    yield api_pb2.ExecResponse(stdout=" ".join(request.start.command).encode())
                elif request.HasField("stdin"):
                    yield api_pb2.ExecResponse(stdout=request.stdin)
                else:
                    break
            yield api_pb2.ExecResponse(exit_code=3)

        async def duplex(requests: Any, context: Any) -> AsyncIterator[Any]:
            async for request in requests:
                answer = api_pb2.CommitStreamResponse()
                for item in request.items:
                    try:
                        self.api.requests.append((self.address, name))
                        response = self.api.commit(self.address, item.commit)
                        answer.items.add(tag=item.tag, response=response)
                    except H9sError as error:
                        answer.items.add(tag=item.tag, error=detail_of(error))
                yield answer

        special = {"Watch": stream, "Logs": logs, "Exec": execute, "CommitStream": duplex}
        return special.get(name, unary)


async def abort(context: Any, error: H9sError) -> None:
    trailer = ((TRAILER, detail_of(error).SerializeToString()),)
    await context.abort(grpc.StatusCode[error.grpc_code], error.message, trailer)


class Wire:
    """A TCP proxy to one server: can be cut (refuses) or frozen (takes everything, passes on nothing)."""

    def __init__(self) -> None:
        self.port = 0
        self.target_port = 0
        self.frozen = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()
        self.thaw()

    def freeze(self) -> None:
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    async def close(self) -> None:
        self.cut()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pump = asyncio.get_running_loop().create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
        self._writers.discard(sink)


class Cluster:
    """The servers and their wires. Addresses are the wires'."""

    def __init__(self) -> None:
        self.wires = [Wire() for _ in range(3)]
        self.servers: dict[str, grpc.aio.Server] = {}
        self.api = FakeApi()

    async def __aenter__(self) -> Cluster:
        for wire in self.wires:
            await wire.open()
        self.api = FakeApi(tuple(wire.address for wire in self.wires))
        for wire in self.wires:
            await self.start(wire)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers.values():
            await server.stop(0)
        for wire in self.wires:
            await wire.close()

    def wire(self, address: str) -> Wire:
        return next(wire for wire in self.wires if wire.address == address)

    async def start(self, wire: Wire, credential: pki.Credential = SERVER) -> None:
        server = grpc.aio.server(options=SERVER_OPTIONS)
        servicer: Any = Servicer(self.api, wire.address)
        api_pb2_grpc.add_ObjectsServicer_to_server(servicer, server)
        api_pb2_grpc.add_NodesServicer_to_server(servicer, server)
        api_pb2_grpc.add_PodsServicer_to_server(servicer, server)
        cluster_pb2_grpc.add_ClusterServicer_to_server(servicer, server)
        credentials = grpc.ssl_server_credentials(
            [(credential.key, credential.certificate)], CA.certificate, require_client_auth=True
        )
        wire.target_port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        self.servers[wire.address] = server

    async def restart(self, wire: Wire, credential: pki.Credential) -> None:
        await self.servers[wire.address].stop(0)
        await self.start(wire, credential)

    def config(self, credential: pki.Credential = CLIENT, ca: pki.Credential = CA) -> ClientConfig:
        return ClientConfig(
            servers=self.api.servers,
            ca=ca.certificate,
            certificate=credential.certificate,
            key=credential.key,
        )

    def client(
        self,
        cls: type[Client] = Client,
        *,
        config: ClientConfig | None = None,
        retry: RetryPolicy = DEFAULT_POLICY,
        seed: int = 1,
    ) -> Client:
        return cls(config or self.config(), clock=SystemClock(), rng=random.Random(seed), retry=retry)

    def batching_client(self, *, retry: RetryPolicy = DEFAULT_POLICY) -> BatchingClient:
        client = self.client(BatchingClient, retry=retry)
        assert isinstance(client, BatchingClient)
        return client
