"""What the engine sees of the journal, and when things are on disk."""

from __future__ import annotations

import random

import pytest

from h9s.raft.errors import JournalCorruptError, JournalError, SafetyError
from h9s.raft.journal import Journal, LogTuple
from h9s.sim.disk import SimDisk

IDENTITY = "test/r1"


@pytest.fixture
def disk():
    return SimDisk(random.Random(0))


def opened(disk, **kwargs):
    return Journal(disk, identity=IDENTITY, **kwargs)


def filled(disk, *terms):
    journal = opened(disk)
    for index, term in enumerate(terms, start=1):
        journal.add(b"%d" % index, index, term)
    return journal


def terms(journal):
    return [entry.term for entry in journal]


def test_it_looks_like_a_list_of_tuples_to_the_engine(disk):
    journal = filled(disk, 0, 1, 1, 2)
    assert len(journal) == 4
    assert journal[-1] == (b"4", 4, 2)
    assert journal[0][1] == 1
    assert journal[1:3] == [LogTuple(b"2", 2, 1), LogTuple(b"3", 3, 1)]
    assert (journal.term_at(4), journal.term_at(5), journal.term_at(0)) == (2, None, None)


def test_an_entry_that_is_there_already_is_left_alone(disk):
    journal = filled(disk, 0, 1, 1)
    journal.sync()
    size = journal.size_bytes
    journal.add(b"2", 2, 1)
    journal.sync()
    assert terms(journal) == [0, 1, 1]
    assert journal.size_bytes == size


def test_an_entry_of_another_term_replaces_everything_from_there_on(disk):
    journal = filled(disk, 0, 1, 1, 1, 1)
    journal.add(b"new", 3, 2)
    assert list(journal)[2:] == [LogTuple(b"new", 3, 2)]
    journal.sync()
    assert list(opened(disk))[1:] == [LogTuple(b"2", 2, 1), LogTuple(b"new", 3, 2)]


def test_the_engines_own_cuts_do_nothing(disk):
    journal = filled(disk, 0, 1, 1, 1)
    journal.deleteEntriesFrom(1)
    assert terms(journal) == [0, 1, 1, 1]


@pytest.mark.parametrize("drop", [Journal.clear, lambda journal: journal.deleteEntriesTo(2)])
def test_the_engine_cannot_drop_the_log(disk, drop):
    journal = filled(disk, 0, 1, 1, 1)
    with pytest.raises(SafetyError, match="tried to drop"):
        drop(journal)
    assert terms(journal) == [0, 1, 1, 1]


def test_what_is_committed_cannot_be_cut(disk):
    journal = filled(disk, 0, 1, 1, 1)
    journal.setRaftCommitIndex(3)
    with pytest.raises(SafetyError, match="committed entry 3"):
        journal.add(b"other", 3, 2)
    journal.add(b"other", 4, 2)
    assert terms(journal) == [0, 1, 1, 2]


def test_the_commit_index_does_not_go_back(disk):
    journal = filled(disk, 0, 1, 1)
    journal.setRaftCommitIndex(3)
    journal.setRaftCommitIndex(2)
    assert journal.commit_index == 3


@pytest.mark.parametrize("index", [0, 5])
def test_an_entry_that_does_not_continue_the_log_is_refused(disk, index):
    journal = filled(disk, 0, 1, 1)
    with pytest.raises(SafetyError, match="does not continue the log"):
        journal.add(b"x", index, 9)


def test_the_term_never_goes_back(disk):
    journal = opened(disk)
    journal.setCurrentTerm(4, "r2")
    with pytest.raises(SafetyError, match="went back"):
        journal.setCurrentTerm(3, None)


def test_the_first_index_of_a_term_is_found(disk):
    journal = filled(disk, 0, 1, 1, 2, 2, 2, 3)
    assert [journal.first_index_of_term_at(index) for index in range(1, 8)] == [1, 2, 2, 4, 4, 4, 7]


# --- durability ------------------------------------------------------------------------------


