"""Connections between replicas: length-prefixed messages over mutually authenticated TLS.

One connection a pair, dialled by the replica whose id sorts first, or by the other if that does not come
about. Who the other is says its certificate (subject CN, role `h9s:replica`), never its address; any replica
of the cluster is let in, whether it takes part is for consensus to judge. Implements `link_protocol.Links`.
Must not understand the messages.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import DecodeError

from h9s._pb import log_pb2
from h9s.errors import UsageError
from h9s.raft.link_protocol import LinkHandler
from h9s.raft.metrics import CONNECTIONS, RECEIVED_BYTES, SENT_BYTES
from h9s.raft.versions import FEATURE_LEVEL, PeerHello

PROTOCOL_VERSION = 1
REPLICA_ROLE = "h9s:replica"
SERVER_NAME = "h9s-apiserver"

_LENGTH = struct.Struct("<I")
_MAX_MESSAGE_BYTES = 16 << 20
#: A peer that takes nothing for so long that this much waits is treated as gone.
_MAX_WAITING_BYTES = 32 << 20
_CONNECT_TIMEOUT = 1.0
#: Unacknowledged for so long (milliseconds): the connection is dead.
_TCP_USER_TIMEOUT_MS = 2000
_RETRY_MIN, _RETRY_MAX = 0.02, 0.5
#: How long the replica whose id sorts last waits to be dialled before it dials itself, at least.
_SECOND_TURN = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the cluster's CA, this replica's certificate and key."""

    ca: Path
    certificate: Path
    key: Path

    def context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        """A context that asks the other side for a certificate too."""
        context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_SERVER if purpose is ssl.Purpose.CLIENT_AUTH else ssl.PROTOCOL_TLS_CLIENT
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca)
        context.load_cert_chain(self.certificate, self.key)
        return context


