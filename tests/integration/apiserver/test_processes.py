"""`howbe-apiserver` as processes: one alone, and three that survive the loss of one."""

import asyncio
import signal
import socket
from contextlib import aclosing

import pytest
import yaml

from h9s.client import operations
from tests.integration.apiserver.replicas import Replicas, read
from tests.unit.apiserver.support import lease


@pytest.fixture
async def replicas(tmp_path):
    replicas = Replicas(tmp_path)
    try:
        async with asyncio.timeout(60):
            await replicas.init()
            yield replicas
    finally:
        await replicas.stop(*list(replicas.processes), with_signal=signal.SIGKILL)


async def test_a_replica_starts_only_on_its_own_initialized_folder(tmp_path):
    replicas = Replicas(tmp_path)
    code, output = await replicas.run("serve", "r1")
    assert code == 2
    assert "is not initialized: run `howbe-apiserver init`" in output
    code, output = await replicas.run("init", "r1")
    assert code == 0
    assert "initialized" in output
    code, output = await replicas.run("init", "r1")
    assert code == 2
    assert "initialized already" in output
    document = yaml.safe_load(replicas.config_file("r1").read_text())
    replicas.config_file("r1").write_text(yaml.safe_dump({**document, "clusterId": "other"}))
    code, output = await replicas.run("serve", "r1")
    assert code == 2
    assert "another's data" in output


async def test_a_port_that_is_taken_is_named(replicas):
    host, _, port = replicas.addresses["r1"].rpartition(":")
    with socket.socket() as taken:
        taken.bind((host, int(port)))
        taken.listen()
        code, output = await replicas.run("serve", "r1")
    assert code == 2
    assert f"cannot listen on apiAddress {host}:{port}" in output


async def test_a_write_through_any_address_reaches_a_watcher_at_another(replicas):
    await replicas.start(*replicas.ids)
    leader = await replicas.leader()
    followers = [replicas.addresses[name] for name in replicas.ids if name != leader]
    async with (
        replicas.client(servers=(followers[0],)) as writer,
        replicas.client(servers=(followers[1],)) as watcher,
    ):
        await writer.create(lease("l0"))
        start = (await watcher.list(type(lease()))).revision
        async with aclosing(watcher.watch(type(lease()), after_revision=start)) as watch:
            await writer.commit([operations.create(lease(f"l{i}")) for i in (1, 2)])
            async for batch in watch:
                if batch.events:
                    break
        assert [event.object.metadata.name for event in batch.events] == ["l1", "l2"]
    figures = await asyncio.to_thread(read, f"http://{replicas.metrics_addresses[leader]}/metrics")
    assert 'h9s_apiserver_request_seconds_count{code="OK",method="Commit"}' in figures
    assert 'h9s_apiserver_commits_total{result="OK"}' in figures


async def test_nothing_is_lost_when_the_leader_dies_or_all_do(replicas):
    await replicas.start(*replicas.ids)
    leader = await replicas.leader()
    async with replicas.client() as client:
        names = [f"l{i:03}" for i in range(60)]
        writing = asyncio.gather(*(client.create(lease(name)) for name in names))
        await asyncio.sleep(0.05)
        await replicas.stop(leader, with_signal=signal.SIGKILL)
        created = await writing
        assert len({each.metadata.resource_version for each in created}) == 60
        assert [item.metadata.name for item in (await client.list(type(lease()))).items] == names
        await replicas.start(leader)
        await client.create(lease("m"))
        await replicas.stop(*replicas.ids, with_signal=signal.SIGKILL)
        await replicas.start(*replicas.ids)
        found = (await client.list(type(lease()))).items
        assert [item.metadata.name for item in found] == [*names, "m"]
    assert await replicas.stop(*replicas.ids) == [0, 0, 0], replicas.logs()
