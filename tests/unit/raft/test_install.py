"""A follower that lacks dropped entries: what the leader sends, and what the follower makes of it."""

from __future__ import annotations

import random

import pytest

from h9s._pb import log_pb2
from h9s.raft.install import SnapshotInstaller
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.sim.disk import SimDisk
from h9s.store.snapshot import StateSnapshot, encode
from h9s.store.state_machine import StateMachine
from tests.unit.raft.harness import Replica, append, rejection
from tests.unit.store.test_state_machine import apply, put


class End:
    """A replica with its installer; `restored` is what took the place of its state."""

    def __init__(self, **kwargs):
        self.replica = Replica(**kwargs)
        self.files = SnapshotFiles(SimDisk(random.Random(0)), identity="test")
        self.restored: list[StateSnapshot] = []
        self.installer = SnapshotInstaller(
            engine=self.replica.engine,
            files=self.files,
            send=self.replica.guard._send,
            run_off_loop=self._run,
            restore=self.restored.append,
            membership=self.replica.membership,
            spawn=self._spawn,
            monotonic=lambda: self.replica.now,
            patience=1.0,
        )

    async def _run(self, work):
        return work()

    def _spawn(self, work):
        with pytest.raises(StopIteration):
            work.send(None)

    def taken(self, kind):
        return [getattr(message, kind) for message in self.replica.sent("r2", kind)]


def snapshot(files, *, index=30, term=1, objects=200):
    machine = StateMachine()
    for number in range(objects):
        apply(machine, put(f"/core/Pod/a/p{number}", bytes(10_000)))
    files.write(SnapshotInfo(index, term), encode(machine.capture()))
    return machine


@pytest.fixture
def leader():
    end = End(log=[1] * 40)
    snapshot(end.files)
    end.replica.journal.compact(30)
    end.replica.lead()
    return end


def test_a_leader_says_who_needs_a_snapshot_and_goes_on_sending_heartbeats(leader):
    replica = leader.replica
    replica.receive("r2", rejection(5))
    assert replica.lacking == ["r2"]
    replica.events.clear()
    replica.tick(after=0.2)
    (heartbeat,) = replica.sent("r2", "append_entries")
    assert heartbeat.append_entries.prev_log_index == 30
    assert not heartbeat.append_entries.entries


def test_a_snapshot_travels_part_by_part_as_the_follower_asks(leader):
    follower = End()
    leader.installer.needed_by("r2")
    parts = 0
    while sent := leader.taken("install_snapshot"):
        assert len(sent) == 1, "one part is under way at a time"
        parts += 1
        follower.installer.take_part("r2", sent[0])
        assert follower.installer.is_receiving == (not follower.restored)
        for ack in follower.taken("install_ack"):
            leader.installer.take_ack("r2", ack)
    assert parts > 5
    assert len(follower.restored) == 1
    assert follower.replica.engine.applied_index == 30
    assert follower.replica.journal[0].index == 30
    assert follower.files.latest() == SnapshotInfo(30, 1)
    assert leader.replica.engine.match_index("r2") == 30


def test_a_snapshot_is_not_acknowledged_before_it_is_on_disk(leader, monkeypatch):
    follower = End()
    said_before_storing = []
    store = follower.files.store

    def store_and_look(info, content):
        said_before_storing.extend(follower.taken("install_ack"))
        store(info, content)

    monkeypatch.setattr(follower.files, "store", store_and_look)
    leader.installer.needed_by("r2")
    said = []
    while sent := leader.taken("install_snapshot"):
        follower.installer.take_part("r2", sent[0])
        for ack in follower.taken("install_ack"):
            said.append(ack)
            leader.installer.take_ack("r2", ack)
    assert not any(ack.installed for ack in said_before_storing)
    assert [ack.installed for ack in said][-1:] == [True]


def test_a_transfer_goes_on_where_it_broke_off(leader):
    follower = End()
    leader.installer.needed_by("r2")
    for _ in range(3):
        (part,) = leader.taken("install_snapshot")
        follower.installer.take_part("r2", part)
        (ack,) = follower.taken("install_ack")
        leader.installer.take_ack("r2", ack)
    leader.taken("install_snapshot")
    leader.installer.disconnected("r2")
    leader.installer.needed_by("r2")
    (question,) = leader.taken("install_snapshot")
    follower.installer.take_part("r2", question)
    (ack,) = follower.taken("install_ack")
    assert ack.next_offset > 0


def test_an_older_snapshot_than_what_is_applied_changes_nothing():
    follower = End(log=[1] * 10)
    follower.replica.receive("r2", append(prev=11, prev_term=1, commit=11), term=1)
    follower.replica.tick()
    follower.replica.events.clear()
    old = log_pb2.InstallSnapshot(last_index=5, last_term=1, size_bytes=10, data=bytes(10))
    follower.installer.take_part("r2", old)
    (ack,) = follower.taken("install_ack")
    assert (ack.last_index, ack.installed) == (5, True)
    assert follower.restored == []
    assert follower.replica.engine.applied_index == 11


def test_a_follower_that_does_not_answer_is_asked_again(leader):
    leader.installer.needed_by("r2")
    leader.taken("install_snapshot")
    leader.installer.needed_by("r2")
    assert leader.taken("install_snapshot") == []
    leader.replica.now += 1.0
    leader.installer.needed_by("r2")
    assert len(leader.taken("install_snapshot")) == 1


def test_who_leads_no_more_keeps_no_snapshot_for_others(leader):
    leader.installer.needed_by("r2")
    leader.taken("install_snapshot")
    leader.installer.stop_sending()
    leader.installer.take_ack("r2", log_pb2.InstallAck(last_index=30))
    assert leader.taken("install_snapshot") == []
