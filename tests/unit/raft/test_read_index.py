"""Linearizable reads: from which index on the state shows everything acknowledged before the question."""

from __future__ import annotations

import asyncio
import random

import pytest

from h9s._pb import log_pb2
from h9s.errors import TimeoutExpiredError, UnavailableError
from h9s.raft.read_index import ReadIndex
from h9s.sim.replicas import SimReplicas
from h9s.testing.virtual_loop import VirtualTimeLoop
from tests.unit.raft.harness import Replica, ack, append, virtual
from tests.unit.raft.test_node import Driven

FIVE = ("r1", "r2", "r3", "r4", "r5")
ROUND_SECONDS = 2.0


class Reader:
    """The replica r1 and its ReadIndex."""

    def __init__(self, *, members=("r1", "r2", "r3")):
        self.loop = VirtualTimeLoop()
        self.replica = Replica(members=members)
        self.read_index = ReadIndex(
            engine=self.replica.engine,
            guard=self.replica.guard,
            send=self.replica._send,
            monotonic=lambda: self.replica.now,
            create_future=self.loop.create_future,
            round_timeout=ROUND_SECONDS,
        )

    def tick(self, *, after=0.0):
        self.replica.tick(after=after)
        self.read_index.advance()

    def lead(self):
        """Lead, with the entry that opens the term applied: index 2."""
        self.replica.lead()
        for name in ("r2", "r3"):
            self.acknowledge(name, 3)
        self.tick()
        self.replica.sent()

    def acknowledge(self, name, next_index, *, sequence=None):
        sequence = self.replica.guard.last_sequence(name) if sequence is None else sequence
        self.replica.receive(name, ack(next_index, sequence=sequence))

    def run_callbacks(self):
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


@pytest.fixture
def reader():
    made = []

    def make(**kwargs):
        made.append(Reader(**kwargs))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()


def test_no_read_is_served_before_an_entry_of_the_leaders_own_term_is_applied(reader):
    r1 = reader()
    r1.replica.lead()
    waiter = r1.read_index.request()
    r1.tick(after=0.2)
    for name in ("r2", "r3"):
        r1.acknowledge(name, 2)
    r1.tick()
    assert not waiter.done(), "an older leader may have acknowledged more than is known here to be committed"
    for name in ("r2", "r3"):
        r1.acknowledge(name, 3)
    r1.tick()
    for name in ("r2", "r3"):
        r1.acknowledge(name, 3)
    r1.tick()
    assert waiter.result() == 2


def test_a_majority_has_to_answer_after_the_question(reader):
    r1 = reader()
    r1.lead()
    r1.tick(after=0.2)
    late = {name: r1.replica.guard.last_sequence(name) for name in ("r2", "r3")}
    waiter = r1.read_index.request()
    r1.tick()
    assert r1.replica.sent("r2", "append_entries"), "it asks at once"
    for name, sequence in late.items():
        r1.acknowledge(name, 3, sequence=sequence)
    r1.tick()
    assert not waiter.done(), "these answer a heartbeat from before"
    r1.acknowledge("r2", 3)
    r1.tick()
    assert waiter.result() == 2


def test_of_five_replicas_two_others_have_to_answer(reader):
    r1 = reader(members=FIVE)
    r1.lead()
    waiter = r1.read_index.request()
    r1.tick()
    r1.acknowledge("r2", 3)
    r1.tick()
    assert not waiter.done()
    r1.acknowledge("r3", 3)
    r1.tick()
    assert waiter.done()


def test_what_a_disconnected_member_answered_before_does_not_count(reader):
    r1 = reader()
    r1.lead()
    for _ in range(10):
        r1.tick(after=0.2)
        for name in ("r2", "r3"):
            r1.acknowledge(name, 3)
    for name in ("r2", "r3"):
        r1.replica.guard.disconnected(name)
    waiter = r1.read_index.request()
    for _ in range(5):
        r1.tick(after=0.05)
    assert not waiter.done()


