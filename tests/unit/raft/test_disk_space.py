"""A disk that is nearly full: what adds data is refused, everything else goes on."""

from __future__ import annotations

import asyncio

import pytest

from h9s._pb import api_pb2, log_pb2
from h9s.errors import DiskFullError
from h9s.raft.disk_space import DiskSpace, adds_data
from h9s.store.state_machine import StateMachine
from tests.unit.raft.harness import virtual
from tests.unit.raft.test_replicated_store import Cluster

KEY = "/sim/Item//a"


def put(value, key=KEY):
    return log_pb2.Transaction(mutations=[log_pb2.Mutation(key=key, value=value)])


class Disk:
    """A disk with so much free, and a clock that the test moves."""

    def __init__(self, free):
        self.free = free
        self.now = 0.0
        self.space = DiskSpace(free_bytes=lambda: self.free, reserve_bytes=1000, monotonic=lambda: self.now)

    def becomes(self, free, *, after=1.0):
        self.free = free
        self.now += after
        self.space.look()
        return self.space.is_short


def test_space_is_short_below_the_reserve_until_a_quarter_more_is_free():
    disk = Disk(1000)
    assert not disk.space.is_short
    assert disk.becomes(999)
    assert disk.becomes(1249)
    assert not disk.becomes(1250)
    assert not disk.becomes(1000)


def test_it_is_measured_at_most_once_a_second():
    disk = Disk(5000)
    assert not disk.becomes(10, after=0.9)
    assert disk.becomes(10, after=0.1)


def test_a_disk_that_cannot_be_measured_is_taken_for_full():
    def fail():
        raise OSError("gone")

    assert DiskSpace(free_bytes=fail, reserve_bytes=1, monotonic=lambda: 0.0).is_short


@pytest.mark.parametrize(
    ("mutations", "expected"),
    [
        ([("b", b"new")], True),
        ([("a", b"x" * 100)], False),
        ([("a", b"x" * 700)], True),
        ([("a", None)], False),
        ([("a", None), ("b", b"new")], True),
        ([], False),
    ],
)
def test_what_adds_data(mutations, expected):
    machine = StateMachine()
    machine.apply(log_pb2.LogEntry(transactions=[put(b"x" * 100)]))
    transaction = log_pb2.Transaction(
        mutations=[log_pb2.Mutation(key=f"/sim/Item//{name}", value=value) for name, value in mutations]
    )
    assert adds_data(transaction, machine.view()) is expected


@virtual
async def test_a_leader_whose_disk_is_nearly_full_takes_deletes_and_answers_what_it_did_before():
    cluster = await Cluster().start_all()
    leader = cluster.leader
    disk = Disk(5000)
    leader._disk = disk.space
    write = put(b"v")
    write.request_id.CopyFrom(api_pb2.RequestId(nonce=bytes(16), issued_at_ms=1_700_000_000_000))
    first = await leader.propose(write, timeout=5)
    disk.becomes(10)
    with pytest.raises(DiskFullError, match=r"disk of replica .* nearly full"):
        await leader.propose(put(b"v", "/sim/Item//b"), timeout=5)
    retried = await leader.propose(write, timeout=5)
    assert (retried.revision, retried.replayed) == (first.revision, True)
    deleted = log_pb2.Transaction(mutations=[log_pb2.Mutation(key=KEY)])
    assert (await leader.propose(deleted, timeout=5)).revision == 2
    assert leader.status().usage.disk_is_short
    disk.becomes(5000)
    await leader.propose(put(b"v", "/sim/Item//b"), timeout=5)
    await asyncio.sleep(0)
