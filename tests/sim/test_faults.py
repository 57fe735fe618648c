"""Made-up networks and disks: as real ones at best, harsher at worst."""

from __future__ import annotations

import asyncio
import random

import pytest

from h9s.raft.versions import PeerHello
from h9s.sim.disk import SimDisk
from h9s.sim.network import SimNetwork
from h9s.testing.virtual_loop import run_virtual

NAMES = ("r1", "r2", "r3")


class Inbox:
    """Implements `LinkHandler` by remembering."""

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.received: list[tuple[str, int]] = []

    def link_objection(self, replica_id: str, hello: PeerHello) -> str:
        return ""

    def link_connected(self, replica_id: str, hello: PeerHello) -> None:
        self.connected.append(replica_id)

    def link_disconnected(self, replica_id: str) -> None:
        self.connected.remove(replica_id)

    def link_received(self, replica_id: str, data: bytes) -> None:
        self.received.append((replica_id, int(data)))


class Bench:
    def __init__(self, *, latency=0.1, datagrams=False):
        loop = asyncio.get_running_loop()
        self.network = SimNetwork(
            NAMES, rng=random.Random(1), loop=loop, latency=latency, datagrams=datagrams
        )
        self.inboxes = {name: Inbox() for name in NAMES}
        for name, inbox in self.inboxes.items():
            self.network.links_of(name).start(inbox)

    async def connected(self):
        await asyncio.sleep(0.1)
        assert self.inboxes["r1"].connected == ["r2", "r3"] or self.inboxes["r1"].connected == ["r3", "r2"]
        return self

    def send(self, numbers, source="r1", target="r2"):
        return [self.network.send(source, target, b"%d" % number) for number in numbers]

    def numbers(self, name="r2"):
        return [number for _, number in self.inboxes[name].received]


def on(scenario):
    """Run a scenario on a connected bench, on virtual time."""

    def test():
        async def main():
            await scenario(await Bench().connected())

        run_virtual(main)

    test.__doc__ = scenario.__doc__
    return test


@on
async def test_a_connection_keeps_the_order(bench):
    assert all(bench.send(range(200)))
    await asyncio.sleep(1)
    assert bench.numbers() == list(range(200))


@on
async def test_what_is_under_way_when_a_connection_breaks_is_lost_and_the_connection_comes_back(bench):
    bench.send(range(10))
    bench.network.reset("r1", "r2")
    assert bench.inboxes["r2"].connected == ["r3"]
    assert bench.send([99]) == [False]
    await asyncio.sleep(1)
    assert bench.numbers() == []
    assert "r1" in bench.inboxes["r2"].connected
    bench.send([100])
    await asyncio.sleep(1)
    assert bench.numbers() == [100]


@on
async def test_a_cut_lasts_until_it_is_healed(bench):
    bench.network.cut("r1", "r2")
    await asyncio.sleep(10)
    assert bench.send([1]) == [False]
    bench.network.heal(latency=0.1)
    await asyncio.sleep(1)
    assert bench.send([2]) == [True]


@on
async def test_a_muted_direction_swallows_and_the_other_does_not(bench):
    bench.network.mute("r1", "r2")
    assert bench.send([1]) == [True]
    bench.send([2], "r2", "r1")
    await asyncio.sleep(1)
    assert bench.numbers("r2") == []
    assert bench.numbers("r1") == [2]


@on
async def test_a_stalled_replica_sends_late_and_in_order(bench):
    bench.network.stall("r1", 5.0)
    bench.send(range(5))
    await asyncio.sleep(4.9)
    assert bench.numbers() == []
    await asyncio.sleep(0.5)
    assert bench.numbers() == list(range(5))


@on
async def test_an_ambush_strikes_in_the_middle(bench):
    struck = []
    bench.network.ambush(3, lambda source, target: struck.append(len(bench.numbers(target))))
    bench.send(range(10))
    await asyncio.sleep(1)
    assert struck == [3]


@on
async def test_who_is_down_gets_nothing_from_before(bench):
    bench.send([1])
    bench.network.detach("r2")
    inbox = Inbox()
    bench.network.attach("r2", inbox)
    await asyncio.sleep(1)
    assert inbox.received == []
    assert sorted(inbox.connected) == ["r1", "r3"]


@on
async def test_who_is_paused_takes_what_has_come_when_it_wakes_in_order(bench):
    bench.network.hold("r2")
    bench.send(range(3))
    await asyncio.sleep(1)
    bench.network.reset("r1", "r2")
    await asyncio.sleep(1)
    assert (bench.numbers(), sorted(bench.inboxes["r2"].connected)) == ([], ["r1", "r3"])
    bench.network.release("r2")
    assert bench.numbers() == [0, 1, 2]
    assert bench.inboxes["r2"].connected == ["r3", "r1"], "the connection broke and came back"


def test_datagrams_are_lost_repeated_late_and_overtake_but_never_reach_a_later_process():
    async def main():
        bench = await Bench(datagrams=True).connected()
        bench.send(range(1000))
        await asyncio.sleep(0.5)
        bench.network.reset("r1", "r2")
        await asyncio.sleep(0.1)
        before = len(bench.numbers())
        await asyncio.sleep(1)
        numbers = bench.numbers()
        assert len(numbers) > before, "some come late, on another connection"
        assert len(set(numbers)) < 1000, "some are lost"
        assert len(numbers) > len(set(numbers)), "some come twice"
        assert numbers != sorted(numbers)
        bench.send(range(1000, 2000))
        bench.network.detach("r2")
        later = Inbox()
        bench.network.attach("r2", later)
        await asyncio.sleep(2)
        assert later.received == []

    run_virtual(main)


# --- disks -----------------------------------------------------------------------------------


def test_a_crash_keeps_what_was_synced_and_at_most_some_first_bytes_of_the_rest():
    kept = set()
    for seed in range(50):
        disk = SimDisk(random.Random(seed))
        file = disk.create("a", preallocate_bytes=100)
        file.append(b"synced")
        file.sync()
        file.append(b"not synced")
        disk.crash()
        content = disk.read("a").rstrip(b"\0")
        assert content.startswith(b"synced")
        assert b"syncednot synced".startswith(content)
        assert len(disk.read("a")) == 100
        kept.add(len(content))
    assert {6, 16} < kept


def test_a_failing_disk_fails_until_the_power_was_lost():
    synced = []
    disk = SimDisk(random.Random(0), on_sync=lambda: synced.append(1))
    file = disk.create("a", preallocate_bytes=0)
    disk.is_failing = True
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            file.sync()
    disk.crash()
    file.sync()
    assert len(synced) == 1


def test_reopening_forgets_what_is_behind_the_given_size():
    disk = SimDisk(random.Random(0))
    disk.create("a", preallocate_bytes=0).append(b"0123456789")
    disk.reopen("a", size_bytes=4, preallocate_bytes=8).append(b"x")
    assert disk.read("a") == b"0123x\0\0\0"
    disk.reopen("a", size_bytes=7, preallocate_bytes=8).append(b"y")
    assert disk.read("a") == b"0123x\0\0y"