def test_answers_of_an_older_term_do_not_count(reader):
    r1 = reader()
    r1.lead()
    waiter = r1.read_index.request()
    r1.tick()
    for name in ("r2", "r3"):
        sequence = r1.replica.guard.last_sequence(name)
        r1.replica.receive(name, ack(3, sequence=sequence), term=r1.replica.engine.term - 1)
    r1.tick()
    assert not waiter.done()


def test_who_comes_during_a_round_waits_for_the_next(reader):
    """The index must be noted after the question."""
    r1 = reader()
    r1.lead()
    first = r1.read_index.request()
    r1.tick()
    second = r1.read_index.request()
    r1.acknowledge("r2", 3)
    r1.tick()
    assert first.done()
    assert not second.done()
    r1.acknowledge("r2", 3)
    r1.tick()
    assert second.done()


def test_many_readers_share_a_round(reader):
    r1 = reader()
    r1.lead()
    waiters = [r1.read_index.request() for _ in range(50)]
    r1.tick()
    assert len(r1.replica.sent("r2", "append_entries")) == 1
    r1.acknowledge("r3", 3)
    r1.tick()
    assert [waiter.result() for waiter in waiters] == [2] * 50


def test_the_index_covers_what_was_committed_before_the_question(reader):
    r1 = reader()
    r1.lead()
    r1.replica.propose(b"a")
    r1.acknowledge("r2", 4)
    r1.tick()
    waiter = r1.read_index.request()
    r1.tick()
    r1.acknowledge("r2", 4)
    r1.tick()
    assert waiter.result() == 3


def test_a_leader_that_is_deposed_in_the_middle_serves_nothing(reader):
    r1 = reader()
    r1.lead()
    waiter = r1.read_index.request()
    r1.tick()
    sequence = r1.replica.guard.last_sequence("r2")
    r1.replica.receive("r3", append(), term=9)
    r1.replica.receive("r2", ack(3, sequence=sequence), term=2)
    r1.tick()
    assert not waiter.done()
    assert r1.replica.sent("r3", "read_index_request"), "the new leader is asked instead"


def test_alone_in_its_cluster_a_replica_needs_nobody(reader):
    r1 = reader(members=("r1",))
    r1.replica.lead_alone()
    r1.tick()
    waiter = r1.read_index.request()
    r1.tick()
    assert waiter.result() == 2


# --- followers -------------------------------------------------------------------------------


def respond(r1, request, read_index, *, name="r2"):
    r1.read_index.take_response(name, request, read_index)
    r1.tick()


def asked(r1, name="r2"):
    return [message.read_index_request.request for message in r1.replica.sent(name, "read_index_request")]


def test_a_follower_asks_the_leader(reader):
    r1 = reader()
    r1.replica.receive("r2", append(), term=1)
    waiter = r1.read_index.request()
    r1.tick()
    (request,) = asked(r1)
    respond(r1, request, 17, name="r3")
    respond(r1, request + 1, 18)
    assert not waiter.done()
    respond(r1, request, 19)
    assert waiter.result() == 19


def test_a_round_that_is_lost_is_tried_again(reader):
    r1 = reader()
    r1.replica.receive("r2", append(), term=1)
    waiter = r1.read_index.request()
    r1.tick()
    (lost,) = asked(r1)
    r1.replica.receive("r2", append(sequence=2), term=1)
    r1.tick(after=ROUND_SECONDS / 2)
    assert asked(r1) == []
    r1.replica.receive("r2", append(sequence=3), term=1)
    r1.tick(after=ROUND_SECONDS / 2)
    (again,) = asked(r1)
    respond(r1, lost, 5)
    assert not waiter.done(), (
        "the answer may be as old as the first question, which is fine, but it is not this one's"
    )
    respond(r1, again, 6)
    assert waiter.result() == 6


def test_a_follower_asks_the_new_leader_when_the_leader_changes(reader):
    r1 = reader()
    r1.replica.receive("r2", append(), term=1)
    waiter = r1.read_index.request()
    r1.tick()
    (request,) = asked(r1)
    r1.replica.receive("r3", append(), term=2)
    r1.tick()
    respond(r1, request, 5)
    assert not waiter.done()
    (request,) = asked(r1, "r3")
    respond(r1, request, 7, name="r3")
    assert waiter.result() == 7


