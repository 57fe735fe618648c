"""What a replica begins with is whole, or it does not begin."""

from __future__ import annotations

import shutil

import pytest

from h9s.raft.configuration import Configuration, Member
from h9s.raft.errors import JournalCorruptError
from h9s.raft.inspection import JOURNAL, SNAPSHOTS, inspect
from h9s.raft.journal import Journal
from h9s.raft.loading import load
from h9s.raft.membership import Membership
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.storage import FileStorage
from h9s.store.state_machine import StateMachine
from tests.unit.raft.test_inspection import entry, fill


def loaded(folder, *, incarnation=0):
    machine = StateMachine()
    journal = Journal(FileStorage(folder / JOURNAL), identity="c1/r1")
    load(
        machine,
        snapshots=SnapshotFiles(FileStorage(folder / SNAPSHOTS), identity="c1"),
        journal=journal,
        membership=Membership(
            replica_id="r1", incarnation=incarnation, founding=Configuration.of([Member(id="r1")])
        ),
    )
    return machine, journal


def test_the_log_goes_on_behind_the_snapshot(tmp_path):
    fill(tmp_path, snapshot_at=3)
    machine, journal = loaded(tmp_path)
    assert (machine.revision, journal[0].index, journal[-1].index) == (2, 3, 5)


def test_a_log_that_does_not_reach_the_snapshot_is_refused_and_stays_as_it_is(tmp_path):
    fill(tmp_path, snapshot_at=3)
    shutil.rmtree(tmp_path / JOURNAL)
    journal = Journal(FileStorage(tmp_path / JOURNAL), identity="c1/r1")
    journal.add(entry(5), 5, 2)
    journal.sync()
    journal.close()
    for _ in range(2):
        with pytest.raises(JournalCorruptError, match="the log begins at index 5"):
            loaded(tmp_path)


def test_a_member_that_lost_its_log_does_not_go_on_with_the_snapshot(tmp_path):
    """It does not know what it has promised; one in a new life has promised nothing."""
    fill(tmp_path, snapshot_at=3)
    shutil.rmtree(tmp_path / JOURNAL)
    for _ in range(2):
        with pytest.raises(JournalCorruptError, match="and no log"):
            loaded(tmp_path)
    machine, _ = loaded(tmp_path, incarnation=4711)
    assert machine.revision == 2


def test_a_log_that_is_empty_because_the_snapshot_has_all_of_it_is_none_that_was_lost(tmp_path):
    fill(tmp_path, snapshot_at=3)
    shutil.rmtree(tmp_path / JOURNAL)
    journal = Journal(FileStorage(tmp_path / JOURNAL), identity="c1/r1")
    journal.setCurrentTerm(2, "r2")
    journal.sync()
    journal.close()
    for _ in range(2):
        machine, journal = loaded(tmp_path)
        assert (machine.revision, journal[-1].index) == (2, 3)
        assert journal.getCurrentTerm() == 2
    assert inspect(tmp_path, cluster_id="c1", replica_id="r1").faults == []
