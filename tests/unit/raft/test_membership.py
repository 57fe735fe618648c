"""Which configuration is in effect: the last in the log, until its entry is cut."""

from __future__ import annotations

import pytest

from h9s._pb import log_pb2
from h9s.raft.configuration import Configuration, Member
from h9s.raft.journal import LogTuple
from h9s.raft.membership import PREFIX, Membership
from tests.unit.raft.harness import Replica, ack, append, request_vote, vote


def voters(*names: str, incarnation: int = 0) -> Configuration:
    return Configuration.of(Member(id=name, incarnation=incarnation) for name in names)


def command(configuration: Configuration) -> bytes:
    return PREFIX + configuration.encode()


FOUR, TWO = voters("r1", "r2", "r3", "r4"), voters("r1", "r2")


@pytest.fixture
def membership():
    return Membership(replica_id="r1", founding=voters("r1", "r2", "r3"))


def test_a_configuration_counts_from_when_it_is_appended_until_it_is_cut(membership):
    changes: list[int] = []
    membership.on_change = lambda: changes.append(membership.index)
    membership.appended(2, b"\0ordinary")
    membership.appended(3, command(FOUR))
    assert (membership.index, membership.effective) == (3, FOUR)
    membership.appended(4, command(TWO))
    membership.cut(4)
    assert (membership.index, membership.effective) == (3, FOUR)
    membership.cut(2)
    assert (membership.index, membership.effective.voters) == (0, ("r1", "r2", "r3"))
    assert changes == [3, 4, 3, 0], "whoever counts votes is told every time, and only then"


def test_what_was_in_effect_at_an_earlier_entry_is_known(membership):
    membership.appended(3, command(FOUR))
    membership.appended(7, command(TWO))
    assert [membership.at(index)[0] for index in (1, 3, 6, 7, 99)] == [0, 3, 3, 7, 7]


def test_a_snapshot_brings_its_configuration_and_the_log_goes_on_from_there(membership):
    log = [LogTuple(b"\x01", 10, 1), LogTuple(command(TWO), 9, 1), LogTuple(command(TWO), 12, 1)]
    membership.rebase(10, FOUR, log)
    assert membership.at(11) == (10, FOUR)
    assert (membership.index, membership.effective) == (12, TWO)


def test_a_snapshot_without_one_was_taken_before_anything_changed(membership):
    membership.appended(3, command(FOUR))
    membership.rebase(10, None, [])
    assert (membership.index, membership.effective.voters) == (0, ("r1", "r2", "r3"))


def test_a_former_life_of_a_replica_is_somebody_else():
    membership = Membership(replica_id="r1", incarnation=5, founding=Configuration())
    assert (membership.self_member, membership.is_voter) == (None, False)
    membership.appended(2, command(voters("r1", "r2")))
    assert (membership.self_member, membership.is_voter) == (None, False)
    membership.appended(3, command(voters("r1", "r2", incarnation=5)))
    assert membership.is_voter
    membership.appended(4, command(voters("r2")))
    assert membership.self_member is None


def test_a_life_that_was_retired_knows_it_from_the_log_once_that_is_committed():
    membership = Membership(replica_id="r1", incarnation=5, founding=Configuration())
    membership.appended(2, command(voters("r1", "r2", incarnation=5)))
    membership.appended(3, command(voters("r1", "r2", incarnation=5).without("r1")))
    assert [membership.is_retired_at(index) for index in (2, 3)] == [False, True]
    membership.appended(
        4, command(voters("r2").with_learner("r1", incarnation=6, api_address="", peer_address=""))
    )
    assert not membership.is_retired_at(4)


# --- in the engine ---------------------------------------------------------------------------


def configuration_entry(replica: Replica, *members: Member) -> None:
    replica.engine.propose_configuration(Configuration.of(members).encode())
    replica.tick()


def learner(name: str, incarnation: int = 7) -> Member:
    return Member(id=name, incarnation=incarnation, voter=False)


OLD = (Member(id="r1"), Member(id="r2"), Member(id="r3"))


def from_incarnation(incarnation: int, message: log_pb2.PeerMessage) -> log_pb2.PeerMessage:
    message.sender_incarnation = incarnation
    return message


