"""A majority is lost for good: what is left is compared, and one replica becomes a cluster of its own."""

from __future__ import annotations

import asyncio
import re
import shutil

import grpc.aio
import pytest

from h9s._pb import coordination_pb2
from h9s.client import operations
from tests.integration.apiserver.replicas import Replicas
from tests.integration.apiserver.test_backups import howbe_apiserver, howbectl
from tests.unit.apiserver.support import lease

Lease = coordination_pb2.Lease


@pytest.fixture
async def replicas(tmp_path):
    made = Replicas(tmp_path / "cluster")
    try:
        async with asyncio.timeout(120):
            await made.init()
            await made.start(*made.ids)
            yield made
    finally:
        await made.kill()


async def write(replicas, *names):
    async with replicas.client() as client:
        for name in names:
            await client.commit([operations.create(lease(name))])


async def everybody_is_level(replicas):
    while True:
        try:
            found = {(await replicas.status(name)).revision for name in replicas.ids}
        except grpc.aio.AioRpcError:
            found = set()
        if len(found) == 1:
            return
        await asyncio.sleep(0.05)


async def test_the_freshest_survivor_goes_on_and_others_are_added_to_it(replicas):
    await write(replicas, "a", "b")
    await everybody_is_level(replicas)
    leader = await replicas.leader()
    behind, lost = (name for name in replicas.ids if name != leader)
    await replicas.stop(behind)
    await write(replicas, "c", "d")

    # With the leader there is a majority: start `behind` instead of giving the others up.
    code, output = await replicas.run("recover", behind)
    assert (code, f"{leader}, {lost} can be reached" in output or lost in output) == (2, True), output
    await replicas.kill()
    shutil.rmtree(replicas.data_dir(lost))

    folders = [replicas.data_dir(name) for name in (behind, leader)]
    code, output = await howbe_apiserver("recover", "--preview", *folders)
    assert code == 0, output
    assert f"The freshest is {leader}: {replicas.data_dir(leader)}" in output
    assert "nothing that was acknowledged would be lost" in output
    code, output = await howbe_apiserver("recover", "--preview", folders[0])
    gone = ", ".join(sorted([leader, lost]))
    found = re.search(rf"Writes after revision \d+, .* would be lost .*of {gone} nothing is left", output)
    assert found, output

    code, output = await replicas.run("recover", leader)
    assert code == 0, output
    (aside,) = (replicas.data_dir(leader) / "set-aside").iterdir()
    assert (aside / "journal").is_dir()
    await replicas.start(leader)
    async with replicas.client(servers=(replicas.addresses[leader],)) as client:
        found = await client.list(Lease)
        assert sorted(item.metadata.name for item in found.items) == ["a", "b", "c", "d"]
        assert found.revision > 10**9
        await client.create(lease("e"))
    status = await replicas.status(leader)
    assert [(member.id, member.voter) for member in status.replicas] == [(leader, True)]

    # The one that was behind is of the old cluster: it is told so, and stops.
    await replicas.start(behind)
    assert await replicas.processes.pop(behind).wait() == 1
    assert "it was removed from the cluster" in replicas.logs()
    await write(replicas, "f")
    addresses = next(
        (replica["apiAddress"], replica["peerAddress"])
        for replica in replicas.members
        if replica["id"] == behind
    )
    code, output = await howbectl(
        replicas,
        "cluster",
        "add",
        behind,
        "--api-address",
        addresses[0],
        "--peer-address",
        addresses[1],
    )
    assert code == 0, output
    shutil.rmtree(replicas.data_dir(behind))
    assert (await replicas.run("init", behind, "--join"))[0] == 0
    await replicas.start(behind)
    while True:
        code, output = await howbectl(replicas, "cluster", "promote", behind)
        if code == 0:
            break
        await asyncio.sleep(0.2)
    status = await replicas.status(leader)
    assert sorted((member.id, member.voter) for member in status.replicas) == sorted(
        [(leader, True), (behind, True)]
    )
    async with replicas.client() as client:
        names = {item.metadata.name for item in (await client.list(Lease)).items}
    assert names == {"a", "b", "c", "d", "e", "f"}


async def test_data_that_is_damaged_is_not_recovered(replicas):
    await write(replicas, "a", "b")
    await replicas.kill()
    (segment,) = (replicas.data_dir("r1") / "journal").iterdir()
    data = bytearray(segment.read_bytes())
    data[400] ^= 1
    segment.write_bytes(data)
    code, output = await replicas.run("recover", "r1")
    assert (code, "go on with another replica's" in output) == (1, True), output
    code, output = await howbe_apiserver("recover", "--preview", replicas.data_dir("r1"))
    assert (code, "r1 is DAMAGED: journal segment" in output, "restore a backup" in output) == (1, True, True)
    code, output = await howbe_apiserver("recover", "--preview")
    assert code == 2
    code, output = await howbe_apiserver("recover")
    assert code == 2
