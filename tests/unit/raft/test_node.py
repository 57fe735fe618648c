"""The driver: what is fatal is fatal at once, and a replica that was stalled does not disturb the others."""

from __future__ import annotations

import asyncio
import random

import pytest

from h9s._pb import log_pb2
from h9s.clock import LoopClock
from h9s.raft.errors import JournalError
from h9s.raft.journal import Journal
from h9s.raft.link_protocol import LinkHandler
from h9s.raft.node import RaftNode
from h9s.raft.versions import PeerHello
from h9s.sim.disk import SimDisk
from tests.unit.raft.harness import SETTINGS, ack, append, membership_of, request_vote, virtual, vote


class FakeLinks:
    """Remembers what was sent."""

    def __init__(self):
        self.sent: list[tuple[str, log_pb2.PeerMessage]] = []
        self.handler: LinkHandler

    def start(self, handler):
        self.handler = handler

    def set_peers(self, addresses):
        self.peers = dict(addresses)

    def send(self, replica_id, data):
        self.sent.append((replica_id, log_pb2.PeerMessage.FromString(data)))
        return True


class Driven:
    """The node r1, its disk and its links; the test plays the other replicas."""

    def __init__(self, *, members=("r1", "r2", "r3"), seed=1):
        loop = asyncio.get_running_loop()
        self.disk = SimDisk(random.Random(0))
        self.links = FakeLinks()
        self.applied: list[tuple[int, bytes]] = []
        self.fatal: list[BaseException] = []
        self.roles: list[str] = []
        self.on_role_change = lambda role: self.roles.append(role.role)
        self.node = RaftNode(
            replica_id="r1",
            membership=membership_of(members),
            journal=Journal(self.disk, identity="test/r1"),
            links=self.links,
            machine=self,
            clock=LoopClock(loop),
            rng=random.Random(seed),
            settings=SETTINGS,
            loop=loop,
            on_role_change=lambda role: self.on_role_change(role),
            on_fatal=self.fatal.append,
        )
        self.node.start()
        for name in members[1:]:
            self.node.link_connected(name, PeerHello())

    def apply(self, index, command):
        self.applied.append((index, command))

    def snapshot_is_needed_by(self, name):
        raise AssertionError("nothing was dropped from the log")

    def receive(self, name, message, *, term=None):
        message.term = self.node.engine.term if term is None else term
        self.node.link_received(name, message.SerializeToString())

    async def stand(self):
        """Wait until it stands for election, with r2's consent."""
        while self.node.engine.role != "candidate":
            await asyncio.sleep(0.05)
            self.consent("r2")

    def consent(self, name):
        """Answer the pre-vote requests so far."""
        for receiver, message in self.links.sent:
            if receiver == name and message.HasField("pre_vote_request"):
                granted = log_pb2.PreVoteGranted(round=message.pre_vote_request.round)
                self.receive(name, log_pb2.PeerMessage(pre_vote_granted=granted))

    async def lead(self):
        await self.stand()
        self.receive("r2", vote())
        self.receive("r2", ack(3, sequence=1))
        await asyncio.sleep(0.01)
        assert self.node.role.ready

    async def is_silent(self):
        """Whether nothing happens any more, whatever comes."""
        self.links.sent.clear()
        applied = list(self.applied)
        self.receive("r2", request_vote(last_index=99, last_term=99), term=99)
        self.receive("r2", append(99), term=99)
        self.node.propose(b"x")
        await asyncio.sleep(10)
        return not self.links.sent and self.applied == applied


@virtual
async def test_a_failing_disk_ends_the_replica_with_nothing_acknowledged_and_nothing_sent_after():
    driven = Driven()
    driven.disk.is_failing = True
    driven.receive("r2", append(1), term=1)
    assert [type(error) for error in driven.fatal] == [JournalError]
    assert driven.links.sent == []
    assert await driven.is_silent()
    assert len(driven.fatal) == 1


@virtual
async def test_a_disk_that_fails_a_leader_ends_it_before_it_applies():
    driven = Driven()
    await driven.lead()
    driven.disk.is_failing = True
    driven.node.propose(b"a")
    await asyncio.sleep(0)
    driven.receive("r2", ack(4, sequence=2))
    await asyncio.sleep(1)
    assert [type(error) for error in driven.fatal] == [JournalError]
    assert driven.applied == []
    assert await driven.is_silent()