def test_a_learner_gets_the_log_and_counts_nowhere():
    replica = Replica(members=("r1", "r2"))
    replica.lead()
    configuration_entry(replica, Member(id="r1"), Member(id="r2"), learner("r3"))
    replica.guard.connected("r3")
    replica.propose(b"a")
    assert replica.sent("r3", "append_entries"), "it gets the log"
    replica.receive("r3", from_incarnation(7, ack(replica.engine.last_index + 1)))
    replica.tick()
    assert replica.engine.match_index("r3") == replica.engine.last_index
    assert replica.engine.commit_index == 1, "a majority of the voters is needed"
    replica.receive("r2", ack(replica.engine.last_index + 1, sequence=9))
    replica.tick()
    assert replica.engine.commit_index == replica.engine.last_index


def test_the_leader_counts_by_what_it_has_appended():
    replica = Replica()
    replica.lead()
    replica.receive("r2", ack(3))
    replica.tick()
    configuration_entry(replica, *OLD, Member(id="r4", incarnation=7))
    last = replica.engine.last_index
    replica.receive("r2", ack(last + 1, sequence=5))
    replica.tick()
    assert replica.engine.commit_index == last - 1, "two of four are no majority"
    replica.receive("r4", from_incarnation(7, ack(last + 1, sequence=5)))
    replica.tick()
    assert replica.engine.commit_index == last


def test_what_a_former_life_acknowledged_counts_for_nothing():
    replica = Replica()
    replica.lead()
    replica.receive("r2", ack(3))
    replica.receive("r3", ack(3))
    replica.tick()
    configuration_entry(replica, OLD[0], OLD[1], learner("r3"))
    assert replica.engine.match_index("r3") == 0
    replica.receive("r3", ack(replica.engine.last_index + 1, sequence=99))
    assert replica.engine.match_index("r3") == 0, "an answer of the former life comes late"
    replica.receive("r3", from_incarnation(7, ack(replica.engine.last_index + 1, sequence=99)))
    assert replica.engine.match_index("r3") == replica.engine.last_index


def test_a_learners_vote_is_not_counted():
    replica = Replica(members=("r1", "r2", "r3", "r4", "r5"))
    entry = command(Configuration.of((*OLD, Member(id="r4"), learner("r5"))))
    replica.receive("r2", append(1, command=entry), term=1)
    replica.stand()
    assert not replica.sent("r5", "request_vote"), "nor is it asked"
    replica.receive("r5", from_incarnation(7, vote()))
    replica.receive("r2", vote())
    assert replica.engine.role == "candidate"
    replica.receive("r3", vote())
    assert replica.engine.is_leader


@pytest.mark.parametrize("meant_for", [0, 8])
@pytest.mark.parametrize("request_", [append(3), request_vote(last_index=99, last_term=99)])
def test_a_request_for_another_life_of_this_replica_is_not_answered(meant_for, request_):
    replica = Replica(incarnation=7)
    message = log_pb2.PeerMessage()
    message.CopyFrom(request_)
    message.recipient_incarnation = meant_for
    replica.receive("r2", message, term=3)
    assert (replica.events, replica.engine.term) == ([], 0)
    message.recipient_incarnation = 7
    replica.receive("r2", message, term=3)
    assert replica.engine.term == 3
    assert replica.sent("r2")


def test_a_learner_that_the_candidate_knows_as_a_voter_votes():
    """The entry that made it one has not come here yet; without its vote there may be no majority."""
    replica = Replica(incarnation=7)
    message = request_vote(last_index=99, last_term=99)
    message.recipient_incarnation = 7
    replica.receive("r2", message, term=3)
    assert [m.WhichOneof("body") for m in replica.sent("r2")] == ["vote_granted"]
    assert not replica.engine.is_voter


def test_a_configuration_is_taken_back_with_its_entry():
    replica = Replica()
    replica.receive("r2", append(1, command=command(FOUR)), term=1)
    assert replica.engine.voters == {"r1", "r2", "r3", "r4"}
    replica.receive("r3", append(2), term=2)
    assert replica.engine.voters == {"r1", "r2", "r3"}


def test_the_configuration_survives_a_restart():
    replica = Replica()
    replica.receive("r2", append(1, command=command(FOUR)), term=1)
    replica.lose_power()
    assert replica.engine.voters == {"r1", "r2", "r3", "r4"}
