"""What a follower vouches for: nothing that is not on disk, nothing beyond what it was told."""

from __future__ import annotations

import random

import pytest

from h9s._pb import log_pb2
from h9s.raft.errors import JournalError, SafetyError
from tests.unit.raft.harness import SYNC, Replica, ack, append, request_vote, vote


def test_entries_are_synced_before_they_are_acknowledged():
    replica = Replica()
    replica.receive("r2", append(1, 1), term=1)
    assert replica.did() == [SYNC, "append_ack"]
    replica.lose_power()
    assert replica.terms() == [0, 1, 1]


def test_later_entries_of_the_same_term_are_synced_before_they_are_acknowledged_too():
    replica = Replica()
    replica.receive("r2", append(1), term=1)
    replica.events.clear()
    replica.receive("r2", append(1, prev=2, prev_term=1), term=1)
    assert replica.did() == [SYNC, "append_ack"]
    replica.lose_power()
    assert replica.terms() == [0, 1, 1]


def test_nothing_is_acknowledged_when_the_disk_fails():
    replica = Replica()
    replica.disk.is_failing = True
    with pytest.raises(JournalError, match="journal cannot be written"):
        replica.receive("r2", append(1), term=1)
    assert replica.sent() == []


def test_a_vote_is_on_disk_before_it_is_shown():
    replica = Replica()
    replica.receive("r2", request_vote(last_index=1, last_term=0), term=7)
    assert replica.did()[0] == SYNC
    assert [message.term for message in replica.sent("r2", "vote_granted")] == [7]
    replica.lose_power()
    replica.guard.connected("r3")
    replica.receive("r3", request_vote(last_index=1, last_term=0), term=7)
    assert replica.sent() == [], "it voted for r2 in this term, before the power was lost"


def test_a_candidate_votes_for_itself_on_disk_before_it_asks_others():
    replica = Replica()
    term = replica.stand()
    assert replica.did()[0] == SYNC
    replica.lose_power()
    replica.receive("r3", request_vote(last_index=1, last_term=0), term=term)
    assert replica.sent() == []


def test_a_term_is_on_disk_before_a_refusal_shows_it():
    replica = Replica()
    replica.receive("r2", append(5, prev=9, prev_term=4), term=5)
    assert replica.did()[0] == SYNC
    assert replica.sent("r2")[0].append_ack.reset
    replica.lose_power()
    assert replica.engine.term == 5


def test_a_term_is_on_disk_before_a_notice_shows_it():
    replica = Replica(log=[2, 2])
    # A candidate whose log is behind gets no vote, but its term counts.
    replica.receive("r2", request_vote(last_index=1, last_term=0), term=9)
    assert replica.events == []
    replica.receive("r3", append(2, prev=3, prev_term=2), term=2)
    assert replica.did()[0] == SYNC
    (notice,) = replica.sent("r3")
    assert (notice.WhichOneof("body"), notice.term) == ("term_notice", 9)


def test_a_second_candidate_of_a_term_gets_no_vote():
    replica = Replica()
    replica.receive("r2", request_vote(last_index=1, last_term=0), term=3)
    replica.receive("r3", request_vote(last_index=1, last_term=0), term=3)
    assert len(replica.sent("r2")) == 1
    assert replica.sent("r3") == []


def test_an_overlapping_message_keeps_the_tail_that_matches():
    replica = Replica()
    replica.receive("r2", append(1, 1, 1), term=1)
    replica.receive("r2", append(1, sequence=2), term=1)
    assert replica.terms() == [0, 1, 1, 1]
    # And elections count it: a candidate without it gets no vote.
    replica.sent()
    replica.receive("r3", request_vote(last_index=2, last_term=1), term=2)
    assert replica.sent() == []


def test_a_heartbeat_keeps_the_tail():
    replica = Replica()
    replica.receive("r2", append(1, 1, 1), term=1)
    replica.receive("r2", append(prev=2, prev_term=1, sequence=2), term=1)
    assert replica.terms() == [0, 1, 1, 1]


def test_a_conflict_cuts_exactly_there():
    replica = Replica(log=[1, 1, 2, 2])
    replica.receive("r2", append(1, 3, prev=2, prev_term=1), term=3)
    assert replica.terms() == [0, 1, 1, 3]
    replica.lose_power()
    assert replica.terms() == [0, 1, 1, 3]


def test_committed_entries_are_never_cut():
    replica = Replica(log=[1, 1])
    replica.receive("r2", append(prev=3, prev_term=1, commit=3), term=2)
    with pytest.raises(SafetyError, match="committed entry 3"):
        replica.receive("r3", append(1, 3, prev=1, prev_term=0), term=3)
    assert replica.terms() == [0, 1, 1]


def test_the_commit_index_stops_at_what_the_message_verified():
    replica = Replica(log=[1, 1, 1, 1])
    replica.receive("r2", append(1, prev=2, prev_term=1, commit=5), term=2)
    assert replica.engine.commit_index == 3
    replica.tick()
    assert [index for index, _ in replica.applied] == [2, 3]


def test_a_heartbeat_verifies_nothing_beyond_what_precedes_it():
    replica = Replica(log=[1, 1, 1, 1])
    replica.receive("r2", append(prev=2, prev_term=1, commit=5), term=2)
    assert replica.engine.commit_index == 2
    (answer,) = replica.sent("r2")
    assert answer.append_ack.next_index == 3, "what it has beyond may not be the leader's"


def test_a_message_that_does_not_fit_commits_nothing():
    replica = Replica(log=[1, 1])
    replica.receive("r2", append(2, prev=3, prev_term=2, commit=4), term=2)
    assert replica.engine.commit_index == 1


