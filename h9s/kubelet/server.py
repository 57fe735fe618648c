"""The howbelet's own server: logs and commands of its containers, for apiservers and administrators.

It says what this node has. Which node a pod is on, and who may ask, is for the apiserver to know; here
a caller only has to be a replica or an administrator of the same cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, NoReturn

import grpc
import grpc.aio

from h9s._pb import api_pb2, api_pb2_grpc, core_pb2
from h9s.client.error_detail import TRAILER
from h9s.client.grpc_transport import SERVER_OPTIONS
from h9s.clock import Clock
from h9s.config import ClientConfig
from h9s.errors import (
    ForbiddenError,
    H9sError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
    UsageError,
)
from h9s.kubelet.desired_pods import DesiredPods
from h9s.kubelet.observed import ObservedContainer, State
from h9s.kubelet.runtime import ExecOptions, ExecOutput, ExecSession, LogOptions, Runtime
from h9s.pki import ROLE_ADMIN, ROLE_REPLICA, Identity

logger = logging.getLogger(__name__)

#: How long calls under way get when the server stops.
_STOP_GRACE_SECONDS = 0.2

_Context = grpc.aio.ServicerContext[Any, Any]


class PodsServer(api_pb2_grpc.PodsServicer):
    """The Pods service over one runtime."""

    def __init__(self, desired: DesiredPods, runtime: Runtime, *, clock: Clock, is_secure: bool) -> None:
        """`is_secure`: the port has TLS, and callers have to show who they are."""
        self._desired = desired
        self._runtime = runtime
        self._clock = clock
        self._is_secure = is_secure

    async def Logs(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self, request: api_pb2.LogsRequest, context: _Context
    ) -> None:
        """What a container has written, this run or the one before."""
        try:
            self._authorize(context)
            container = await self._container_with_output(request)
            async with aclosing(self._runtime.logs(container.id, self._options(request))) as pieces:
                async for piece in pieces:
                    await context.write(api_pb2.LogsResponse(data=piece))
        except H9sError as error:
            await _abort(context, error)

    async def Exec(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self, requests: AsyncIterator[api_pb2.ExecRequest], context: _Context
    ) -> None:
        """Run a command in a container. A caller that leaves takes the input away, and more if the
        runtime can."""
        try:
            self._authorize(context)
            first = await anext(aiter(requests), None)
            if first is None or not first.start.command:
                raise InvalidError("the first message of an exec must have start, with a command")
            session = await self._start(first.start)
        except H9sError as error:
            await _abort(context, error)
        try:
            await _converse(session, requests, context)
        except H9sError as error:
            await _abort(context, error)
        finally:
            await session.close()

    async def _start(self, start: api_pb2.ExecRequest.Start) -> ExecSession:
        runs = await self._runs(start.namespace, start.pod, start.container)
        running = [run for run in runs if run.state is State.RUNNING]
        if not running:
            raise InvalidError(f"no container {start.container!r} of pod {start.pod!r} runs on this node")
        options = ExecOptions(
            command=list(start.command),
            stdin=start.stdin,
            tty=start.tty,
            columns=start.size.columns,
            rows=start.size.rows,
        )
        return await self._runtime.exec(running[-1].id, options)

    def _options(self, request: api_pb2.LogsRequest) -> LogOptions:
        since = self._clock.wall() - request.since_seconds if request.HasField("since_seconds") else None
        return LogOptions(
            follow=request.follow and not request.previous,
            timestamps=request.timestamps,
            tail_lines=max(request.tail_lines, 0) if request.HasField("tail_lines") else None,
            since=since,
        )

    async def _container_with_output(self, request: api_pb2.LogsRequest) -> ObservedContainer:
        runs = await self._runs(request.namespace, request.pod, request.container)
        started = [run for run in runs if run.state is not State.CREATED]
        wanted = started[:-1] if request.previous else started
        if not wanted:
            which = "previous run" if request.previous else "run"
            raise InvalidError(
                f"container {request.container!r} of pod {request.pod!r} has no {which} on this node"
            )
        return wanted[-1]

    async def _runs(self, namespace: str, name: str, container: str) -> list[ObservedContainer]:
        """Every run of a container that is left, the oldest first. Raises NotFoundError, InvalidError."""
        pod = self._desired.find(namespace, name)
        if pod is None:
            raise NotFoundError(f"pod {namespace}/{name} is not on this node")
        wanted = _choose(pod, container)
        observed = await self._runtime.observe(pod.metadata.uid)
        runs = [run for run in observed.containers if run.name == wanted]
        return sorted(runs, key=lambda run: run.attempt)

    def _authorize(self, context: _Context) -> None:
        if not self._is_secure:
            return
        for certificate in context.auth_context().get("x509_pem_cert", ()):
            caller = Identity.of_certificate(certificate)
            if caller.role in (ROLE_REPLICA, ROLE_ADMIN):
                return
            raise ForbiddenError(f"{caller.role} {caller.name} may not reach into containers")
        raise UnauthenticatedError("the call came without a client certificate")


async def _converse(
    session: ExecSession, requests: AsyncIterator[api_pb2.ExecRequest], context: _Context
) -> None:
    """Input one way, output the other, until the command ends."""
    feeding = asyncio.create_task(_feed(session, requests))
    try:
        async with aclosing(session.output()) as pieces:
            async for piece in pieces:
                await context.write(_response(piece))
        await context.write(api_pb2.ExecResponse(exit_code=await session.exit_code()))
    finally:
        feeding.cancel()
        await asyncio.wait([feeding])
    if not feeding.cancelled() and feeding.exception() is not None:
        raise feeding.exception()  # type: ignore[misc]


async def _feed(session: ExecSession, requests: AsyncIterator[api_pb2.ExecRequest]) -> None:
    async for request in requests:
        match request.WhichOneof("message"):
            case "stdin":
                await session.write(request.stdin)
            case "stdin_eof":
                await session.close_stdin()
            case "resize":
                await session.resize(request.resize.columns, request.resize.rows)


def _response(piece: ExecOutput) -> api_pb2.ExecResponse:
    return (
        api_pb2.ExecResponse(stderr=piece.data)
        if piece.is_stderr
        else api_pb2.ExecResponse(stdout=piece.data)
    )


def _choose(pod: core_pb2.Pod, container: str) -> str:
    names = [one.name for one in pod.spec.containers]
    if container not in names and (container or len(names) != 1):
        raise InvalidError(
            f"pod {pod.metadata.name!r} has no container {container!r}; it has: {', '.join(names)}"
        )
    return container or names[0]


async def _abort(context: _Context, error: H9sError) -> NoReturn:
    detail = api_pb2.ErrorDetail(reason=error.reason, message=error.message)
    code = grpc.StatusCode[error.grpc_code]
    await context.abort(code, error.message, ((TRAILER, detail.SerializeToString()),))
    raise AssertionError("abort returned")


async def serve(service: PodsServer, *, address: str, config: ClientConfig) -> grpc.aio.Server:
    """Start serving on "host:port" with the node's certificate; stop it with `stop`. Raises UsageError
    if it cannot listen there."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    api_pb2_grpc.add_PodsServicer_to_server(service, server)
    try:
        if config.ca:
            credentials = grpc.ssl_server_credentials(
                [(config.key, config.certificate)], root_certificates=config.ca, require_client_auth=True
            )
            server.add_secure_port(address, credentials)
        else:
            server.add_insecure_port(address)
    except RuntimeError as error:
        raise UsageError(f"cannot serve logs and exec on {address}: {error}") from error
    await server.start()
    return server


async def stop(server: grpc.aio.Server) -> None:
    """End what is under way soon, and stop serving."""
    await server.stop(_STOP_GRACE_SECONDS)
