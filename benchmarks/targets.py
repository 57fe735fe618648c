"""What the load is put on: h9s, etcd, or a server that only echoes, each behind the same few calls.

A writer is one connection. All speak gRPC from Python over the same TLS, so that the client's share
of a measurement is alike.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc

from benchmarks.etcd import messages as etcd
from benchmarks.etcd.members import open_etcd_channel
from h9s._pb import api_pb2, coordination_pb2
from h9s.api.objects import to_any
from h9s.client.batching import BatchingClient
from h9s.client.grpc_transport import GrpcTransport, open_channel
from h9s.client.request_ids import RequestIds
from h9s.client.transport import COMMIT, GET, WATCH
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig

NAMESPACE = "default"
ECHO_METHOD = "/h9s.benchmarks.Echo/Echo"
_TIMEOUT = 30.0


class Writer(ABC):
    """Writes objects under names that the caller gives."""

    @abstractmethod
    async def write(self, name: str) -> None:
        """Write one object; returns when that is acknowledged."""

    @abstractmethod
    async def read(self, name: str) -> None:
        """Read one object that was written, linearizably."""

    @abstractmethod
    async def close(self) -> None:
        """Break the connection."""


def make_lease(name: str, payload_bytes: int) -> coordination_pb2.Lease:
    """An object that is `payload_bytes` long when it is serialized."""
    lease = coordination_pb2.Lease()
    lease.metadata.name = name
    lease.metadata.namespace = NAMESPACE
    lease.spec.holder_identity = ""
    missing = payload_bytes - lease.ByteSize()
    # The field's own tags and lengths take a few bytes.
    lease.spec.holder_identity = "x" * max(0, missing - 3)
    return lease


def lease_key(name: str) -> api_pb2.ObjectKey:
    """The key of such an object; of the whole collection without a name."""
    return api_pb2.ObjectKey(group="coordination.k8s.io", kind="Lease", namespace=NAMESPACE, name=name)


def create_operation(name: str, payload_bytes: int) -> api_pb2.Operation:
    """The creation of such an object."""
    return api_pb2.Operation(verb=api_pb2.Operation.CREATE, object=to_any(make_lease(name, payload_bytes)))


class H9sWriter(Writer):
    """One unary Commit of one operation per write, straight to one replica."""

    def __init__(self, config: ClientConfig, address: str, payload_bytes: int) -> None:
        self._transport = GrpcTransport(config)
        self._address = address
        self._payload_bytes = payload_bytes
        self._ids = RequestIds(clock=SystemClock(), rng=system_random())

    async def write(self, name: str) -> None:
        """See `Writer.write`."""
        request = api_pb2.CommitRequest(
            request_id=self._ids.new(), operations=[create_operation(name, self._payload_bytes)]
        )
        await self._transport.unary(self._address, COMMIT, request, timeout=_TIMEOUT)

    async def read(self, name: str) -> None:
        """See `Writer.read`."""
        request = api_pb2.GetRequest(key=lease_key(name))
        await self._transport.unary(self._address, GET, request, timeout=_TIMEOUT)

    async def close(self) -> None:
        """See `Writer.close`."""
        await self._transport.close()


class H9sBatchingWriter(Writer):
    """The batching client, which puts all outstanding writes on one stream."""

    def __init__(self, config: ClientConfig, payload_bytes: int) -> None:
        self._client = BatchingClient(config, clock=SystemClock(), rng=system_random(), name="benchmark")
        self._payload_bytes = payload_bytes
        self._entered = False

    async def write(self, name: str) -> None:
        """See `Writer.write`."""
        if not self._entered:
            self._entered = True
            await self._client.__aenter__()
        await self._client.commit([create_operation(name, self._payload_bytes)])

    async def read(self, name: str) -> None:
        """See `Writer.read`."""
        await self._client.get(coordination_pb2.Lease, name, NAMESPACE)

    async def close(self) -> None:
        """See `Writer.close`."""
        await self._client.__aexit__(None, None, None)


class EtcdWriter(Writer):
    """One unary Put per write."""

    def __init__(self, config: ClientConfig, address: str, payload_bytes: int) -> None:
        pb = etcd.etcd_pb2()
        self._channel = open_etcd_channel(address, config)
        self._put = self._channel.unary_unary(
            etcd.PUT,
            request_serializer=pb.PutRequest.SerializeToString,
            response_deserializer=pb.PutResponse.FromString,
        )
        self._range = self._channel.unary_unary(
            etcd.RANGE,
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        self._request = pb.PutRequest
        self._range_request = pb.RangeRequest
        self._value = b"x" * payload_bytes

    async def write(self, name: str, *, timeout: float = _TIMEOUT) -> None:
        """See `Writer.write`. Raises grpc.aio.AioRpcError."""
        await self._put(self._request(key=name.encode(), value=self._value), timeout=timeout)

    async def read(self, name: str) -> None:
        """See `Writer.read`. Raises grpc.aio.AioRpcError, ValueError if there is no such key."""
        response = await self._range(self._range_request(key=name.encode()), timeout=_TIMEOUT)
        if not response.kvs:
            raise ValueError(f"etcd has no key {name}")

    async def close(self) -> None:
        """See `Writer.close`."""
        await self._channel.close()


class EchoWriter(Writer):
    """An empty unary call that does nothing."""

    def __init__(self, config: ClientConfig, address: str) -> None:
        self._channel = open_channel(address, config)
        self._call: Any = self._channel.unary_unary(ECHO_METHOD)

    async def write(self, name: str) -> None:
        """See `Writer.write`."""
        del name
        await self._call(b"", timeout=_TIMEOUT)

    async def read(self, name: str) -> None:
        """See `Writer.read`."""
        await self.write(name)

    async def close(self) -> None:
        """See `Writer.close`."""
        await self._channel.close()


def open_writer(target: str, config: ClientConfig, address: str, payload_bytes: int) -> Writer:
    """A writer for h9s, h9s-batching, etcd or echo."""
    match target:
        case "h9s":
            return H9sWriter(config, address, payload_bytes)
        case "h9s-batching":
            return H9sBatchingWriter(config, payload_bytes)
        case "etcd":
            return EtcdWriter(config, address, payload_bytes)
        case "echo":
            return EchoWriter(config, address)
    raise ValueError(f"unknown target {target!r}")


def update_operation(name: str, payload_bytes: int, *, holder: str) -> api_pb2.Operation:
    """A change of such an object, whatever it is like now; each holder makes another one."""
    lease = make_lease(name, payload_bytes)
    lease.spec.holder_identity = holder + lease.spec.holder_identity[len(holder) :]
    return api_pb2.Operation(verb=api_pb2.Operation.UPDATE, object=to_any(lease))


async def watched_names(target: str, config: ClientConfig, address: str) -> AsyncGenerator[str, None]:
    """The names of written objects as one replica tells them; the first item, "", means that it watches."""
    watch = _watch_h9s if target == "h9s" else _watch_etcd
    async with aclosing(watch(config, address)) as names:
        async for name in names:
            yield name


async def _watch_h9s(config: ClientConfig, address: str) -> AsyncGenerator[str, None]:
    transport = GrpcTransport(config)
    key = lease_key("")
    try:
        # The first bookmark says that the watch stands.
        watching = False
        async for response in transport.stream(address, WATCH, api_pb2.WatchRequest(key=key)):
            if not watching:
                watching = True
                yield ""
            for event in response.events:
                lease = coordination_pb2.Lease()
                event.object.value.Unpack(lease)
                yield lease.metadata.name
    finally:
        await transport.close()


async def _watch_etcd(config: ClientConfig, address: str) -> AsyncGenerator[str, None]:
    pb = etcd.etcd_pb2()
    async with open_etcd_channel(address, config) as channel:
        call: Any = channel.stream_stream(
            etcd.WATCH,
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )()
        create = pb.WatchCreateRequest(key=b"\0", range_end=b"\0")
        await call.write(pb.WatchRequest(create_request=create))
        try:
            while (response := await call.read()) is not grpc.aio.EOF:
                if response.created:
                    yield ""
                for event in response.events:
                    yield event.kv.key.decode()
        finally:
            call.cancel()


async def close_all(writers: list[Writer]) -> None:
    """Close writers."""
    await asyncio.gather(*(writer.close() for writer in writers))