@virtual
async def test_a_leader_syncs_what_it_proposed_without_waiting_for_answers():
    """While the followers write theirs."""
    driven = Driven()
    await driven.lead()
    before = driven.disk.syncs
    driven.node.propose(b"a")
    await asyncio.sleep(0.001)
    assert driven.disk.syncs == before + 1


@virtual
async def test_an_exception_while_applying_ends_the_replica_and_is_not_tried_again():
    driven = Driven()
    await driven.lead()
    calls = []

    def explode(index, command):
        calls.append(index)
        raise RuntimeError("cannot apply")

    driven.apply = explode  # type: ignore[method-assign]
    driven.node.propose(b"a")
    await asyncio.sleep(0)
    driven.receive("r2", ack(4, sequence=2))
    await asyncio.sleep(5)
    assert calls == [3]
    assert [str(error) for error in driven.fatal] == ["cannot apply"]
    assert await driven.is_silent()


@virtual
async def test_whoever_fails_when_the_role_changes_ends_the_replica():
    """Or it would live on without its timer."""
    driven = Driven()

    def explode(role):
        raise RuntimeError("cannot follow")

    driven.on_role_change = explode
    driven.receive("r2", append(), term=1)
    await asyncio.sleep(0.1)
    assert [str(error) for error in driven.fatal] == ["cannot follow"]
    assert await driven.is_silent()


@virtual
async def test_a_stopped_replica_sends_nothing():
    driven = Driven()
    await driven.lead()
    driven.receive("r2", log_pb2.PeerMessage(read_index_request=log_pb2.ReadIndexRequest(request=1)))
    driven.node.stop()
    assert await driven.is_silent()


@virtual
async def test_a_stopped_replica_does_not_send_the_answer_that_it_had_begun():
    driven = Driven()
    driven.receive("r2", log_pb2.PeerMessage(read_index_request=log_pb2.ReadIndexRequest(request=1)))
    driven.node.stop()
    await asyncio.sleep(1)
    assert driven.links.sent == []


@virtual
async def test_a_lone_replica_elects_itself_and_commits():
    driven = Driven(members=("r1",))
    while not driven.node.role.ready:
        await asyncio.sleep(0.1)
    driven.node.propose(b"a")
    driven.node.propose(b"b")
    await asyncio.sleep(0.001)
    assert driven.applied == [(3, b"a"), (4, b"b")]
    driven.disk.crash()
    assert len(Journal(driven.disk, identity="test/r1")) == 4


def stall(seconds):
    """The process gets no time; its clock goes on."""
    asyncio.get_running_loop()._now += seconds  # type: ignore[attr-defined]


@virtual
async def test_a_replica_that_was_stalled_gives_its_leader_another_chance():
    driven = Driven()
    driven.receive("r2", append(), term=1)
    await asyncio.sleep(0.05)
    stall(10)
    await asyncio.sleep(0.5)
    assert (driven.node.engine.leader_id, driven.node.engine.term) == ("r2", 1)
    assert not any(message.HasField("pre_vote_request") for _, message in driven.links.sent)
    await driven.stand()
    assert driven.node.engine.term > 1, "but not for ever"


@virtual
async def test_a_leader_that_was_stalled_does_not_lead_when_it_wakes():
    driven = Driven()
    await driven.lead()
    read = asyncio.ensure_future(driven.node.read_barrier(timeout=0.2))
    stall(10)
    await asyncio.sleep(0.01)
    assert not driven.node.role.ready
    with pytest.raises(Exception, match="leader"):
        await read


@virtual
async def test_what_was_proposed_when_leadership_is_lost_is_dropped():
    driven = Driven()
    await driven.lead()
    driven.node.propose(b"a")
    driven.receive("r3", log_pb2.PeerMessage(term_notice=log_pb2.TermNotice()), term=9)
    await asyncio.sleep(0.5)
    assert len(driven.node.journal) == 2
    assert "apply_command" not in {message.WhichOneof("body") for _, message in driven.links.sent}


@virtual
async def test_roles_are_reported_as_they_change():
    driven = Driven()
    await driven.lead()
    driven.receive("r3", append(), term=9)
    await asyncio.sleep(0.01)
    assert driven.roles == ["candidate", "leader", "follower"]


@virtual
async def test_a_leader_does_not_lead_before_an_entry_of_its_term_is_applied():
    driven = Driven()
    await driven.stand()
    driven.receive("r2", vote())
    await asyncio.sleep(0.01)
    assert (driven.node.role.role, driven.node.role.ready) == ("leader", False)
    driven.receive("r3", ack(3, sequence=1))
    await asyncio.sleep(0.01)
    assert driven.node.role.ready
