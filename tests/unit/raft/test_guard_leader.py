"""What a leader believes: answers of this term, from members, to what it sent last."""

from __future__ import annotations

import pytest

from h9s._pb import log_pb2
from h9s.raft.engine import member
from h9s.raft.errors import JournalError, SafetyError
from h9s.raft.settings import RaftSettings
from tests.unit.raft.harness import SYNC, Replica, ack, append, rejection, request_vote, vote

FIVE = ("r1", "r2", "r3", "r4", "r5")


def sequence_of(messages: list[log_pb2.PeerMessage]) -> int:
    return messages[-1].append_entries.sequence


def indexes(messages: list[log_pb2.PeerMessage]) -> list[int]:
    return [entry.index for message in messages for entry in message.append_entries.entries]


# --- elections -------------------------------------------------------------------------------


def test_a_member_has_one_vote():
    replica = Replica(members=FIVE)
    replica.stand()
    replica.receive("r2", vote())
    replica.receive("r2", vote())
    assert replica.engine.role == "candidate"
    replica.receive("r3", vote())
    assert replica.engine.is_leader


def test_a_member_has_a_vote_in_every_term():
    replica = Replica()
    replica.stand()
    replica.receive("r2", vote())
    replica.receive("r2", append(), term=5)
    replica.stand()
    replica.receive("r2", vote())
    assert replica.engine.is_leader


def test_a_vote_of_another_term_does_not_count():
    replica = Replica()
    earlier = replica.stand()
    term = replica.stand()
    for other in (earlier, term + 1):
        replica.receive("r2", vote(), term=other)
        assert replica.engine.role == "candidate"
    replica.receive("r2", vote(), term=term)
    assert replica.engine.is_leader, "nor does it take the place of the right one"


def test_a_strangers_vote_does_not_count():
    replica = Replica()
    replica.stand()
    replica.receive("r9", vote())
    assert replica.engine.role == "candidate"


def test_two_leaders_of_one_term_are_never_accepted():
    replica = Replica()
    term = replica.lead()
    with pytest.raises(SafetyError, match="leads term"):
        replica.receive("r2", append(), term=term)


@pytest.mark.parametrize("kind", ["term_notice", "append_ack"])
def test_a_leader_that_hears_of_a_later_term_steps_down(kind):
    replica = Replica()
    replica.lead()
    message = log_pb2.PeerMessage()
    getattr(message, kind).SetInParent()
    replica.receive("r2", message, term=12)
    assert (replica.engine.role, replica.engine.term, replica.engine.leader_id) == ("follower", 12, "")


def test_a_deposed_leader_is_told_and_steps_down():
    """Of two replicas, the one left behind: nobody else tells it."""
    ahead, behind = Replica(log=[7]), Replica()
    behind.lead()
    ahead.receive("r1", append(), term=behind.engine.term)
    (notice,) = ahead.sent("r1")
    behind.receive("r2", notice, term=notice.term)
    assert (behind.engine.role, behind.engine.term) == ("follower", 7)


def test_the_term_that_deposed_a_leader_is_on_disk_before_it_shows():
    replica = Replica()
    replica.lead()
    replica.receive("r2", log_pb2.PeerMessage(term_notice=log_pb2.TermNotice()), term=12)
    replica.receive("r3", request_vote(last_index=9, last_term=9), term=12)
    assert replica.did()[0] == SYNC
    replica.lose_power()
    assert replica.engine.term == 12


# --- commitment ------------------------------------------------------------------------------


def test_the_leaders_own_copy_counts_only_from_disk_and_before_anything_is_applied():
    replica = Replica()
    replica.lead()
    replica.propose(b"a")
    replica.receive("r2", ack(4, sequence=2))
    replica.events.clear()
    replica.disk.is_failing = True
    with pytest.raises(JournalError):
        replica.tick()
    assert replica.applied == []
    assert replica.sent() == []


