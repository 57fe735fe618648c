"""Memory lets go of what the archive has, and an archive that fails costs nothing but old revisions."""

from __future__ import annotations

import errno
import logging

import pytest

from h9s.errors import HistoryNotHeldError
from h9s.raft.archiving import Archiving, HistorySettings
from h9s.raft.errors import ArchiveDamagedError
from h9s.store.model import ALL_KEYS
from h9s.store.state_machine import StateMachine
from h9s.testing.memory_archive import MemoryArchive
from tests.unit.store.test_state_machine import KEYS, apply, entry, put

START = 1_700_000_000


class SteppedClock:
    def __init__(self) -> None:
        self.now = float(START)

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


class World:
    def __init__(self, *, archived_everywhere=True, **settings) -> None:
        self.clock = SteppedClock()
        self.machine = StateMachine()
        self.files = MemoryArchive()
        self.settings = HistorySettings(**{"batch_min_bytes": 1, **settings})
        self.archived_everywhere = archived_everywhere
        self.opened = 0
        self.archiving = self.start()

    def start(self):
        async def run_off_loop(work):
            return work()

        return Archiving(
            machine=self.machine,
            open_archive=self.open,
            all_archive=lambda: self.archived_everywhere,
            run_off_loop=run_off_loop,
            clock=self.clock,
            settings=self.settings,
        )

    def open(self):
        self.opened += 1
        return self.files

    def write(self, count, *, size=100):
        for _ in range(count):
            apply(self.machine, put(KEYS[0], bytes(size)), time_ms=int(self.clock.now * 1000))

    @property
    def recent(self):
        return self.machine.history.recent_revision


async def test_memory_keeps_little_and_the_archive_has_the_rest():
    world = World(recent_max_bytes=5000)
    world.write(100)
    await world.archiving.run()
    assert world.files.last_revision == 100
    assert 85 < world.recent < 95
    assert world.machine.history.size_bytes <= 5000
    assert len(world.archiving.past.records(ALL_KEYS, after=0)) == 100
    assert world.archiving.first_revision == 0


async def test_what_is_old_leaves_the_memory_also_where_it_is_little():
    world = World(recent_max_age=60.0)
    world.write(10)
    world.clock.now += 61
    world.write(5)
    await world.archiving.run()
    assert world.recent == 10


async def test_little_is_archived_only_when_it_has_waited():
    world = World(batch_min_bytes=1 << 20, batch_max_age=60.0, recent_max_bytes=0)
    world.write(10)
    await world.archiving.run()
    assert (world.files.last_revision, world.recent) == (0, 0)
    world.clock.now += 61
    await world.archiving.run()
    assert (world.files.last_revision, world.recent) == (10, 10)


async def test_nothing_leaves_the_memory_before_the_archive_has_it(monkeypatch, caplog):
    def fail(records):
        raise OSError(errno.ENOSPC, "no space left")

    world = World(recent_max_bytes=10_000)
    monkeypatch.setattr(world.files, "append", fail)
    world.write(30)
    with caplog.at_level(logging.WARNING):
        await world.archiving.run()
        await world.archiving.run()
    assert (world.recent, world.files.last_revision) == (0, 0)
    assert caplog.text.count("cannot be written") == 1
    world.write(30)
    await world.archiving.run()
    assert world.machine.history.size_bytes <= 20_000
    assert 0 < world.recent == world.archiving.first_revision
    with pytest.raises(HistoryNotHeldError):
        world.archiving.past.view(1, ALL_KEYS)
    monkeypatch.undo()
    world.write(1)
    await world.archiving.run()
    first = world.archiving.first_revision
    assert world.files.first_revision == first > 0
    assert len(world.archiving.past.records(ALL_KEYS, after=first)) == 61 - first


async def test_a_damaged_archive_is_set_aside_and_another_one_begun(caplog):
    world = World(recent_max_bytes=2000)
    world.write(20)
    await world.archiving.run()
    old, world.files = world.files, MemoryArchive()
    old.is_damaged = True
    world.write(1)
    with caplog.at_level(logging.WARNING):
        await world.archiving.run()
    assert "damaged" in caplog.text
    assert world.archiving.archive is world.files
    assert world.files.last_revision == 21
    assert world.archiving.first_revision == world.files.first_revision > 0


async def test_damage_that_shows_while_writing_is_no_ones_end(monkeypatch):
    def fail(records):
        raise ArchiveDamagedError("malformed")

    world = World(recent_max_bytes=2000)
    monkeypatch.setattr(world.files, "append", fail)
    world.write(20)
    await world.archiving.run()
    assert world.archiving.archive is None
    monkeypatch.undo()
    await world.archiving.run()
    assert world.files.last_revision == 20


