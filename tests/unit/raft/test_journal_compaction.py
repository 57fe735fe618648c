"""The beginning of the log: dropped behind a snapshot, moved by an installed one, kept over a crash."""

from __future__ import annotations

import random

import pytest

from h9s.raft.journal import Journal
from h9s.sim.disk import SimDisk


@pytest.fixture
def disk():
    return SimDisk(random.Random(0))


def journal_of(disk):
    return Journal(disk, identity="test/r1", segment_bytes=400)


def filled(disk, *, last=50, term=1):
    journal = journal_of(disk)
    journal.add(b"\1", 1, 0)
    for index in range(2, last + 1):
        journal.add(b"\0" + bytes(40), index, term)
        journal.sync()
    return journal


def indexes(journal):
    return [entry.index for entry in journal]


def test_compaction_drops_the_beginning_from_memory_and_whole_segments_from_disk(disk):
    journal = filled(disk)
    segments, size = len(disk.names()), journal.size_bytes
    journal.compact(30)
    assert indexes(journal) == list(range(30, 51))
    assert len(disk.names()) < segments - 3
    assert journal.size_bytes < size


def test_after_a_crash_the_log_continues_the_snapshot(disk):
    journal = filled(disk)
    journal.compact(30)
    disk.crash()
    recovered = journal_of(disk)
    assert indexes(recovered)[-1] == 50
    recovered.start_at(40, 1)
    assert indexes(recovered) == list(range(40, 51))
    assert recovered.commit_index == 40


def test_the_term_and_the_vote_outlive_the_segment_that_they_were_written_in(disk):
    journal = journal_of(disk)
    journal.setCurrentTerm(7, "r2")
    for index in range(1, 51):
        journal.add(b"\0" + bytes(40), index, 7)
        journal.sync()
    journal.compact(50)
    disk.crash()
    recovered = journal_of(disk)
    assert (recovered.getCurrentTerm(), recovered.getVotedForNodeId()) == (7, "r2")


def test_a_snapshot_ahead_of_the_log_replaces_it_durably(disk):
    journal = filled(disk)
    journal.start_at(80, 4)
    journal.add(b"\0x", 81, 4)
    journal.sync()
    disk.crash()
    recovered = journal_of(disk)
    assert indexes(recovered) == [80, 81]
    assert recovered.term_at(80) == 4


def test_a_snapshot_keeps_the_suffix_that_continues_it(disk):
    journal = filled(disk)
    journal.start_at(20, 1)
    assert indexes(journal) == list(range(20, 51))


def test_a_snapshot_drops_a_log_that_contradicts_it(disk):
    journal = filled(disk, term=1)
    journal.start_at(20, 2)
    assert indexes(journal) == [20]
    disk.crash()
    assert indexes(journal_of(disk)) == [20]
