"""Damaged disks in the simulation: always noticed, and the replica's former life counts for nothing."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from h9s._pb import log_pb2
from h9s.errors import H9sError
from h9s.raft import journal_recovery
from h9s.raft.replicated_store import StoreSettings
from h9s.sim.replicas import SimReplicas
from h9s.testing.virtual_loop import run_virtual

ROUNDS = 12


async def lose_disks(*, seed: int) -> SimReplicas:
    """One replica after the other loses its disk, most of them damaged before, while the others go on."""
    replicas = SimReplicas(
        ("r1", "r2", "r3"),
        rng=random.Random(seed),
        loop=asyncio.get_running_loop(),
        latency=0.002,
        store_settings=StoreSettings(compaction_interval=0.5, snapshot_min_entries=10),
    )
    for name in replicas.names:
        await replicas.start(name)
    for number in range(ROUNDS):
        await settled(replicas)
        for key in range(15):
            await write(replicas, f"/sim/Item//{number}-{key}")
        await settled(replicas)
        name = replicas.names[number % 3]
        if replicas.may_lose(name):
            await replicas.wipe(name)
    await settled(replicas)
    return replicas


async def write(replicas: SimReplicas, key: str) -> None:
    while True:
        try:
            (leader,) = replicas.ready_leaders()
            transaction = log_pb2.Transaction(mutations=[log_pb2.Mutation(key=key, value=b"v" * 50)])
            await replicas.stores[leader].propose(transaction, timeout=2)
        except (H9sError, ValueError):
            await asyncio.sleep(0.05)
        else:
            return


async def settled(replicas: SimReplicas) -> None:
    async with asyncio.timeout(60):
        while replicas.disagreement() and not replicas.failures:
            await asyncio.sleep(0.05)


def lives(seeds: range) -> list[SimReplicas]:
    return [run_virtual(partial(lose_disks, seed=seed)) for seed in seeds]


def test_damage_is_noticed_wherever_it_is() -> None:
    found = lives(range(4))
    assert [replicas.failures for replicas in found] == [[]] * 4
    lines = "\n".join(line for replicas in found for line in replicas.trace.lines)
    assert "notices: journal segment" in lines
    assert "notices: snapshot" in lines


def test_without_the_marks_some_damage_would_be_taken_for_a_torn_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_recovery, "_next_mark", lambda data, offset: 0)
    failures = [failure for replicas in lives(range(4)) for failure in replicas.failures]
    assert any("does not notice" in failure for failure in failures)
