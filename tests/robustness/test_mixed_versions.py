"""This version and the one before in one cluster, exchanged one replica at a time under load; and each
reads what the other has written to disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import grpc.aio
import pytest

from h9s._pb import coordination_pb2
from h9s.client import operations
from h9s.raft.versions import FEATURE_LEVEL
from tests.integration.apiserver.replicas import Replicas
from tests.unit.apiserver.support import lease

(WHEEL,) = (Path(__file__).parent / "previous").glob("*.whl")
#: Python with the version before: the wheel comes before what is installed.
PREVIOUS = ("env", f"PYTHONPATH={WHEEL}", "PYTHONSAFEPATH=1", sys.executable)
THIS = (sys.executable,)
SCRIPT = Path(__file__).with_name("data_of_a_version.py")
PREVIOUS_APISERVER = (*PREVIOUS, "-m", "h9s.apiserver")

Lease = coordination_pb2.Lease


class Load:
    """Writes without a pause, and remembers what was acknowledged."""

    def __init__(self, replicas):
        self._replicas = replicas
        self.acknowledged: list[str] = []

    async def run(self):
        async with self._replicas.client() as client:
            while True:
                name = f"l{len(self.acknowledged):05}"
                await client.commit([operations.create(lease(name))])
                self.acknowledged.append(name)

    async def goes_on(self, count=30):
        """Return once so many more writes were acknowledged."""
        target = len(self.acknowledged) + count
        while len(self.acknowledged) < target:
            await asyncio.sleep(0.01)


@pytest.fixture
async def replicas(tmp_path):
    made = Replicas(tmp_path)
    made.programs = dict.fromkeys(made.ids, PREVIOUS_APISERVER)
    try:
        async with asyncio.timeout(150):
            await made.init()
            await made.start(*made.ids)
            yield made
    finally:
        await made.kill()


async def versions(replicas):
    return {name: (await replicas.status(name)).version for name in replicas.ids}


async def upgrade(replicas, name):
    """Exchange one replica's version, in an orderly way."""
    assert await replicas.stop(name) == [0]
    if name in replicas.programs:
        del replicas.programs[name]
    else:
        replicas.programs[name] = PREVIOUS_APISERVER
    await start(replicas, name)


async def start(replicas, name):
    """Start a replica, and return once it answers."""
    await replicas.start(name)
    while True:
        try:
            await replicas.status(name)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
        else:
            return


async def is_led_by(replicas, version):
    """Restart leaders until one of that version leads."""
    while (await replicas.status(leader := await replicas.leader())).version != version:
        await replicas.stop(leader)
        await start(replicas, leader)


async def level(replicas):
    """Wait until all replicas have the same state, as it was at one moment."""
    while True:
        try:
            found = [await replicas.status(name) for name in replicas.ids]
        except grpc.aio.AioRpcError:
            found = []
        if len({(status.revision, status.state_hash) for status in found}) == 1:
            return
        await asyncio.sleep(0.05)


async def test_a_cluster_is_upgraded_one_replica_at_a_time_under_load(replicas):
    load = Load(replicas)
    writing = asyncio.create_task(load.run())
    await load.goes_on()
    # One goes back in the middle, as long as not all have been upgraded.
    for name in ("r1", "r2", "r1", "r1", "r3"):
        await upgrade(replicas, name)
        await load.goes_on()
        for version in sorted(set((await versions(replicas)).values())):
            await is_led_by(replicas, version)
            await load.goes_on()
    assert set((await versions(replicas)).values()) == {"0.2.0"}
    # The leader records within some seconds that all have been upgraded.
    while {(await replicas.status(name)).feature_level for name in replicas.ids} != {FEATURE_LEVEL}:
        await asyncio.sleep(0.05)
    await load.goes_on()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    async with replicas.client() as client:
        found = {item.metadata.name for item in (await client.list(Lease)).items}
    assert set(load.acknowledged) <= found
    await level(replicas)

    # From here on what is older is refused, and says nothing that counts.
    await upgrade(replicas, "r1")
    while "runs an older version" not in replicas.logs():
        await asyncio.sleep(0.05)
    async with replicas.client() as client:
        await client.create(lease("after"))


@pytest.mark.parametrize("writer", [PREVIOUS, THIS], ids=["by the version before", "by this version"])
def test_what_one_version_wrote_the_other_reads_alike(tmp_path, writer):
    run(writer, "write", tmp_path / "data")
    found = []
    for number, reader in enumerate((PREVIOUS, THIS)):
        copied = tmp_path / str(number)
        shutil.copytree(tmp_path / "data", copied)
        found.append(json.loads(run(reader, "read", copied)))
    assert found[0] == found[1]
    assert (found[0]["last"], found[0]["segments"] > 2, found[0]["revision"] > 40) == (60, True, True)


def run(python, command, folder):
    done = subprocess.run(
        [*python, str(SCRIPT), command, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
