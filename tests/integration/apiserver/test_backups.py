"""Backup, restore and verify, as an administrator does them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing

import pytest

from h9s._pb import coordination_pb2
from h9s.client import operations
from h9s.errors import CompactedError
from tests.integration.apiserver.replicas import Replicas
from tests.unit.apiserver.support import lease

Lease = coordination_pb2.Lease


async def howbectl(replicas, *arguments):
    """A command line of the administrator: (exit code, output)."""
    config = replicas.folder / "howbectl.yaml"
    replicas.config.save(config)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "h9s.cli",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "H9S_CONFIG": str(config)},
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.fixture
async def clusters(tmp_path):
    """Makes clusters, each in a folder of its own; they are stopped at the end."""
    made = []

    def make(name, **attributes):
        made.append(Replicas(tmp_path / name, **attributes))
        return made[-1]

    try:
        async with asyncio.timeout(90):
            yield make
    finally:
        for replicas in made:
            await replicas.kill()


async def names_of(client):
    return {item.metadata.name for item in (await client.list(Lease)).items}


async def test_a_cluster_that_was_backed_up_while_it_worked_is_restored_elsewhere(clusters, tmp_path):
    old = clusters("old")
    await old.init()
    await old.start(*old.ids)
    file = tmp_path / "cluster.backup"
    acknowledged: list[str] = []
    async with old.client() as client:

        async def write():
            while True:
                names = [f"l{len(acknowledged) + i:05}" for i in range(20)]
                await client.commit([operations.create(lease(name)) for name in names])
                acknowledged.extend(names)
                await asyncio.sleep(0.02)

        writing = asyncio.create_task(write())
        while len(acknowledged) < 200:
            await asyncio.sleep(0.01)
        before = list(acknowledged)
        code, output = await howbectl(old, "cluster", "backup", file)
        assert code == 0, output
        after = len(acknowledged) + 20
        writing.cancel()
        follower_revision = (await client.list(Lease)).revision
    await old.kill()

    new = clusters("new", cluster_id="other")
    for name in new.ids:
        code, output = await new.run("restore", name, file)
        assert code == 0, output
        assert "of cluster test" in output
    await new.start(*new.ids)
    async with new.client() as client:
        found = sorted(await names_of(client))
        assert found == [f"l{i:05}" for i in range(len(found))], "a whole revision, without a gap"
        assert len(before) <= len(found) <= after
        await client.create(lease("later"))
        # Who followed the old cluster is told to begin anew.
        async with aclosing(client.watch(Lease, after_revision=follower_revision)) as watch:
            with pytest.raises(CompactedError):
                await anext(watch)
        statuses = [await new.status(name) for name in new.ids]
        assert {status.cluster_id for status in statuses} == {"other"}
    code, output = await new.run("restore", "r1", file)
    assert (code, "initialized already" in output) == (2, True)


async def test_a_past_revision_can_be_backed_up_and_every_file_be_verified(clusters, tmp_path):
    replicas = clusters("one", count=1)
    await replicas.init()
    await replicas.start("r1")
    file = tmp_path / "past.backup"
    async with replicas.client() as client:
        await client.create(lease("a"))
        revision = int((await client.create(lease("b"))).metadata.resource_version)
        await client.create(lease("c"))
        await client.delete(Lease, "a", "default")
        code, output = await howbectl(replicas, "cluster", "backup", file, "--revision", revision)
        assert code == 0, output
        assert f"revision {revision}" in output
        code, output = await howbectl(replicas, "cluster", "backup", file, "--revision", revision + 1000)
        assert code == 1, output
        assert "revision" in output
    code, output = await howbe_apiserver("verify", file)
    assert (code, f"whole: revision {revision}" in output) == (0, True), output
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    broken = tmp_path / "broken.backup"
    broken.write_bytes(data)
    code, output = await howbe_apiserver("verify", broken)
    assert (code, f"{broken}: offset" in output) == (1, True), output

    restored = clusters("two", count=1)
    assert (await restored.run("restore", "r1", broken))[0] == 1
    assert not restored.data_dir("r1").exists()
    assert (await restored.run("restore", "r1", file))[0] == 0
    await restored.start("r1")
    async with restored.client() as client:
        assert await names_of(client) == {"a", "b"}


async def howbe_apiserver(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "h9s.apiserver",
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_replicas_data_is_verified_while_it_does_not_run(clusters):
    replicas = clusters("one", count=1)
    await replicas.init()
    await replicas.start("r1")
    async with replicas.client() as client:
        await client.create(lease("a"))
        code, output = await replicas.run("verify", "r1")
        assert (code, "in use by another process" in output) == (2, True), output
    await replicas.stop("r1")
    code, output = await replicas.run("verify", "r1")
    assert (code, "is whole: revision" in output) == (0, True), output
    (segment,) = (replicas.data_dir("r1") / "journal").iterdir()
    data = bytearray(segment.read_bytes())
    data[300] ^= 1
    segment.write_bytes(data)
    code, output = await replicas.run("verify", "r1")
    assert (code, f"DAMAGED: journal segment {segment.name}: offset" in output) == (1, True), output
