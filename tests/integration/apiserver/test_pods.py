"""Logs and exec, forwarded to a howbelet over real gRPC."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from h9s import pki
from h9s._pb import api_pb2, api_pb2_grpc
from h9s.apiserver.authentication import Authenticator
from h9s.client import operations
from h9s.client.grpc_transport import error_of_call
from h9s.errors import ForbiddenError, InvalidError, NotFoundError, UnavailableError
from tests.integration.apiserver.serving import CA, serving, until
from tests.unit.apiserver.support import node, pod


class FakeHowbelet(api_pb2_grpc.PodsServicer):
    """Answers what tests can recognize."""

    def __init__(self):
        self.callers = []
        self.requests = []
        self.cancelled = False

    async def Logs(self, request, context):
        self.callers.append(Authenticator().identify(context))
        self.requests.append(request)
        if request.previous:
            detail = api_pb2.ErrorDetail(reason="NotFound", message="there was no previous run")
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                detail.message,
                (("h9s-error-bin", detail.SerializeToString()),),
            )
        yield api_pb2.LogsResponse(data=b"one\n")
        yield api_pb2.LogsResponse(data=b"two\n")
        try:
            while request.follow:
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def Exec(self, request_iterator, context):
        async for request in request_iterator:
            which = request.WhichOneof("message")
            if which == "start":
                yield api_pb2.ExecResponse(stderr=" ".join(request.start.command).encode())
            elif which == "stdin":
                yield api_pb2.ExecResponse(stdout=request.stdin.upper())
            else:
                break
        yield api_pb2.ExecResponse(exit_code=3)


@asynccontextmanager
async def with_howbelet(*, listening=True):
    """A cluster with a pod that runs on a node whose howbelet is a fake."""
    credential = pki.issue(
        CA, common_name="n1", organization=pki.ROLE_NODE, dns_names=[pki.HOWBELET_NAME], server=True
    )
    howbelet, server = FakeHowbelet(), grpc.aio.server()
    api_pb2_grpc.add_PodsServicer_to_server(howbelet, server)
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials(
            [(credential.key, credential.certificate)],
            root_certificates=CA.certificate,
            require_client_auth=True,
        ),
    )
    await server.start()
    if not listening:
        await server.stop(None)
    async with serving() as api, api.client() as client, api.channel() as channel:
        place = node("n1")
        place.status.addresses.add(type="InternalIP", address="127.0.0.1")
        place.status.daemon_endpoints.kubelet_endpoint.port = port
        running = pod("web", node="n1")
        running.spec.containers.add(name="side", image="busybox:1")
        waiting = pod("new", node="n1")
        await client.commit([operations.create(each) for each in (place, running, waiting, pod("free"))])
        running.status.phase = "Running"
        for name in ("main", "side"):
            status = running.status.container_statuses.add(name=name)
            status.state.running.SetInParent()
        waiting.status.phase = "Pending"
        waiting.status.container_statuses.add(name="main").state.waiting.reason = "ErrImagePull"
        await client.commit([operations.update_status(each) for each in (running, waiting)])
        yield howbelet, api_pb2_grpc.PodsStub(channel), api
    await server.stop(None)


def logs(name="web", container="main", **fields):
    return api_pb2.LogsRequest(namespace="default", pod=name, container=container, **fields)


async def collect(call):
    """All answers, or the server's own error."""
    try:
        return [answer async for answer in call]
    except grpc.aio.AioRpcError as error:
        raise error_of_call(error, "server") from None


async def test_logs_come_from_the_howbelet_that_runs_the_pod():
    async with with_howbelet() as (howbelet, stub, _):
        answers = await collect(stub.Logs(logs(tail_lines=5)))
        assert b"".join(answer.data for answer in answers) == b"one\ntwo\n"
        assert howbelet.requests[0].tail_lines == 5
        assert howbelet.callers == [pki.Identity("r1", pki.ROLE_REPLICA)]


async def test_a_reader_that_leaves_is_noticed():
    async with with_howbelet() as (howbelet, stub, _):
        call = stub.Logs(logs(follow=True))
        await call.read()
        call.cancel()
        await until(lambda: howbelet.cancelled)


async def test_exec_passes_both_ways():
    async with with_howbelet() as (_, stub, _):
        start = api_pb2.ExecRequest.Start(
            namespace="default", pod="web", container="side", command=["cat", "-"], stdin=True
        )

        async def requests():
            yield api_pb2.ExecRequest(start=start)
            yield api_pb2.ExecRequest(stdin=b"hello")
            yield api_pb2.ExecRequest(stdin_eof=True)

        answers = await collect(stub.Exec(requests()))
        assert [answer.WhichOneof("message") for answer in answers] == ["stderr", "stdout", "exit_code"]
        assert (answers[0].stderr, answers[1].stdout, answers[2].exit_code) == (b"cat -", b"HELLO", 3)


async def test_the_howbelets_errors_arrive_as_they_are():
    async with with_howbelet() as (_, stub, _):
        with pytest.raises(NotFoundError, match="there was no previous run"):
            await collect(stub.Logs(logs(previous=True)))


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (logs("nobody"), NotFoundError, 'Pod "nobody" in namespace "default" not found'),
        (logs(container=""), InvalidError, "several containers, name one: main, side"),
        (logs(container="x"), InvalidError, "no container 'x'"),
        (logs("free"), InvalidError, "waiting for a node"),
        (logs("new"), InvalidError, "ErrImagePull"),
    ],
)
async def test_what_cannot_be_is_said(request_, error, message):
    async with with_howbelet() as (_, stub, _):
        with pytest.raises(error, match=message):
            await collect(stub.Logs(request_))
        start = api_pb2.ExecRequest.Start(
            namespace="default", pod=request_.pod, container=request_.container, command=["ls"]
        )
        with pytest.raises(error, match=message):
            await collect(stub.Exec(iter([api_pb2.ExecRequest(start=start)])))


async def test_an_exec_starts_with_its_start():
    async with with_howbelet() as (_, stub, _):
        with pytest.raises(InvalidError, match="must have start"):
            await collect(stub.Exec(iter([api_pb2.ExecRequest(stdin=b"x")])))


async def test_an_unreachable_howbelet_is_named():
    async with with_howbelet(listening=False) as (_, stub, _):
        with pytest.raises(
            UnavailableError, match=r"howbelet of node 'n1' at 127\.0\.0\.1:\d+ cannot be reached"
        ):
            await collect(stub.Logs(logs()))


async def test_nodes_may_not_look_into_pods():
    async with with_howbelet() as (_, _, api), api.channel("n1", pki.ROLE_NODE) as channel:
        with pytest.raises(ForbiddenError):
            await collect(api_pb2_grpc.PodsStub(channel).Logs(logs()))
