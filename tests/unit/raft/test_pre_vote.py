"""Who may stand for election: nobody without a majority's consent, and nobody while a leader is heard."""

from __future__ import annotations

import asyncio

from h9s._pb import log_pb2
from h9s.clock import LoopClock
from tests.unit.raft.harness import SETTINGS, append, virtual
from tests.unit.raft.test_node import Driven


def pre_vote(*, round_number=1, last_index=1, last_term=0):
    request = log_pb2.PreVoteRequest(round=round_number, last_log_index=last_index, last_log_term=last_term)
    return log_pb2.PeerMessage(pre_vote_request=request)


def granted(driven, name):
    """The rounds for which `name` got this replica's consent."""
    return [
        message.pre_vote_granted.round
        for receiver, message in driven.links.sent
        if receiver == name and message.HasField("pre_vote_granted")
    ]


@virtual
async def test_without_consent_the_term_is_never_raised():
    driven = Driven()
    await asyncio.sleep(20 * SETTINGS.election_timeout_max)
    assert driven.node.engine.term == 0
    assert driven.node.role.role == "follower"


@virtual
async def test_nor_where_its_time_comes_in_the_middle_of_a_tick(monkeypatch):
    passed = iter(range(1_000_000))
    time = LoopClock.monotonic
    monkeypatch.setattr(LoopClock, "monotonic", lambda clock: time(clock) + 0.02 * next(passed))
    driven = Driven()
    await asyncio.sleep(20 * SETTINGS.election_timeout_max)
    assert driven.node.engine.term == 0


@virtual
async def test_of_five_replicas_two_others_have_to_consent():
    driven = Driven(members=("r1", "r2", "r3", "r4", "r5"))
    driven.receive("r5", append(), term=1)
    driven.node.link_disconnected("r5")
    await asyncio.sleep(0.01)
    for _ in range(2):
        driven.consent("r2")
        await asyncio.sleep(0.001)
        assert driven.node.engine.role == "follower", "r2 has one voice"
    driven.consent("r3")
    await asyncio.sleep(0.001)
    assert driven.node.engine.role == "candidate"


@virtual
async def test_a_late_consent_to_an_earlier_round_does_not_count():
    driven = Driven()
    await asyncio.sleep(2 * SETTINGS.election_timeout_max + 0.1)
    rounds = [m.pre_vote_request.round for _, m in driven.links.sent if m.HasField("pre_vote_request")]
    assert rounds[-1] > rounds[0]
    old = log_pb2.PreVoteGranted(round=rounds[0])
    driven.receive("r2", log_pb2.PeerMessage(pre_vote_granted=old))
    await asyncio.sleep(0.01)
    assert driven.node.engine.term == 0


@virtual
async def test_a_replica_that_hears_its_leader_consents_to_nobody():
    driven = Driven()
    driven.receive("r2", append(), term=1)
    driven.receive("r3", pre_vote(last_index=99, last_term=9), term=1)
    assert granted(driven, "r3") == []
    await asyncio.sleep(SETTINGS.election_timeout_min + 0.01)
    driven.receive("r3", pre_vote(round_number=2, last_index=99, last_term=9), term=1)
    assert granted(driven, "r3") == [2]


@virtual
async def test_a_replica_that_lost_its_connection_to_the_leader_consents_at_once():
    driven = Driven()
    driven.receive("r2", append(), term=1)
    driven.node.link_disconnected("r2")
    driven.receive("r3", pre_vote(last_index=99, last_term=9), term=1)
    assert granted(driven, "r3") == [1]


@virtual
async def test_a_replica_whose_log_is_behind_gets_no_consent():
    driven = Driven()
    driven.receive("r2", append(1, 1), term=1)
    driven.node.link_disconnected("r2")
    driven.receive("r3", pre_vote(last_index=2, last_term=1), term=1)
    assert granted(driven, "r3") == []


@virtual
async def test_a_leader_consents_to_nobody():
    driven = Driven()
    await driven.lead()
    driven.receive("r3", pre_vote(last_index=99, last_term=99))
    assert granted(driven, "r3") == []
    assert driven.node.role.ready


@virtual
async def test_whoever_asks_in_an_older_term_is_told_the_newer_one():
    driven = Driven()
    driven.receive("r2", append(), term=5)
    driven.receive("r3", pre_vote(), term=3)
    notices = [m.term for name, m in driven.links.sent if name == "r3" and m.HasField("term_notice")]
    assert notices == [5]


@virtual
async def test_a_broken_connection_to_the_leader_starts_the_election_without_a_timeout():
    driven = Driven()
    driven.receive("r3", append(), term=1)
    driven.node.link_disconnected("r3")
    await asyncio.sleep(0.01)
    driven.consent("r2")
    await asyncio.sleep(0.001)
    assert driven.node.engine.role == "candidate"
    assert asyncio.get_running_loop().time() < SETTINGS.election_timeout_min / 10


@virtual
async def test_a_broken_connection_to_another_follower_changes_nothing():
    driven = Driven()
    driven.receive("r3", append(), term=1)
    driven.node.link_disconnected("r2")
    await asyncio.sleep(SETTINGS.election_timeout_min / 2)
    assert not any(message.HasField("pre_vote_request") for _, message in driven.links.sent)


@virtual
async def test_a_leader_that_hands_over_names_a_follower_that_has_everything():
    driven = Driven()
    await driven.lead()
    leaving = asyncio.get_running_loop().create_task(driven.node.hand_over.run(timeout=1))
    await asyncio.sleep(0.01)
    named = [name for name, message in driven.links.sent if message.HasField("timeout_now")]
    assert named == ["r2"]
    driven.receive("r2", append(), term=driven.node.engine.term + 1)
    await leaving


@virtual
async def test_the_follower_that_is_named_stands_at_once_and_only_the_leader_can_name_it():
    driven = Driven()
    driven.receive("r3", append(), term=1)
    driven.receive("r2", log_pb2.PeerMessage(timeout_now=log_pb2.TimeoutNow()), term=1)
    await asyncio.sleep(0.01)
    assert driven.node.engine.role == "follower"
    driven.receive("r3", log_pb2.PeerMessage(timeout_now=log_pb2.TimeoutNow()), term=1)
    await asyncio.sleep(0.01)
    assert (driven.node.engine.role, driven.node.engine.term) == ("candidate", 2)