def test_nothing_is_durable_before_sync(disk):
    journal = filled(disk, 0, 1)
    journal.setCurrentTerm(7, "r2")
    assert journal.hard_state_is_dirty
    disk.crash()
    recovered = opened(disk)
    assert (len(recovered), recovered.getCurrentTerm(), recovered.getVotedForNodeId()) == (0, 0, None)


def test_entries_term_and_vote_are_durable_after_one_sync(disk):
    journal = filled(disk, 0, 1)
    journal.setCurrentTerm(7, "r2")
    before = disk.syncs
    journal.sync()
    assert disk.syncs == before + 1
    assert not journal.hard_state_is_dirty
    disk.crash()
    recovered = opened(disk)
    assert terms(recovered) == [0, 1]
    assert (recovered.getCurrentTerm(), recovered.getVotedForNodeId()) == (7, "r2")


def test_committing_makes_durable_first(disk):
    """The engine announces the commit index before it applies: the leader's own copy counts from here."""
    journal = filled(disk, 0, 1)
    journal.setRaftCommitIndex(2)
    disk.crash()
    assert terms(opened(disk)) == [0, 1]


def test_a_sync_with_nothing_to_do_costs_nothing(disk):
    journal = filled(disk, 0, 1)
    journal.sync()
    before = disk.syncs
    journal.sync()
    assert disk.syncs == before


def test_many_entries_share_a_sync(disk):
    journal = filled(disk, *range(100))
    before = disk.syncs
    journal.sync()
    assert disk.syncs == before + 1


def test_a_failing_disk_is_an_error_and_nothing_counts_as_durable(disk):
    journal = filled(disk, 0, 1)
    journal.setCurrentTerm(3, "r3")
    disk.is_failing = True
    with pytest.raises(JournalError, match="cannot be written"):
        journal.sync()
    with pytest.raises(JournalError, match="cannot be written"):
        journal.setRaftCommitIndex(2)
    assert journal.hard_state_is_dirty
    assert journal.commit_index == 0


def test_a_failing_disk_is_an_error_when_a_segment_is_made(disk):
    disk.is_failing = True
    with pytest.raises(JournalError, match=r"segment journal-00000001\.log cannot be made"):
        opened(disk)


def test_a_disk_that_cannot_be_read_is_an_error(disk, monkeypatch):
    filled(disk, 0, 1).sync()

    def fail(name):
        raise OSError("no such device")

    monkeypatch.setattr(disk, "read", fail)
    with pytest.raises(JournalError, match="cannot be read: no such device"):
        opened(disk)


# --- segments --------------------------------------------------------------------------------


def test_a_full_segment_is_followed_by_another(disk):
    journal = opened(disk, segment_bytes=500)
    for index in range(1, 50):
        journal.add(bytes(50), index, 1)
        journal.sync()
    assert len(disk.names()) > 5
    assert len(opened(disk, segment_bytes=500)) == 49


def test_every_segment_starts_with_the_term_and_the_vote(disk):
    """So that all earlier ones can be dropped one day."""
    journal = opened(disk, segment_bytes=500)
    journal.setCurrentTerm(9, "r3")
    for index in range(1, 50):
        journal.add(bytes(50), index, 9)
        journal.sync()
    for name in disk.names()[:-1]:
        disk.remove(name)
    recovered = opened(disk, segment_bytes=500)
    assert (recovered.getCurrentTerm(), recovered.getVotedForNodeId()) == (9, "r3")
    assert recovered[-1].index == 49


def test_the_size_is_that_of_all_segments(disk):
    journal = opened(disk, segment_bytes=500)
    for index in range(1, 50):
        journal.add(bytes(50), index, 1)
        journal.sync()
    written = sum(len(file.durable) for file in disk._files.values())
    assert journal.size_bytes == written
    assert opened(disk, segment_bytes=500).size_bytes == written


def test_a_journal_of_another_replica_is_refused(disk):
    filled(disk, 0, 1).sync()
    with pytest.raises(JournalCorruptError, match="belongs to 'test/r1', not to 'test/r2'"):
        Journal(disk, identity="test/r2")