async def test_an_archive_that_cannot_be_opened_is_tried_again_later(monkeypatch):
    world = World(recent_max_bytes=2000)
    opens = world.open
    monkeypatch.setattr(world, "open", lambda: (_ for _ in ()).throw(OSError("no such device")))
    world.archiving = world.start()
    world.write(20)
    await world.archiving.run()
    assert world.archiving.archive is None
    assert world.machine.history.size_bytes <= 4000
    monkeypatch.setattr(world, "open", opens)
    world.archiving._open_archive = opens
    await world.archiving.run()
    assert world.archiving.archive is None
    world.clock.now += 61
    await world.archiving.run()
    assert world.archiving.archive is world.files


async def test_after_a_restart_the_log_brings_back_what_the_archive_lets_go():
    world = World(recent_max_bytes=0)
    world.write(10)
    await world.archiving.run()
    snapshot = world.machine.capture()
    world.write(10)
    await world.archiving.run()
    assert world.files.last_revision == 20
    world.machine.restore(snapshot)
    world.archiving = world.start()
    assert len(world.archiving.past.records(ALL_KEYS, after=0)) == 10
    await world.archiving.run()
    assert world.files.last_revision == 10
    world.write(10)
    await world.archiving.run()
    assert len(world.archiving.past.records(ALL_KEYS, after=0)) == 20


async def test_a_snapshot_of_the_leaders_ahead_of_the_archive_makes_it_begin_anew():
    world, leader = World(recent_max_bytes=0), World(recent_max_bytes=1500)
    world.write(10)
    await world.archiving.run()
    leader.write(40)
    await leader.archiving.run()
    world.machine.restore(leader.machine.capture())
    floor = leader.recent
    assert world.archiving.first_revision == floor > 10
    with pytest.raises(HistoryNotHeldError):
        world.archiving.past.view(5, ALL_KEYS)
    world.write(1)
    await world.archiving.run()
    assert world.files.first_revision == world.archiving.first_revision == floor


async def test_the_floor_follows_the_age_into_the_archive():
    world = World(max_age=3600.0, recent_max_bytes=0)
    for _ in range(4):
        world.write(10)
        world.clock.now += 1000
        await world.archiving.run()
    assert world.archiving.horizon() == 10
    world.machine.apply(entry(compact_revision=10, time_ms=int(world.clock.now * 1000)))
    await world.archiving.run()
    assert world.files.first_revision == world.archiving.first_revision == 10


async def test_the_floor_follows_the_size():
    world = World(max_bytes=10_000, recent_max_bytes=0)
    world.write(80, size=100)
    await world.archiving.run()
    assert world.archiving.horizon() == 0
    world.write(40, size=100)
    await world.archiving.run()
    assert world.archiving.horizon() == 120 // 8


async def test_as_long_as_some_replica_has_no_archive_less_is_kept():
    world = World(archived_everywhere=False, unarchived_max_age=100.0, max_age=1000.0)
    world.write(10)
    world.clock.now += 101
    world.write(1)
    await world.archiving.run()
    assert world.archiving.horizon() == 10
    world.archived_everywhere = True
    await world.archiving.run()
    assert world.archiving.horizon() == 0


async def test_an_archive_that_shows_its_damage_at_the_start_is_set_aside(caplog):
    world = World(recent_max_bytes=0)
    world.write(10)
    await world.archiving.run()
    broken, world.files = world.files, MemoryArchive()
    opened = iter((broken, world.files))
    world.machine.history.release(10)

    def fail(revision):
        raise ArchiveDamagedError("malformed")

    broken.cut_after = fail  # type: ignore[method-assign]
    world.open = lambda: next(opened)  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING):
        world.archiving = world.start()
        await world.archiving.run()
    assert "damaged" in caplog.text
    assert broken.last_revision == 0
    assert world.archiving.archive is None
    await world.archiving.run()
    assert world.archiving.archive is world.files


async def test_an_archive_is_bounded_even_if_the_leader_forgets_nothing():
    world = World(max_bytes=10_000, recent_max_bytes=0)
    for _ in range(10):
        world.write(50, size=100)
        await world.archiving.run()
    assert world.files.size_bytes <= 12_500
    assert world.archiving.first_revision > world.machine.history.compact_revision == 0
    with pytest.raises(HistoryNotHeldError):
        world.archiving.past.view(1, ALL_KEYS)