def test_what_a_majority_has_on_disk_is_applied_in_order():
    replica = Replica()
    replica.lead()
    replica.propose(b"a", b"b")
    replica.receive("r2", ack(5, sequence=3))
    assert replica.applied == []
    replica.tick()
    assert replica.applied == [(3, b"a"), (4, b"b")]
    replica.lose_power()
    assert len(replica.journal) == 4


def test_what_only_the_leader_has_is_not_committed():
    replica = Replica(members=FIVE)
    replica.lead()
    replica.propose(b"a")
    replica.receive("r2", ack(4, sequence=2))
    replica.tick()
    assert replica.applied == []


def test_entries_of_an_older_term_are_committed_by_one_of_the_leaders_own():
    replica = Replica(log=[1, 1])
    replica.lead()
    replica.receive("r2", ack(4))
    replica.tick()
    assert replica.engine.commit_index == 1
    replica.receive("r2", ack(5))
    replica.tick()
    assert replica.engine.commit_index == 4


def test_an_acknowledgement_of_an_older_term_is_ignored():
    replica = Replica(log=[1, 1])
    term = replica.lead()
    replica.receive("r2", ack(5), term=term - 1)
    replica.tick()
    assert (replica.engine.match_index("r2"), replica.engine.commit_index) == (0, 1)
    assert replica.guard.acknowledged_sequence("r2") == 0


def test_a_strangers_acknowledgement_is_ignored():
    replica = Replica()
    replica.lead()
    replica.receive("r9", ack(3))
    replica.tick()
    assert replica.engine.commit_index == 1


# --- finding the common prefix ---------------------------------------------------------------


def test_a_rejection_makes_the_leader_go_back_to_where_it_says():
    replica = Replica(log=[1] * 20)
    replica.lead()
    replica.receive("r2", rejection(6, sequence=1))
    (message,) = replica.sent("r2")
    assert message.append_entries.prev_log_index == 5
    assert indexes([message]) == list(range(6, 23))


def test_a_rejection_older_than_the_last_probe_is_ignored():
    replica = Replica(log=[1] * 20)
    replica.lead()
    replica.receive("r2", rejection(15, sequence=1))
    probe = sequence_of(replica.sent("r2"))
    replica.receive("r2", rejection(6, sequence=probe))
    replica.sent()
    replica.receive("r2", rejection(15, sequence=1))
    assert replica.sent() == [], "it would go back and forth for ever"
    assert replica.engine.next_index("r2") == replica.engine.last_index + 1


def test_a_rejection_never_goes_below_what_was_acknowledged():
    replica = Replica(log=[1] * 20)
    replica.lead()
    replica.receive("r2", ack(15, sequence=1))
    replica.sent()
    replica.receive("r2", rejection(2, sequence=1))
    assert min(indexes(replica.sent("r2"))) == 15


