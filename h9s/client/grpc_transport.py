"""gRPC as a `Transport`: channels with mutual TLS, tuned to notice a dead server quickly.

One channel per server, made when first needed. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Generic, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from h9s._pb import api_pb2
from h9s.client.error_detail import TRAILER, to_error
from h9s.client.transport import Duplex, Method, NotConnectedError, UntrustedServerError
from h9s.config import ClientConfig
from h9s.errors import (
    ForbiddenError,
    H9sError,
    InternalError,
    TimeoutExpiredError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)
from h9s.pki import APISERVER_NAME

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

#: The largest message, in bytes, in either direction.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

#: For every channel to a server of h9s.
CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    # The next attempt to connect comes soon after a server is back; one that hangs ends after a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 500),
    # A server that is stopped or cut off shows in little more than a second, on streams too.
    ("grpc.keepalive_time_ms", 500),
    ("grpc.keepalive_timeout_ms", 700),
    ("grpc.http2.max_pings_without_data", 0),
    # Retries are the caller's, who knows about request ids and other servers.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # Each client has connections of its own, and none through a proxy of the environment.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)

#: What a server of h9s needs so that it takes those pings for good manners.
SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
)

#: What gRPC says, under the code UNAVAILABLE, where there is no connection; and why not, where the
#: certificate did not pass.
_NO_CONNECTION = "failed to connect"
_NOT_TRUSTED = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed")
#: What it says of a write on a call whose connection has gone, under the code INTERNAL.
_BROKEN_CALL = "Internal error from Core"

_BY_CODE: dict[grpc.StatusCode, type[H9sError]] = {
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    # Not by us: the server went away in the middle.
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimeoutExpiredError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: TooLargeError,
    grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
}


#: Everything that a call raises; the last two for one that has ended already.
_CALL_ERRORS = (
    grpc.aio.AioRpcError,
    asyncio.CancelledError,
    grpc.aio.UsageError,
    asyncio.InvalidStateError,
)


def open_channel(server: str, config: ClientConfig, *, target_name: str = APISERVER_NAME) -> grpc.aio.Channel:
    """A channel to `server`, whose certificate has to carry the DNS name `target_name`.

    Without a certificate of our own but with a CA, only the server proves who it is.
    """
    if not config.ca:
        return grpc.aio.insecure_channel(server, options=CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=config.ca,
        private_key=config.key or None,
        certificate_chain=config.certificate or None,
    )
    options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", target_name))
    return grpc.aio.secure_channel(server, credentials, options=options)


def error_of_call(error: grpc.aio.AioRpcError, server: str) -> H9sError:
    """What the server raised, or what became of the connection to it."""
    for key, value in error.trailing_metadata() or ():
        if key == TRAILER and isinstance(value, bytes):
            return to_error(api_pb2.ErrorDetail.FromString(value))
    details = error.details() or error.code().name
    if details == _BROKEN_CALL:
        return UnavailableError(f"{server}: the connection broke")
    if error.code() is grpc.StatusCode.UNAVAILABLE and _NO_CONNECTION in details:
        reason = details.partition("last error: ")[2] or details
        if any(sign in details for sign in _NOT_TRUSTED):
            return UntrustedServerError(f"{server} is not a server of this cluster: {reason}")
        return NotConnectedError(f"{server}: {reason}")
    cls = _BY_CODE.get(error.code(), InternalError)
    return cls(f"{server}: {details}")


class GrpcTransport:
    """See `Transport`. Belongs to one event loop."""

    def __init__(self, config: ClientConfig, *, target_name: str = APISERVER_NAME) -> None:
        self._config = config
        self._target_name = target_name
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._callables: dict[tuple[str, str], Any] = {}
        self._closed = False

    async def unary(self, server: str, method: Method[Q, R], request: Q, *, timeout: float) -> R:
        """See `Transport.unary`."""
        try:
            return cast(R, await self._callable(server, method, "unary_unary")(request, timeout=timeout))
        except _CALL_ERRORS as error:
            raise _translate(error, server) from error

    async def stream(self, server: str, method: Method[Q, R], request: Q) -> AsyncGenerator[R, None]:
        """See `Transport.stream`."""
        call: grpc.aio.UnaryStreamCall[Q, R] = self._callable(server, method, "unary_stream")(request)
        try:
            async for response in call:
                yield response
        except _CALL_ERRORS as error:
            raise _translate(error, server) from error
        finally:
            call.cancel()

    def duplex(self, server: str, method: Method[Q, R]) -> Duplex[Q, R]:
        """See `Transport.duplex`."""
        return _GrpcDuplex(self._callable(server, method, "stream_stream")(), server)

    async def close(self) -> None:
        """See `Transport.close`."""
        self._closed = True
        channels, self._channels = self._channels, {}
        self._callables.clear()
        for channel in channels.values():
            await channel.close()

    def _callable(self, server: str, method: Method[Q, R], shape: str) -> Any:
        found = self._callables.get((server, method.path))
        if found is None:
            if self._closed:
                raise UnavailableError("this client is closed")
            if server not in self._channels:
                self._channels[server] = open_channel(server, self._config, target_name=self._target_name)
            found = getattr(self._channels[server], shape)(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            self._callables[server, method.path] = found
        return found


class _GrpcDuplex(Generic[Q, R]):
    """See `Duplex`."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Q, R], server: str) -> None:
        self._call = call
        self._server = server

    async def write(self, request: Q) -> None:
        try:
            await self._call.write(request)
        except _CALL_ERRORS as error:
            raise _translate(error, self._server) from error

    async def done_writing(self) -> None:
        try:
            await self._call.done_writing()
        except _CALL_ERRORS as error:
            raise _translate(error, self._server) from error

    async def read(self) -> R | None:
        try:
            response = await self._call.read()
        except _CALL_ERRORS as error:
            raise _translate(error, self._server) from error
        return None if response is grpc.aio.EOF else cast(R, response)

    def cancel(self) -> None:
        self._call.cancel()


def _translate(error: BaseException, server: str) -> BaseException:
    if isinstance(error, grpc.aio.AioRpcError):
        return error_of_call(error, server)
    if isinstance(error, asyncio.CancelledError):
        # gRPC raises this too when the call was cancelled (its channel closed) and not the task.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return error
        return UnavailableError(f"{server}: the call was cancelled")
    return UnavailableError(f"{server}: the call has ended: {error}")