def test_an_acknowledgement_vouches_for_what_was_sent_not_for_the_whole_log():
    replica = Replica(log=[1, 1, 1, 1])
    replica.receive("r2", append(1, prev=2, prev_term=1), term=2)
    (answer,) = replica.sent("r2")
    assert answer.append_ack.next_index == 4


def test_an_acknowledgement_carries_the_sequence_and_the_term():
    replica = Replica()
    replica.receive("r2", append(3, sequence=17), term=3)
    replica.receive("r2", append(3, prev=9, prev_term=3, sequence=18), term=3)
    accepted, refused = replica.sent("r2")
    assert (accepted.term, accepted.append_ack.sequence, accepted.append_ack.success) == (3, 17, True)
    assert (refused.term, refused.append_ack.sequence, refused.append_ack.reset) == (3, 18, True)


def test_a_gap_is_answered_with_the_end_of_the_log():
    replica = Replica(log=[1, 1])
    replica.receive("r2", append(2, prev=90, prev_term=2), term=2)
    (answer,) = replica.sent("r2")
    assert (answer.append_ack.reset, answer.append_ack.next_index) == (True, 4)


def test_a_conflict_is_answered_with_the_first_index_of_its_term():
    replica = Replica(log=[1, 1, *[2] * 50])
    replica.receive("r2", append(3, prev=40, prev_term=3), term=3)
    (answer,) = replica.sent("r2")
    assert (answer.append_ack.reset, answer.append_ack.next_index) == (True, 4)


def test_a_conflict_is_never_answered_with_something_committed():
    replica = Replica(log=[2] * 50)
    replica.receive("r2", append(prev=20, prev_term=2, commit=20), term=3)
    replica.sent()
    replica.receive("r2", append(prev=40, prev_term=3, commit=20), term=3)
    (answer,) = replica.sent("r2")
    assert answer.append_ack.next_index == 21


def test_a_quiet_announcement_commits_what_it_verifies_and_is_not_answered():
    replica = Replica(log=[1, 1, 1])
    replica.receive("r2", append(prev=3, prev_term=1, commit=4, sequence=0), term=2)
    assert replica.engine.commit_index == 3
    replica.receive("r2", append(prev=9, prev_term=1, commit=9, sequence=0), term=2)
    assert replica.engine.commit_index == 3
    assert replica.sent() == []


@pytest.mark.parametrize(
    "message",
    [append(1, commit=2), request_vote(last_index=99, last_term=99)],
    ids=["append", "request_vote"],
)
def test_a_message_of_an_older_term_changes_nothing_and_is_answered_with_the_newer(message):
    replica = Replica(log=[4])
    replica.receive("r2", message, term=3)
    assert (replica.engine.term, replica.terms(), replica.engine.commit_index) == (4, [0, 4], 1)
    (notice,) = replica.sent("r2")
    assert (notice.WhichOneof("body"), notice.term) == ("term_notice", 4)


@pytest.mark.parametrize("kind", ["append_ack", "vote_granted", "term_notice"])
def test_an_answer_of_an_older_term_is_not_answered(kind):
    replica = Replica(log=[4])
    message = log_pb2.PeerMessage()
    getattr(message, kind).SetInParent()
    replica.receive("r2", message, term=3)
    assert replica.sent() == []


@pytest.mark.parametrize("message", [ack(9), vote()], ids=["ack", "vote"])
def test_a_strangers_answer_is_ignored(message):
    replica = Replica()
    replica.stand()
    replica.events.clear()
    before = (replica.engine.term, replica.engine.role, replica.terms())
    replica.receive("r9", message, term=9)
    assert (replica.engine.term, replica.engine.role, replica.terms()) == before
    assert replica.events == []


def test_a_leader_or_candidate_that_is_unknown_here_is_heard():
    """This replica may lag behind: the members may have changed meanwhile."""
    replica = Replica()
    replica.receive("r9", request_vote(last_index=9, last_term=8), term=9)
    assert [m.WhichOneof("body") for m in replica.sent("r9")] == ["vote_granted"]
    replica.receive("r9", append(9), term=9)
    assert (replica.engine.leader_id, replica.terms()) == ("r9", [0, 9])


def test_entries_that_do_not_follow_one_another_are_refused():
    replica = Replica()
    message = append(1, 1)
    message.append_entries.entries[1].index = 7
    with pytest.raises(SafetyError, match="do not follow"):
        replica.receive("r2", message, term=1)
    assert replica.terms() == [0]
    assert replica.sent() == []


def test_a_follower_survives_any_order_of_the_same_messages():
    """Late, early or repeated: the log only ever grows towards the leader's."""
    terms = [1, 1, 2, 2, 2, 3, 3]
    for seed in range(40):
        rng = random.Random(seed)
        replica = Replica(log=[1, 1, 1, 1] if seed % 2 else [])
        vouched = 1
        for sequence in range(1, 60):
            start = rng.randrange(len(terms))
            end = min(len(terms), start + rng.randrange(4))
            message = append(
                *terms[start:end],
                prev=start + 1,
                prev_term=([0, *terms])[start],
                commit=min(len(terms) + 1, rng.randrange(1, 9)),
                sequence=sequence,
            )
            replica.receive("r2", message, term=3)
            (answer,) = replica.sent("r2")
            if answer.append_ack.success:
                vouched = max(vouched, answer.append_ack.next_index - 1)
            assert replica.terms()[:vouched] == [0, *terms][:vouched], "what was vouched for stays"
            assert replica.engine.commit_index <= vouched


def test_members_are_known_by_id_whatever_their_address():
    replica = Replica(members=("r1", "replica at the lake", "r3"))
    replica.receive("replica at the lake", append(1), term=1)
    assert replica.engine.leader_id == "replica at the lake"