@pytest.mark.parametrize("terms", [[1] * 200, [term // 10 for term in range(10, 210)]])
def test_the_common_prefix_is_found_in_a_few_round_trips(terms):
    """A follower with a long tail of another leader's: not an entry at a time."""
    leader, follower = Replica(log=[*terms, 30]), Replica(log=[*terms[:50], *[29] * 150])
    leader.engine.observe_term(31)
    leader.lead()
    leader.tick(after=0.2)
    for round_trips in range(20):  # noqa: B007 - looked at below
        for message in leader.sent("r2"):
            follower.receive("r1", message, term=message.term)
        for message in follower.sent("r1"):
            leader.receive("r2", message, term=message.term)
        if follower.terms() == leader.terms():
            break
    assert follower.terms() == leader.terms()
    assert round_trips <= 5


# --- sending ---------------------------------------------------------------------------------


def test_nothing_in_flight_is_sent_twice():
    replica = Replica()
    replica.lead()
    replica.receive("r2", ack(3, sequence=1))
    sent = []
    for number in range(10):
        replica.propose(b"%d" % number)
        sent += indexes(replica.sent("r2"))
    replica.receive("r2", ack(4, sequence=2))
    replica.tick(after=0.2)
    replica.receive("r2", ack(6, sequence=4))
    sent += indexes(replica.sent("r2"))
    assert sent == list(range(3, 13))


def test_a_new_connection_sends_again_what_was_not_acknowledged():
    replica = Replica()
    replica.lead()
    replica.propose(b"a", b"b", b"c")
    replica.receive("r2", ack(4, sequence=2))
    replica.sent()
    replica.guard.disconnected("r2")
    replica.propose(b"d")
    assert replica.sent("r2") == []
    replica.guard.connected("r2")
    replica.tick(after=0.2)
    assert indexes(replica.sent("r2")) == [4, 5, 6]


def test_messages_and_what_is_under_way_are_bounded():
    size, per_message, in_flight = 1000, 3, 10
    settings = RaftSettings(
        election_timeout_min=1.0,
        election_timeout_max=2.0,
        heartbeat_interval=0.1,
        max_message_bytes=per_message * size,
        max_in_flight_bytes=in_flight * size,
    )
    replica = Replica(settings=settings)
    replica.lead()
    replica.receive("r2", ack(3, sequence=1))
    replica.guard.disconnected("r2")
    for _ in range(100):
        replica.propose(bytes(size - 1))
    replica.guard.connected("r2")
    replica.tick(after=0.2)
    under_way = replica.sent("r2")
    assert len(indexes(under_way)) >= in_flight, "several messages are under way at once"
    received: list[int] = []
    while under_way:
        assert all(len(message.append_entries.entries) <= per_message for message in under_way)
        assert len(indexes(under_way)) < in_flight + per_message
        message = under_way.pop(0)
        received += indexes([message])
        replica.receive("r2", ack(received[-1] + 1, sequence=message.append_entries.sequence))
        under_way += replica.sent("r2")
    assert received == list(range(3, 103))


def test_a_new_leader_with_a_long_log_sends_the_entry_of_its_term_at_once():
    """What it does not know to be acknowledged is not under way."""
    settings = RaftSettings(
        election_timeout_min=1.0, election_timeout_max=2.0, heartbeat_interval=0.1, max_in_flight_bytes=100
    )
    replica = Replica(log=[1] * 1000, settings=settings)
    replica.stand()
    replica.sent()
    replica.receive("r2", vote())
    assert indexes(replica.sent("r2")) == [1002]


@pytest.mark.parametrize("size", [131_072, 3 << 19, 4 << 20])
def test_a_large_entry_travels_whole(size):
    leader, follower = Replica(), Replica()
    leader.lead()
    command = bytes(range(256)) * (size // 256)
    leader.propose(command)
    for _ in range(3):
        for message in leader.sent("r2"):
            wire = message.SerializeToString()
            follower.receive("r1", log_pb2.PeerMessage.FromString(wire), term=message.term)
        for message in follower.sent("r1"):
            leader.receive("r2", message, term=message.term)
        leader.tick(after=0.2)
    follower.tick()
    assert follower.applied == [(3, command)]


def test_a_follower_far_behind_is_not_sent_the_whole_log_when_it_connects():
    """A new leader does not know what it has: it asks first."""
    replica = Replica(log=[1] * 1000)
    replica.guard.disconnected("r3")
    replica.lead()
    replica.guard.connected("r3")
    replica.tick(after=0.2)
    assert len(indexes(replica.sent("r3"))) <= 1


def test_commands_are_not_forwarded():
    replica = Replica()
    replica.receive("r2", append(), term=1)
    replica.sent()
    replica.propose(b"a")
    assert replica.sent() == []
    assert replica.terms() == [0]


def test_the_engine_can_send_nothing_that_is_not_spoken():
    replica = Replica()
    with pytest.raises(SafetyError, match="not spoken"):
        replica.guard.send(member("r2"), {"type": "timeout_now", "term": 1})
    assert replica.sent() == []
