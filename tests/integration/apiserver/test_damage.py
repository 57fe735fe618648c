"""Damaged data of one replica, as it happens: it never counts, and it is replaced from the others."""

from __future__ import annotations

import asyncio

import grpc.aio
import pytest

from h9s._pb import coordination_pb2
from h9s.client import operations
from h9s.raft import records
from tests.integration.apiserver.replicas import Replicas
from tests.integration.apiserver.test_backups import howbectl
from tests.unit.apiserver.support import lease


@pytest.fixture
async def replicas(tmp_path):
    made = Replicas(tmp_path)
    try:
        async with asyncio.timeout(120):
            await made.init()
            await made.start(*made.ids)
            yield made
    finally:
        await made.kill()


async def fill(replicas, prefix, count=30):
    async with replicas.client() as client:
        for i in range(count):
            await client.commit([operations.create(lease(f"{prefix}{i:03}"))])
        return (await client.list(coordination_pb2.Lease)).revision


async def level(replicas, name, revision):
    """Wait until the replica, in a new life, has the revision and votes."""
    while not await is_level(replicas, name, revision):
        await asyncio.sleep(0.05)


async def is_level(replicas, name, revision):
    try:
        status, own = await replicas.status(await replicas.leader()), await replicas.status(name)
    except grpc.aio.AioRpcError:
        return False
    member = next(replica for replica in status.replicas if replica.id == name)
    is_same = (own.revision, own.state_hash) == (status.revision, status.state_hash)
    return member.voter and member.incarnation and is_same and own.revision >= revision


def damage(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x55
    path.write_bytes(data)


async def test_a_replica_whose_journals_end_is_damaged_comes_back_by_itself_without_a_vote_of_its_past(
    replicas,
):
    await fill(replicas, "a")
    leader = await replicas.leader()
    name = next(other for other in replicas.ids if other != leader)
    await replicas.stop(name)
    (segment,) = (replicas.data_dir(name) / "journal").iterdir()
    damage(segment, 1000)
    code, output = await replicas.run("verify", name)
    assert (code, f"DAMAGED: journal segment {segment.name}: offset" in output) == (1, True), output
    revision = await fill(replicas, "b")
    await replicas.start(name)
    await level(replicas, name, revision)
    assert "comes back as a learner" in replicas.logs()
    (aside,) = (replicas.data_dir(name) / "set-aside").iterdir()
    assert (aside / "journal" / segment.name).exists()
    # It votes again: with it, the others' loss is survived.
    await replicas.stop(leader)
    await fill(replicas, "c", count=3)


async def test_damage_that_needs_a_decision_is_refused_with_the_command_that_repairs_it(replicas):
    revision = await fill(replicas, "a")
    leader = await replicas.leader()
    name = next(other for other in replicas.ids if other != leader)
    await replicas.stop(name)
    code, output = await replicas.run("repair", name)
    assert (code, "nothing to repair" in output) == (2, True), output
    (segment,) = (replicas.data_dir(name) / "journal").iterdir()
    damage(segment, records.RECORD_BYTES + 2)
    code, output = await replicas.run("serve", name)
    command = f"howbe-apiserver repair --config {replicas.config_file(name)}"
    assert code == 1, output
    assert f"journal segment {segment.name}: offset 0: the header is damaged" in output
    assert command in output
    code, output = await replicas.run("repair", name, "--wipe")
    assert code == 0, output
    assert not (replicas.data_dir(name) / "journal").exists()
    await replicas.start(name)
    await level(replicas, name, revision)


async def test_a_snapshot_that_is_damaged_is_refused_and_repaired(replicas, tmp_path):
    """A restored replica begins with a snapshot."""
    await fill(replicas, "a", count=5)
    file = tmp_path / "b"
    assert (await howbectl(replicas, "cluster", "backup", file))[0] == 0
    await replicas.kill()
    restored = Replicas(tmp_path / "restored")
    try:
        for name in restored.ids:
            assert (await restored.run("restore", name, file))[0] == 0
        (snapshot,) = (restored.data_dir("r2") / "snapshots").iterdir()
        damage(snapshot, snapshot.stat().st_size // 2)
        await restored.start("r1", "r3")
        revision = await fill(restored, "b", count=5)
        code, output = await restored.run("serve", "r2")
        assert (code, f"snapshot {snapshot.name}: offset" in output) == (1, True), output
        assert "repair --config" in output
        code, output = await restored.run("repair", "r2")
        assert (code, "set-aside" in output) == (0, True), output
        await restored.start("r2")
        await level(restored, "r2", revision)
    finally:
        await restored.kill()
