import asyncio
import time
from contextlib import aclosing

import pytest

from h9s import pki
from h9s._pb import api_pb2, core_pb2, meta_pb2
from h9s.client import BatchingClient, Client, RetryPolicy, operations
from h9s.client.transport import UntrustedServerError
from h9s.clock import SystemClock
from h9s.errors import (
    AlreadyExistsError,
    NotFoundError,
    TimeoutExpiredError,
    UnavailableError,
)
from tests.integration.client.cluster import CA, Cluster

BOTH = pytest.mark.parametrize("cls", [Client, BatchingClient])


@pytest.fixture
async def cluster():
    async with Cluster() as running:
        yield running


def pod(name):
    return core_pb2.Pod(metadata=meta_pb2.ObjectMeta(name=name, namespace="default"))


async def until(condition, seconds=10.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@BOTH
async def test_writes_and_reads_over_mutual_tls(cluster, cls):
    async with cluster.client(cls) as client:
        created = await client.create(pod("web"))
        assert await client.get(core_pb2.Pod, "web") == created
        with pytest.raises(AlreadyExistsError) as caught:
            await client.commit([operations.create(pod("other")), operations.create(pod("web"))])
        assert caught.value.operation == 1
        with pytest.raises(NotFoundError):
            await client.get(core_pb2.Pod, "other")


@BOTH
async def test_a_dead_leader_costs_no_more_than_the_election(cluster, cls):
    first, second, _ = cluster.api.servers
    async with cluster.client(cls) as client:
        await client.create(pod("before"))
        cluster.wire(first).cut()
        cluster.api.leader = ""
        asyncio.get_running_loop().call_later(0.2, setattr, cluster.api, "leader", second)
        started = time.monotonic()
        await client.create(pod("after"))
        assert time.monotonic() - started < 0.45


@BOTH
async def test_a_frozen_leader_is_left_within_its_attempt(cluster, cls):
    first, second, _ = cluster.api.servers
    async with cluster.client(cls, retry=RetryPolicy(attempt_timeout=1.0)) as client:
        await client.create(pod("before"))
        cluster.wire(first).freeze()
        cluster.api.leader = second
        started = time.monotonic()
        await client.create(pod("after"))
        assert time.monotonic() - started < 2.0
        started = time.monotonic()
        await client.create(pod("later"))
        assert time.monotonic() - started < 0.5


async def test_dead_servers_cost_a_new_client_nothing(cluster):
    cluster.api.objects.put(pod("web"))
    cluster.wires[0].cut()
    cluster.wires[1].cut()
    cluster.api.leader = cluster.api.servers[2]
    for seed in range(6):
        started = time.monotonic()
        async with cluster.client(seed=seed) as client:
            await client.get(core_pb2.Pod, "web")
            await client.create(pod(f"p{seed}"))
        assert time.monotonic() - started < 0.5


async def test_a_server_that_is_back_is_used_within_a_second(cluster):
    async with cluster.client() as client:
        for server in cluster.api.servers:
            cluster.api.leader = server
            await client.create(pod(f"at-{server.rpartition(':')[2]}"))
        for wire in cluster.wires:
            wire.cut()
        write = asyncio.create_task(client.create(pod("web")))
        await asyncio.sleep(2.0)
        assert not write.done()
        for wire in cluster.wires:
            await wire.open()
        started = time.monotonic()
        await write
        assert time.monotonic() - started < 1.0


async def test_a_watch_goes_on_where_it_was_when_wires_are_cut_and_frozen(cluster):
    revisions: list[int] = []
    async with cluster.client(retry=RetryPolicy(liveness=1.5)) as client:

        async def follow() -> None:
            async with aclosing(client.watch(core_pb2.Pod, after_revision=0)) as batches:
                async for batch in batches:
                    revisions.extend(int(event.object.metadata.resource_version) for event in batch.events)

        watcher = asyncio.create_task(follow())

        async def put(count: int) -> None:
            for _ in range(count):
                cluster.api.objects.put(pod(f"p{cluster.api.objects.revision}"))
                cluster.api.notify()
                await asyncio.sleep(0.002)

        for _ in range(3):
            await put(20)
            await until(lambda: bool(cluster.api.requests))
            serving = cluster.wire(cluster.api.requests[-1][0])
            serving.cut()
            await put(20)
            await serving.open()
        await until(lambda: len(revisions) == cluster.api.objects.revision)
        cluster.wire(cluster.api.requests[-1][0]).freeze()
        await put(20)
        started = time.monotonic()
        await until(lambda: len(revisions) == cluster.api.objects.revision)
        assert time.monotonic() - started < 3.0
        watcher.cancel()
    assert revisions == list(range(1, len(revisions) + 1))


async def test_thousands_outstanding_survive_a_cut_each_done_once(cluster):
    first, second, third = cluster.api.servers
    async with cluster.batching_client() as client:
        answers = [client.submit([operations.create(pod(f"p{number}"))]) for number in range(3000)]
        await answers[100]
        cluster.wire(first).cut()
        cluster.api.leader = second
        await answers[1500]
        cluster.wire(second).cut()
        cluster.api.leader = third
        responses = await asyncio.gather(*answers)
    assert len({response.revision for response in responses}) == 3000
    assert cluster.api.objects.revision == 3000


async def test_a_client_of_another_ca_is_told_that_nobody_takes_it(cluster):
    stranger = pki.issue(pki.create_ca("other"), common_name="me", organization=pki.ROLE_ADMIN)
    retry = RetryPolicy(deadline=1.0)
    async with cluster.client(config=cluster.config(stranger), retry=retry) as client:
        with pytest.raises(TimeoutExpiredError, match="no answer to Get"):
            await client.get(core_pb2.Pod, "web")
    assert not cluster.api.requests


async def test_a_server_that_cannot_prove_itself_gets_nothing(cluster):
    other_name = pki.issue(
        CA, common_name="n1", organization=pki.ROLE_NODE, dns_names=[pki.HOWBELET_NAME], server=True
    )
    for wire in cluster.wires:
        await cluster.restart(wire, other_name)
    async with cluster.client() as client:
        with pytest.raises(UntrustedServerError, match=r"not a server of this cluster: .*Hostname"):
            await client.get(core_pb2.Pod, "web")
    assert not cluster.api.requests


async def test_a_cluster_of_another_ca_is_an_error_at_once(cluster):
    config = cluster.config(ca=pki.create_ca("test"))
    async with cluster.client(config=config) as client:
        with pytest.raises(UntrustedServerError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(core_pb2.Pod, "web")


async def test_one_server_whose_certificate_has_expired_is_passed_over(cluster):
    class LongAgo(SystemClock):
        def wall(self) -> float:
            return super().wall() - 400 * 86_400

    old = pki.issue(
        CA,
        common_name="r1",
        organization=pki.ROLE_REPLICA,
        dns_names=[pki.APISERVER_NAME],
        server=True,
        clock=LongAgo(),
    )
    cluster.api.objects.put(pod("web"))
    await cluster.restart(cluster.wires[0], old)
    for seed in range(5):
        async with cluster.client(seed=seed) as client:
            await client.get(core_pb2.Pod, "web")


async def test_closing_ends_what_is_under_way_with_an_error_and_not_with_a_cancellation(cluster):
    client = cluster.client(retry=RetryPolicy(deadline=0.5))
    cluster.api.hang(cluster.api.servers[0])
    cluster.api.hang(cluster.api.servers[1])
    cluster.api.hang(cluster.api.servers[2])
    reading = asyncio.create_task(client.get(core_pb2.Pod, "web"))
    await asyncio.sleep(0.2)
    await client.close()
    with pytest.raises((UnavailableError, TimeoutExpiredError)):
        await reading


async def test_logs_and_exec_go_through_any_replica(cluster):
    cluster.wires[0].cut()
    cluster.wires[1].cut()
    async with cluster.client() as client:
        lines = [chunk.data async for chunk in client.logs(api_pb2.LogsRequest(pod="web"))]
        assert lines == [b"web: one\n", b"web: two\n"]
        call = await client.exec(api_pb2.ExecRequest.Start(pod="web", command=["echo", "x"]))
        assert (await call.read()).stdout == b"echo x"
        await call.write(api_pb2.ExecRequest(stdin=b"input"))
        assert (await call.read()).stdout == b"input"
        await call.write(api_pb2.ExecRequest(stdin_eof=True))
        assert (await call.read()).exit_code == 3
        assert await call.read() is None
