"""Which data to go on with when a majority is lost, and what that costs."""

from __future__ import annotations

import pytest

from h9s.raft.inspection import DataReport
from h9s.raft.journal_recovery import LogTuple, Replayed
from h9s.raft.survivors import Comparison, Survivor


def survivor(name, *terms, faults=()):
    """A replica whose log has entries of these terms, from index 1 on."""
    entries = [LogTuple(b"", index, term) for index, term in enumerate(terms, start=1)]
    return Survivor(name, DataReport(journal=Replayed(entries=entries), faults=list(faults)))


@pytest.mark.parametrize(
    ("r1", "r2", "freshest"),
    [((1, 1, 1), (1, 1), "r1"), ((1, 1, 1), (1, 2), "r2"), ((1, 3), (1, 2, 2, 2), "r1")],
)
def test_the_later_term_is_fresher_and_then_the_longer_log(r1, r2, freshest):
    comparison = Comparison([survivor("r1", *r1), survivor("r2", *r2)])
    assert comparison.freshest is not None
    assert comparison.freshest.replica_id == freshest


def test_what_is_damaged_is_not_gone_on_with():
    damaged = survivor("r2", 1, 1, 5, faults=["journal"])
    comparison = Comparison([survivor("r1", 1), damaged], dict.fromkeys(("r1", "r2", "r3"), 0))
    assert comparison.freshest is not None
    assert comparison.freshest.replica_id == "r1"
    assert comparison.missing == ("r2", "r3")
    assert Comparison([damaged]).freshest is None


def test_entries_that_a_later_term_has_replaced_are_counted():
    longer = survivor("r2", 1, 2, 2, 2)
    assert Comparison([survivor("r1", 1, 3), longer]).uncommitted(longer) == 3
    shorter = survivor("r2", 1)
    assert Comparison([survivor("r1", 1, 3), shorter]).uncommitted(shorter) == 0


@pytest.mark.parametrize(
    ("there", "voters", "nothing"),
    [
        (("r1", "r2"), ("r1", "r2", "r3"), True),
        (("r1",), ("r1", "r2", "r3"), False),
        (("r1",), ("r1",), True),
        (("r1", "r2"), ("r1", "r2", "r3", "r4"), False),
        (("r1", "r2", "r3"), ("r1", "r2", "r3", "r4", "r5"), True),
        (("r1", "r2"), ("r1", "r2", "r3", "r4", "r5"), False),
        (("r1", "r2"), (), False),
    ],
)
def test_nothing_is_lost_where_every_majority_had_a_survivor_in_it(there, voters, nothing):
    assert (
        Comparison([survivor(name, 1) for name in there], dict.fromkeys(voters, 0)).nothing_is_lost is nothing
    )


def test_a_life_that_does_not_vote_stands_for_no_voter():
    comparison = Comparison([survivor("r1", 1), survivor("r2", 1)], {"r1": 0, "r2": 4711, "r3": 0})
    assert comparison.missing == ("r2", "r3")
