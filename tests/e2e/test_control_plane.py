"""What the three replicas owe to everybody when they are stopped, killed or woken. No workers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from cluster.failover.writer import Writer
from cluster.local.layout import REPLICA_IDS
from cluster.local.manager import LocalCluster
from cluster.local.temporary import await_control_plane, leader_id, temporary_control_plane
from h9s import pki
from h9s._pb import api_pb2, coordination_pb2, core_pb2, meta_pb2
from h9s.api.objects import to_any
from h9s.client.request_ids import RequestIds
from h9s.client.transport import COMMIT, GET
from h9s.clock import SystemClock, system_random
from h9s.config import ClientConfig
from tests.e2e.support import client_of, until

LEASE = api_pb2.ObjectKey(group="coordination.k8s.io", kind="Lease", namespace="default", name="register")


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[LocalCluster]:
    async with temporary_control_plane(tmp_path / "state") as cluster:
        yield cluster


def lease(name: str, holder: str) -> coordination_pb2.Lease:
    return coordination_pb2.Lease(
        metadata=meta_pb2.ObjectMeta(name=name, namespace="default"),
        spec=coordination_pb2.LeaseSpec(holder_identity=holder),
    )


def patient_channel(cluster: LocalCluster, replica_id: str) -> grpc.aio.Channel:
    """A channel that does not mind a server that is silent for a while."""
    config = ClientConfig.load(cluster.layout.admin_config)
    credentials = grpc.ssl_channel_credentials(config.ca, config.key, config.certificate)
    options = [("grpc.ssl_target_name_override", pki.APISERVER_NAME), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.secure_channel(cluster.layout.api_address(replica_id), credentials, options=options)


async def test_a_leader_that_slept_serves_no_stale_read_and_accepts_no_write(replicas: LocalCluster):
    sleeper = await leader_id(replicas)
    async with client_of(replicas) as client, patient_channel(replicas, sleeper) as channel:
        get = channel.unary_unary(
            GET.path,
            request_serializer=GET.request.SerializeToString,
            response_deserializer=GET.response.FromString,
        )
        commit = channel.unary_unary(
            COMMIT.path,
            request_serializer=COMMIT.request.SerializeToString,
            response_deserializer=COMMIT.response.FromString,
        )
        await client.create(lease("register", "before"))
        await get(api_pb2.GetRequest(key=LEASE))
        ids = RequestIds(clock=SystemClock(), rng=system_random())

        def request(number: int) -> api_pb2.CommitRequest:
            write = api_pb2.Operation(
                verb=api_pb2.Operation.CREATE, object=to_any(lease(f"asleep-{number}", "sleeper"))
            )
            return api_pb2.CommitRequest(request_id=ids.new(), operations=[write])

        replicas.signal(sleeper, signal.SIGSTOP)
        begin = asyncio.get_running_loop().time()
        try:
            after = await client.update(lease("register", "after"))
            # These wait in the sleeper's sockets and are the first thing that it finds when it wakes.
            reads = [asyncio.ensure_future(get(api_pb2.GetRequest(key=LEASE), timeout=20)) for _ in range(50)]
            writes = [asyncio.ensure_future(commit(request(number), timeout=20)) for number in range(50)]
            await asyncio.sleep(begin + 10.0 - asyncio.get_running_loop().time())
        finally:
            replicas.signal(sleeper, signal.SIGCONT)
        answers = await asyncio.gather(*reads, return_exceptions=True)
        outcomes = await asyncio.gather(*writes, return_exceptions=True)

        for answer in answers:
            if isinstance(answer, api_pb2.GetResponse):
                assert answer.object.mod_revision >= int(after.metadata.resource_version)
            else:
                assert isinstance(answer, grpc.aio.AioRpcError)
        for outcome in outcomes:
            assert isinstance(outcome, grpc.aio.AioRpcError), f"a write was accepted: {outcome}"
        await await_control_plane(replicas)
        names = [one.metadata.name for one in (await client.list(coordination_pb2.Lease, "default")).items]
        assert names == ["register"]
        stored = await client.get(coordination_pb2.Lease, "register", "default")
        assert stored.spec.holder_identity == "after"


async def test_a_woken_leader_serves_fresh_reads_again(replicas: LocalCluster):
    sleeper = await leader_id(replicas)
    async with client_of(replicas) as client, patient_channel(replicas, sleeper) as channel:
        get = channel.unary_unary(
            GET.path,
            request_serializer=GET.request.SerializeToString,
            response_deserializer=GET.response.FromString,
        )
        await client.create(lease("register", "before"))
        replicas.signal(sleeper, signal.SIGSTOP)
        try:
            after = await client.update(lease("register", "after"))
        finally:
            replicas.signal(sleeper, signal.SIGCONT)

        async def missing() -> str:
            try:
                answer = await get(api_pb2.GetRequest(key=LEASE), timeout=5)
            except grpc.aio.AioRpcError as error:
                return f"an answer: {error.details()}"
            assert answer.object.mod_revision >= int(after.metadata.resource_version)
            return ""

        await until(missing, "a read through the woken replica", timeout=10.0)


async def test_nothing_acknowledged_is_lost_when_all_replicas_are_killed_at_once(replicas: LocalCluster):
    clock = SystemClock()
    async with client_of(replicas) as client:
        await client.create(core_pb2.Namespace(metadata=meta_pb2.ObjectMeta(name="crash")))
        writers = [
            Writer(client, name=f"w{number}", namespace="crash", interval=0.002, clock=clock)
            for number in range(4)
        ]

        async def enough(each: int) -> str:
            return "" if all(len(writer.acknowledged) >= each for writer in writers) else "writes"

        async with asyncio.TaskGroup() as tasks:
            for writer in writers:
                tasks.create_task(writer.run())
            await until(lambda: enough(50), "fifty writes of each writer")
            replicas.kill(*REPLICA_IDS)
            before = [len(writer.acknowledged) for writer in writers]
            for replica_id in REPLICA_IDS:
                replicas.start(replica_id)
            await await_control_plane(replicas)
            await until(lambda: enough(max(before) + 50), "writes after the restart")
            for writer in writers:
                writer.stop()

        assert [writer.unanswered for writer in writers] == [[], [], [], []]
        stored = [
            one.spec.holder_identity for one in (await client.list(coordination_pb2.Lease, "crash")).items
        ]
        acknowledged = {ack.write for writer in writers for ack in writer.acknowledged}
        assert acknowledged == set(stored)
        assert len(stored) == len(set(stored)), "a write was done twice"


async def test_one_replica_of_three_may_be_away(replicas: LocalCluster):
    for replica_id in REPLICA_IDS:
        replicas.kill(replica_id)
        async with client_of(replicas) as client:
            await client.create(lease(f"without-{replica_id}", "somebody"))
        replicas.start(replica_id)
        await await_control_plane(replicas)