def test_a_leader_that_could_not_confirm_is_asked_again(reader):
    r1 = reader()
    r1.replica.receive("r2", append(), term=1)
    waiter = r1.read_index.request()
    r1.tick()
    (request,) = asked(r1)
    respond(r1, request, 0)
    assert not waiter.done()
    assert asked(r1) == [request + 1]


def test_a_reader_that_gave_up_is_forgotten(reader):
    r1 = reader()
    waiter = r1.read_index.request()
    waiter.cancel()
    r1.tick()


def test_a_leader_answers_a_follower_after_a_majority_confirmed(reader):
    r1 = reader()
    r1.lead()
    r1.read_index.answer("r3", 42)
    r1.tick()
    r1.run_callbacks()
    assert r1.replica.sent("r3", "read_index_response") == []
    r1.acknowledge("r2", 3)
    r1.tick()
    r1.run_callbacks()
    (answer,) = r1.replica.sent("r3", "read_index_response")
    assert (answer.read_index_response.request, answer.read_index_response.read_index) == (42, 2)


def test_who_does_not_lead_says_so_at_once(reader):
    r1 = reader()
    r1.read_index.answer("r3", 42)
    r1.run_callbacks()
    (answer,) = r1.replica.sent("r3", "read_index_response")
    assert (answer.read_index_response.request, answer.read_index_response.read_index) == (42, 0)


def test_questions_and_answers_show_no_term_that_is_not_on_disk(reader):
    r1 = reader()
    r1.replica.receive("r2", log_pb2.PeerMessage(term_notice=log_pb2.TermNotice()), term=9)
    assert r1.replica.journal.hard_state_is_dirty
    r1.read_index.answer("r3", 42)
    r1.run_callbacks()
    (answer,) = r1.replica.sent("r3")
    assert answer.term == 0


# --- deadlines -------------------------------------------------------------------------------


async def cluster(*, replicas=3):
    names = [f"r{number}" for number in range(1, replicas + 1)]
    made = SimReplicas(names, rng=random.Random(1), loop=asyncio.get_running_loop(), latency=0.002)
    for name in names:
        await made.start(name)
    while not made.ready_leaders():
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    return made


@virtual
async def test_without_a_leader_a_read_is_unavailable():
    replicas = await cluster()
    leader, *others = replicas.ready_leaders() + [
        n for n in replicas.names if n not in replicas.ready_leaders()
    ]
    await replicas.crash(leader)
    await replicas.crash(others[0])
    with pytest.raises(UnavailableError, match="no leader"):
        await replicas.stores[others[1]].read_barrier(timeout=3)


@virtual
async def test_a_leader_that_cannot_confirm_in_time_is_a_timeout():
    replicas = await cluster()
    (leader,) = replicas.ready_leaders()
    for other in replicas.names:
        if other != leader:
            replicas.network.mute(leader, other)
    with pytest.raises(TimeoutExpiredError, match=f"leader {leader} could not confirm within 0.1 s"):
        await replicas.stores[leader].read_barrier(timeout=0.1)


@virtual
async def test_every_replica_serves_reads_while_all_is_well():
    replicas = await cluster(replicas=5)
    for name in replicas.names:
        await replicas.stores[name].read_barrier(timeout=1)
    assert replicas.failures == []


@virtual
async def test_an_answer_to_a_question_from_before_a_restart_is_no_answer():
    before, after = Driven(seed=1), Driven(seed=2)
    for driven in (before, after):
        driven.receive("r2", append(), term=1)
        reading = asyncio.ensure_future(driven.node.read_barrier(timeout=1))
        await asyncio.sleep(0.01)
    (asked,) = [
        m.read_index_request.request for _, m in before.links.sent if m.HasField("read_index_request")
    ]
    answer = log_pb2.ReadIndexResponse(request=asked, read_index=1)
    after.receive("r2", log_pb2.PeerMessage(read_index_response=answer))
    await asyncio.sleep(0.01)
    assert not reading.done()
    before.receive("r2", log_pb2.PeerMessage(read_index_response=answer))
    with pytest.raises(TimeoutExpiredError):
        await reading
