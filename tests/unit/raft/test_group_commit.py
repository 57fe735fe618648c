"""Writers share log entries: those that come together, and never at the price of one that is alone."""

import asyncio

import pytest

from h9s._pb import log_pb2
from h9s.clock import LoopClock
from h9s.raft.group_commit import GroupCommit
from h9s.raft.replicated_store import StoreSettings
from h9s.store.model import Outcome

#: More than any wait for company takes.
MANY_TURNS = 50


class Proposals:
    """The entries that were proposed, and a way to have them applied."""

    def __init__(self, **limits):
        self.entries: list[log_pb2.LogEntry] = []
        self.groups = GroupCommit(
            proposer=7,
            propose=lambda data: self.entries.append(log_pb2.LogEntry.FromString(data)),
            refusal=lambda: None,
            limits=StoreSettings(**limits),
            clock=LoopClock(asyncio.get_running_loop(), epoch=1e9),
            loop=asyncio.get_running_loop(),
        )

    @property
    def sizes(self):
        return [len(entry.transactions) for entry in self.entries]

    def submit(self, count):
        return [
            self.groups.submit(log_pb2.Transaction(mutations=[log_pb2.Mutation(key=f"/a/B//{n}")]))
            for n in range(count)
        ]

    def apply_last(self):
        entry = self.entries[-1]
        self.groups.applied(entry, [Outcome(5)] * len(entry.transactions))


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def proposals():
    return Proposals()


async def test_nothing_is_proposed_for_those_who_gave_up_waiting(proposals):
    first = proposals.submit(1)
    await turns(1)
    waiting = proposals.submit(3)
    assert proposals.sizes == [1]
    waiting[0].cancel()
    waiting[2].cancel()
    proposals.apply_last()
    await turns(MANY_TURNS)
    assert first[0].result() == Outcome(5)
    assert [[mutation.key for mutation in one.mutations] for one in proposals.entries[-1].transactions] == [
        ["/a/B//1"]
    ]
    assert proposals.groups.pending_bytes == 0


async def test_an_entry_is_not_proposed_for_nobody(proposals):
    proposals.submit(1)
    await turns(1)
    for future in proposals.submit(3):
        future.cancel()
    proposals.apply_last()
    await turns(MANY_TURNS)
    assert proposals.sizes == [1]
    assert proposals.groups.pending == 0


async def test_a_writer_that_is_alone_does_not_wait(proposals):
    for number in range(1, 4):
        proposals.submit(1)
        await turns(1)
        assert proposals.sizes == [1] * number
        proposals.apply_last()


async def test_those_that_come_in_one_turn_share_an_entry(proposals):
    futures = proposals.submit(3)
    await turns(1)
    assert proposals.sizes == [3]
    proposals.apply_last()
    assert [future.result() for future in futures] == [Outcome(5)] * 3


async def test_after_a_shared_entry_the_next_waits_for_those_who_come_back_one_by_one(proposals):
    proposals.submit(3)
    await turns(1)
    proposals.apply_last()
    for _ in range(3):
        proposals.submit(1)
        await turns(2)
    assert proposals.sizes == [3]
    await turns(MANY_TURNS)
    assert proposals.sizes == [3, 3]


async def test_the_wait_ends_when_nobody_comes_and_does_not_come_again(proposals):
    proposals.submit(2)
    await turns(1)
    proposals.apply_last()
    proposals.submit(1)
    await turns(MANY_TURNS)
    assert proposals.sizes == [2, 1]
    proposals.apply_last()
    proposals.submit(1)
    await turns(1)
    assert proposals.sizes == [2, 1, 1]


async def test_a_stream_of_writers_does_not_postpone_the_entry_for_ever(proposals):
    proposals.submit(2)
    await turns(1)
    proposals.apply_last()
    for _ in range(1000):
        proposals.submit(1)
        await turns(1)
        if len(proposals.sizes) > 1:
            break
    assert 2 < proposals.sizes[1] < 1000


async def test_while_an_entry_is_under_way_only_a_full_one_follows(proposals):
    proposals.submit(1)
    await turns(1)
    proposals.submit(5)
    await turns(MANY_TURNS)
    assert proposals.sizes == [1]
    proposals.submit(200)
    await turns(MANY_TURNS)
    assert proposals.sizes == [1, 205]
