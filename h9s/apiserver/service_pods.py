"""The Pods service: logs and exec, forwarded to the howbelet that runs the pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from h9s._pb import api_pb2, api_pb2_grpc, core_pb2
from h9s.api.keys import object_key
from h9s.apiserver import howbelets
from h9s.apiserver.authorization import authorize_pod_access
from h9s.apiserver.calls import Authenticates, Service, ServicerContext, served
from h9s.apiserver.lifecycle import NODE, POD
from h9s.apiserver.refusals import not_found
from h9s.client.error_detail import TRAILER
from h9s.client.grpc_transport import error_of_call
from h9s.clock import Clock
from h9s.errors import H9sError, InvalidError, UnavailableError
from h9s.pki import Identity
from h9s.store.protocol import Store, View


class PodsService(Service, api_pb2_grpc.PodsServicer):
    """Finds the howbelet and passes bytes on, both ways."""

    def __init__(
        self,
        store: Store,
        *,
        channels: howbelets.Channels,
        authenticator: Authenticates,
        clock: Clock,
        request_timeout: float,
    ) -> None:
        super().__init__(authenticator=authenticator, clock=clock, request_timeout=request_timeout)
        self._store = store
        self._channels = channels

    @served
    async def Logs(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self, request: api_pb2.LogsRequest, caller: Identity, context: ServicerContext
    ) -> None:
        """What a container has written. Raises InvalidError where it has not run yet."""
        authorize_pod_access(caller, "read the logs of")
        view = await self._view(context)
        pod = _pod(view, request.namespace, request.pod)
        container = howbelets.choose_container(pod, request.container)
        howbelets.require_started(pod, container)
        forwarded = api_pb2.LogsRequest()
        forwarded.CopyFrom(request)
        forwarded.container = container
        node = _node(view, pod)
        address = howbelets.address_of(node)
        call = api_pb2_grpc.PodsStub(self._channels.to(address)).Logs(forwarded)
        await _pass_on(call, context, node, address)

    @served
    async def Exec(  # type: ignore[override]  # grpc.aio also takes coroutines that write
        self, requests: AsyncIterator[api_pb2.ExecRequest], caller: Identity, context: ServicerContext
    ) -> None:
        """Run a command in a container. Raises InvalidError where it does not run."""
        authorize_pod_access(caller, "run commands in")
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("start"):
            raise InvalidError("the first message of an exec must have start")
        view = await self._view(context)
        pod = _pod(view, first.start.namespace, first.start.pod)
        first.start.container = howbelets.choose_container(pod, first.start.container)
        howbelets.require_running(pod, first.start.container)
        node = _node(view, pod)
        address = howbelets.address_of(node)
        outgoing = _with_first(first, requests)
        call = api_pb2_grpc.PodsStub(self._channels.to(address)).Exec(outgoing)
        await _pass_on(call, context, node, address)

    async def _view(self, context: ServicerContext) -> View:
        await self._store.read_barrier(timeout=min(self.request_timeout, self.timeout(context)))
        return self._store.view()


async def _pass_on(call: Any, context: ServicerContext, node: core_pb2.Node, address: str) -> None:
    """Everything the howbelet answers, and its errors as they are."""
    try:
        async for response in call:
            await context.write(response)
    except grpc.aio.AioRpcError as error:
        raise _forwarded_error(error, node, address) from error
    finally:
        call.cancel()


def _forwarded_error(error: grpc.aio.AioRpcError, node: core_pb2.Node, address: str) -> H9sError:
    told = any(key == TRAILER for key, _ in error.trailing_metadata() or ())
    if error.code() is grpc.StatusCode.UNAVAILABLE and not told:
        return howbelets.unreachable(node, address, error.details() or "no connection")
    return error_of_call(error, f"the howbelet of node {node.metadata.name!r}")


async def _with_first(
    first: api_pb2.ExecRequest, others: AsyncIterator[api_pb2.ExecRequest]
) -> AsyncIterator[api_pb2.ExecRequest]:
    yield first
    async for request in others:
        yield request


def _pod(view: View, namespace: str, name: str) -> core_pb2.Pod:
    found = view.get(object_key(POD, namespace, name))
    if found is None:
        raise not_found(POD, namespace, name)
    return core_pb2.Pod.FromString(found.value)


def _node(view: View, pod: core_pb2.Pod) -> core_pb2.Node:
    name = pod.spec.node_name
    if not name:
        raise InvalidError(f"pod {pod.metadata.name!r} is not running: it is waiting for a node")
    found = view.get(object_key(NODE, "", name))
    if found is None:
        raise UnavailableError(f"node {name!r}, which pod {pod.metadata.name!r} was bound to, is gone")
    return core_pb2.Node.FromString(found.value)
