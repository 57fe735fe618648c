"""What every served call has around it: who is calling, errors to statuses, time and count.

A decorator instead of a gRPC interceptor: that costs a fifth of the time, and the handlers get the
caller's identity as an argument.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Protocol, TypeVar

import grpc.aio

from h9s.apiserver import instruments
from h9s.apiserver.error_mapping import abort, as_ours
from h9s.clock import Clock
from h9s.errors import H9sError
from h9s.pki import Identity

ServicerContext = grpc.aio.ServicerContext[Any, Any]


class Authenticates(Protocol):
    """Tells who is calling."""

    def identify(self, context: ServicerContext) -> Identity:
        """Raises UnauthenticatedError."""
        ...


class Service:
    """What the decorated handlers need from the service they belong to."""

    def __init__(self, *, authenticator: Authenticates, clock: Clock, request_timeout: float) -> None:
        self.authenticator = authenticator
        self.clock = clock
        #: Seconds; for calls that come without a deadline.
        self.request_timeout = request_timeout

    def timeout(self, context: ServicerContext) -> float:
        """How many seconds the call may take."""
        remaining = context.time_remaining()
        return self.request_timeout if remaining is None else remaining


S = TypeVar("S", bound=Service)
Request = TypeVar("Request")
Response = TypeVar("Response")

_Handler = Callable[[S, Request, Identity, ServicerContext], Awaitable[Response]]
_Served = Callable[Concatenate[S, ...], Awaitable[Response]]


def served(handler: _Handler[S, Request, Response]) -> _Served[S, Response]:
    """A gRPC method from a coroutine `(self, request, caller, context)` that raises our errors.

    Streaming answers are written with `context.write`; a streamed request is an iterator.
    """
    method = handler.__name__
    observe_ok = instruments.REQUEST_SECONDS.labels(method, "OK").observe

    @functools.wraps(handler)
    async def call(self: S, request: Request, context: ServicerContext) -> Response:
        clock = self.clock
        start = clock.monotonic()
        try:
            response = await handler(self, request, self.authenticator.identify(context), context)
        except Exception as error:  # noqa: BLE001  every failure of a call is told to its caller
            failure = as_ours(error, doing=method)
        else:
            observe_ok(clock.monotonic() - start)
            return response
        _observe_failure(method, failure, clock.monotonic() - start)
        return await abort(context, failure)

    return call


def _observe_failure(method: str, failure: H9sError, seconds: float) -> None:
    instruments.REQUEST_SECONDS.labels(method, failure.grpc_code).observe(seconds)
