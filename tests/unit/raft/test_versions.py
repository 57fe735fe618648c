"""What a cluster of several versions agrees upon."""

from __future__ import annotations

import asyncio

from h9s.raft.versions import FEATURE_LEVEL, FeatureLevels, PeerHello
from tests.unit.raft.harness import virtual
from tests.unit.raft.test_replicated_store import Cluster

MEMBERS = ("r1", "r2", "r3")


class Levels(FeatureLevels):
    def __init__(self, *, recorded=1):
        self.recorded = recorded
        super().__init__(replica_id="r1", agreed=lambda: self.recorded)


def test_the_oldest_member_decides_what_may_be_written():
    levels = Levels()
    levels.heard("r2", FEATURE_LEVEL)
    levels.heard("r3", 1)
    assert levels.common(MEMBERS) == 1
    levels.heard("r3", FEATURE_LEVEL)
    assert levels.common(MEMBERS) == FEATURE_LEVEL


def test_a_member_that_was_never_heard_from_may_be_of_the_first_version():
    levels = Levels()
    levels.heard("r2", FEATURE_LEVEL)
    assert levels.common(MEMBERS) == 1
    assert levels.common(("r1", "r2")) == FEATURE_LEVEL


def test_once_the_log_says_that_all_were_upgraded_nobody_needs_to_be_heard_from():
    assert Levels(recorded=2).common(MEMBERS) == 2


def test_a_replica_that_is_older_than_what_the_log_records_is_refused_with_what_to_do():
    levels = Levels()
    assert levels.objection("r3", 1) == ""
    levels.recorded = 2
    assert levels.objection("r3", 2) == ""
    assert "r3 runs an older version" in levels.objection("r3", 1)
    assert "start it with the newer one" in levels.objection("r3", 1)


@virtual
async def test_what_is_new_is_used_once_every_replica_was_upgraded_and_then_nothing_older_is_taken_back():
    cluster = Cluster()
    cluster.network.hellos["r3"] = PeerHello(feature_level=1)
    await cluster.start_all()
    # If it leads, it does not raise what it does not know either.
    cluster.stores["r3"].node.feature_levels.heard("r3", 1)
    await asyncio.sleep(20)
    assert [store.machine.feature_level for store in cluster.stores.values()] == [1, 1, 1]

    await restart(cluster, "r3", PeerHello())
    async with asyncio.timeout(30):
        while {store.machine.feature_level for store in cluster.stores.values()} != {FEATURE_LEVEL}:
            await asyncio.sleep(0.1)

    await restart(cluster, "r3", PeerHello(feature_level=1))
    await asyncio.sleep(20)
    assert not cluster.stores["r3"].node.connected
    assert not cluster.failures


async def restart(cluster, name, hello):
    await cluster.crash(name)
    cluster.network.hellos[name] = hello
    await cluster.start(name)