class PeerLinks:
    """This replica's connections. `open` before handing it to a node, `close` at the end."""

    def __init__(
        self,
        *,
        cluster_id: str,
        replica_id: str,
        listen: str,
        tls: TlsFiles,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        api_address: str = "",
        peer_address: str = "",
        incarnation: int = 0,
        feature_level: int = FEATURE_LEVEL,
    ) -> None:
        """`api_address`, `peer_address`: where this replica is reached by others; not where it listens."""
        self.cluster_id = cluster_id
        self.replica_id = replica_id
        self.hello = PeerHello(feature_level, api_address, peer_address, incarnation)
        self.listen = listen
        self._peers: dict[str, tuple[str, ...]] = {}
        self._tls = tls
        self._loop = loop
        self._rng = rng
        self._handler: LinkHandler | None = None
        self._connections: dict[str, _Connection] = {}
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._closed = False

    async def open(self) -> None:
        """Listen. Raises UsageError if the address cannot be had."""
        host, port = split_address(self.listen)
        context = self._tls.context(ssl.Purpose.CLIENT_AUTH)
        try:
            self._server = await self._loop.create_server(
                lambda: _Connection(self, expected=None), host, port, ssl=context
            )
        except OSError as error:
            raise UsageError(f"cannot listen for the other replicas on {self.listen}: {error}") from error

    def start(self, handler: LinkHandler) -> None:
        """See `Links.start`."""
        self._handler = handler
        self._dial_all()

    def set_peers(self, addresses: Mapping[str, Sequence[str]]) -> None:
        """See `Links.set_peers`. A connection stays until it breaks, wherever it leads."""
        self._peers = {name: tuple(places) for name, places in sorted(addresses.items()) if places}
        if self._handler is not None and not self._closed:
            self._dial_all()

    def _dial_all(self) -> None:
        for name in self._peers:
            if name not in self._dialling or self._dialling[name].done():
                self._dialling[name] = self._loop.create_task(self._dial(name))

    def send(self, replica_id: str, data: bytes) -> bool:
        """See `Links.send`."""
        connection = self._connections.get(replica_id)
        return connection is not None and connection.send(data)

    async def close(self) -> None:
        """Break all connections and listen no more."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for task in self._dialling.values():
            task.cancel()
        await asyncio.gather(*self._dialling.values(), return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.abort("this replica is shutting down")

    # --- connections -------------------------------------------------------------------------

    async def _dial(self, name: str) -> None:
        """Keep a connection to the peer, for as long as it is one."""
        context = self._tls.context(ssl.Purpose.SERVER_AUTH)
        wait, attempt = _RETRY_MIN, 0
        await self._until_it_is_our_turn(name)
        while places := self._peers.get(name):
            address = places[attempt % len(places)]
            host, port = split_address(address)
            connection = _Connection(self, expected=name)
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT):
                    await self._loop.create_connection(
                        lambda connection=connection: connection,  # type: ignore[misc]
                        host,
                        port,
                        ssl=context,
                        server_hostname=SERVER_NAME,
                    )
                await connection.lost
                if connection.was_established:
                    wait, attempt = _RETRY_MIN, attempt - 1
            except (OSError, TimeoutError) as error:
                log.debug("replica %s at %s cannot be reached: %s", name, address, error)
            if self._peers.get(name) != places:
                wait, attempt = _RETRY_MIN, -1
            await asyncio.sleep(wait * self._rng.uniform(0.5, 1.0))
            wait, attempt = min(2 * wait, _RETRY_MAX), attempt + 1
            await self._until_it_is_our_turn(name)

    async def _until_it_is_our_turn(self, name: str) -> None:
        """One connection a pair is enough. The replica whose id sorts first dials at once; the other only
        if that has not happened for a while: the first may not know of it, or not where it is."""
        while name in self._connections:
            await self._connections[name].lost
        if self.replica_id > name:
            await asyncio.sleep(_SECOND_TURN * self._rng.uniform(1.0, 2.0))
            while name in self._connections:
                await self._connections[name].lost

    def established(self, connection: _Connection, name: str, hello: PeerHello) -> str:
        """The other side has said and proven who it is; why it does not belong here, or empty."""
        if self._closed or self._handler is None:
            return "this replica is not ready"
        objection = self._handler.link_objection(name, hello)
        if objection:
            return objection
        previous = self._connections.get(name)
        if previous is not None:
            previous.abort("a newer connection took its place")
        self._connections[name] = connection
        CONNECTIONS.labels(name).inc()
        log.info("connected with replica %s", name)
        self._handler.link_connected(name, hello)
        return ""

    def received(self, name: str, data: bytes) -> None:
        """A whole message."""
        if self._handler is not None and not self._closed:
            self._handler.link_received(name, data)

    def lost(self, connection: _Connection, name: str) -> None:
        """An established connection is gone."""
        if self._connections.get(name) is connection:
            del self._connections[name]
            log.info("lost the connection with replica %s", name)
            if self._handler is not None and not self._closed:
                self._handler.link_disconnected(name)


class _Connection(asyncio.Protocol):
    """One TLS connection: a Hello from each side, then messages."""

    def __init__(self, links: PeerLinks, *, expected: str | None) -> None:
        self._links = links
        self._expected = expected
        self._name = ""
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._sent, self._received = SENT_BYTES.labels("?"), RECEIVED_BYTES.labels("?")
        self.was_established = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def send(self, data: bytes) -> bool:
        """Write one message; False if the connection is closing or the peer has long taken nothing."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() > _MAX_WAITING_BYTES:
            self.abort("it takes nothing")
            return False
        transport.write(_LENGTH.pack(len(data)) + data)
        self._sent.inc(len(data))
        return True

    def abort(self, reason: str) -> None:
        """Break the connection at once."""
        if self._transport is not None and not self._transport.is_closing():
            log.info("dropping the connection with replica %s: %s", self._name or "?", reason)
            self._transport.abort()
        self._gone()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake is done. See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _TCP_USER_TIMEOUT_MS)
        hello = log_pb2.Hello(
            cluster_id=self._links.cluster_id,
            replica_id=self._links.replica_id,
            protocol_version=PROTOCOL_VERSION,
            **self._links.hello._asdict(),
        )
        self.send(log_pb2.PeerMessage(hello=hello).SerializeToString())

    def data_received(self, data: bytes) -> None:
        """Cut the stream into messages. See `asyncio.Protocol`."""
        buffer = self._buffer
        buffer += data
        offset = 0
        while len(buffer) - offset >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, offset)
            if length > _MAX_MESSAGE_BYTES:
                self.abort(f"a message of {length} bytes is too long")
                return
            end = offset + _LENGTH.size + length
            if end > len(buffer):
                break
            message = bytes(memoryview(buffer)[offset + _LENGTH.size : end])
            offset = end
            if not self._take(message):
                return
        del buffer[:offset]

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """See `asyncio.Protocol`."""
        self._gone()

    def _take(self, message: bytes) -> bool:
        if self._name:
            self._received.inc(len(message))
            self._links.received(self._name, message)
            return True
        problem = self._introduce(message)
        if problem:
            log.warning("refusing a replica's connection: %s", problem)
            self.abort(problem)
        return not problem

    def _introduce(self, message: bytes) -> str:
        """Compare what the other side says with what its certificate proves; why not, or empty."""
        try:
            hello = log_pb2.PeerMessage.FromString(message).hello
        except DecodeError as error:
            return f"it does not speak our protocol: {error}"
        assert self._transport is not None
        name, role = subject_of(self._transport.get_extra_info("peercert"))
        if role != REPLICA_ROLE or name != hello.replica_id:
            return f"it calls itself {hello.replica_id!r}, its certificate says {name!r} ({role!r})"
        if hello.cluster_id != self._links.cluster_id:
            return f"it belongs to the cluster {hello.cluster_id!r}, not to {self._links.cluster_id!r}"
        if hello.protocol_version != PROTOCOL_VERSION:
            return f"it speaks version {hello.protocol_version} of the protocol, not {PROTOCOL_VERSION}"
        try:
            split_address(hello.peer_address or self._links.listen)
        except UsageError as error:
            return f"the address that it announces is none: {error}"
        if self._expected is not None and name != self._expected:
            return f"at the address of {self._expected} there is {name}"
        self._name = name
        self._sent, self._received = SENT_BYTES.labels(name), RECEIVED_BYTES.labels(name)
        said = PeerHello(
            max(1, hello.feature_level), hello.api_address, hello.peer_address, hello.incarnation
        )
        objection = self._links.established(self, name, said)
        if objection:
            self._name = ""
        self.was_established = not objection
        return objection

    def _gone(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        if self._name:
            name, self._name = self._name, ""
            self._links.lost(self, name)


def subject_of(certificate: Mapping[str, Any] | None) -> tuple[str, str]:
    """Common name and organization of `SSLSocket.getpeercert()`'s answer; empty where missing."""
    fields = {key: value for part in (certificate or {}).get("subject", ()) for key, value in part}
    return fields.get("commonName", ""), fields.get("organizationName", "")


def split_address(address: str) -> tuple[str, int]:
    """ "host:port" or "[v6]:port" in its parts. Raises UsageError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"expected an address such as 10.0.0.1:7401, got {address!r}")
    return host.strip("[]"), int(port)
