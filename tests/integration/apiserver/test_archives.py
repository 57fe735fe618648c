"""Archives of real replicas: old revisions are the same everywhere, after crashes and with a lost file."""

from __future__ import annotations

import asyncio
import copy
import random
import shutil
import signal

import grpc.aio
import pytest

from h9s.errors import HistoryNotHeldError
from tests.integration.apiserver.replicas import Replicas
from tests.unit.apiserver.support import lease

WRITES = 120


@pytest.fixture
async def replicas(tmp_path):
    made = Replicas(tmp_path, settings={"historyInMemoryBytes": 50_000})
    try:
        async with asyncio.timeout(180):
            await made.init()
            await made.start(*made.ids)
            yield made
    finally:
        await made.kill()


async def write(replicas):
    """Revision -> what the object was then; most of it soon too much for the memory."""
    rng = random.Random(1)
    states = {}
    async with replicas.client() as client:
        current = await client.create(lease("l"))
        for number in range(WRITES):
            current.metadata.annotations["big"] = rng.randbytes(2500).hex()
            current.metadata.annotations["number"] = str(number)
            current = await client.update(current)
            states[int(current.metadata.resource_version)] = copy.deepcopy(current)
    return states


async def check(replicas, name, states, *, first=0):
    async with replicas.client(servers=(replicas.addresses[name],)) as client:
        for revision in sorted(states)[::7]:
            if revision >= first:
                assert await client.get(type(lease()), "l", "default", revision=revision) == states[revision]


async def until_archived(replicas, revision):
    """Every replica has it, and not in memory."""
    for name in replicas.ids:
        while True:
            status = await status_of(replicas, name)
            usage = status.usage
            if status.revision >= revision and usage.archive_bytes and usage.recent_history_bytes < 60_000:
                break
            await asyncio.sleep(0.1)


async def test_old_revisions_survive_crashes_and_are_the_same_everywhere(replicas):
    states = await write(replicas)
    await until_archived(replicas, max(states))
    for name in replicas.ids:
        await check(replicas, name, states)
    await replicas.kill()
    await replicas.start(*replicas.ids)
    await replicas.leader()
    for name in replicas.ids:
        assert await wait_for_first(replicas, name, max(states)) <= min(states)
        await check(replicas, name, states)


async def test_a_replica_without_its_archive_lacks_old_revisions_and_clients_ask_another(replicas):
    states = await write(replicas)
    await until_archived(replicas, max(states))
    lost, damaged, _ = replicas.ids
    # A snapshot would be needed to forget what the log still has: the log brings the history back.
    await replicas.stop(lost, damaged, with_signal=signal.SIGKILL)
    shutil.rmtree(replicas.data_dir(lost) / "history")
    database = replicas.data_dir(damaged) / "history" / "history.db"
    content = bytearray(database.read_bytes())
    for offset in range(20_000, len(content), 5000):
        content[offset] ^= 0xFF
    database.write_bytes(content)
    await replicas.start(lost, damaged)
    await replicas.leader()
    for name in (lost, damaged):
        first = await wait_for_first(replicas, name, max(states))
        try:
            await check(replicas, name, states, first=first)
        except HistoryNotHeldError:
            assert name == damaged
    async with replicas.client() as client:
        for revision in sorted(states)[::11]:
            assert await client.get(type(lease()), "l", "default", revision=revision) == states[revision]


async def status_of(replicas, name):
    """Once it answers."""
    while True:
        try:
            return await replicas.status(name)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.1)


async def wait_for_first(replicas, name, revision):
    while True:
        status = await status_of(replicas, name)
        if status.revision >= revision:
            return status.usage.first_revision
        await asyncio.sleep(0.1)
