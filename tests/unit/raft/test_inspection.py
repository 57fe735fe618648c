"""What a data folder says, read without changing it."""

from __future__ import annotations

import shutil

import pytest

from h9s._pb import api_pb2, log_pb2
from h9s.raft.inspection import JOURNAL, SNAPSHOTS, inspect
from h9s.raft.journal import Journal
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.raft.storage import FileStorage
from h9s.store.snapshot import encode
from h9s.store.state_machine import StateMachine


def entry(number):
    """The entry that writes one key, as it is in the log."""
    written = log_pb2.Transaction(
        request_id=api_pb2.RequestId(nonce=b"%016d" % number, issued_at_ms=1),
        mutations=[log_pb2.Mutation(key=f"/sim/Item//{number}", value=b"v")],
    )
    return b"\0" + log_pb2.LogEntry(format_version=1, time_ms=1, transactions=[written]).SerializeToString()


def fill(folder, *, entries=5, snapshot_at=0):
    """A replica's data: so many entries, the last one not committed."""
    journal = Journal(FileStorage(folder / JOURNAL), identity="c1/r1", segment_bytes=4096)
    journal.setCurrentTerm(2, "r1")
    journal.add(b"\x01", 1, 2)
    for index in range(2, entries + 1):
        journal.add(entry(index), index, 2)
        journal.sync()
    journal.setRaftCommitIndex(entries - 1)
    journal.mark()
    journal._destroy()
    if snapshot_at:
        machine = StateMachine()
        for index in range(2, snapshot_at + 1):
            machine.apply(log_pb2.LogEntry.FromString(entry(index)[1:]))
        files = SnapshotFiles(FileStorage(folder / SNAPSHOTS), identity="c1")
        files.write(SnapshotInfo(snapshot_at, 2), encode(machine.capture()))


def bytes_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("snapshot_at", [0, 3])
def test_log_and_snapshot_make_the_state(tmp_path, snapshot_at):
    fill(tmp_path, snapshot_at=snapshot_at)
    before = bytes_of(tmp_path)
    report = inspect(tmp_path, cluster_id="c1", replica_id="r1")
    assert report.faults == []
    assert (report.last, report.commit_index, report.machine.revision) == ((2, 5), 4, 4)
    assert bytes_of(tmp_path) == before


def test_an_empty_folder_is_an_empty_replica(tmp_path):
    report = inspect(tmp_path, cluster_id="c1", replica_id="r1")
    assert (report.last, report.commit_index, report.faults) == ((0, 0), 0, [])
    assert list(tmp_path.iterdir()) == []


def test_every_damaged_file_is_named(tmp_path):
    fill(tmp_path, snapshot_at=3)
    for folder, offset in ((JOURNAL, 200), (SNAPSHOTS, 80)):
        (path,) = (tmp_path / folder).iterdir()
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)
    report = inspect(tmp_path, cluster_id="c1", replica_id="r1")
    assert [fault.split(":")[0].split()[-1][:7] for fault in report.faults] == ["journal", "snapsho"]


def test_a_log_without_its_beginning_is_a_fault(tmp_path):
    fill(tmp_path, snapshot_at=3)
    journal = Journal(FileStorage(tmp_path / "other" / JOURNAL), identity="c1/r1")
    journal.start_at(9, 2)
    journal.add(entry(10), 10, 2)
    journal.sync()
    journal._destroy()
    report = inspect(tmp_path / "other", cluster_id="c1", replica_id="r1")
    assert "the log begins at index 9" in report.faults[0]


def test_what_contradicts_a_snapshot_that_was_sent_does_not_count(tmp_path):
    """Power was lost between storing the snapshot and dropping the entries."""
    fill(tmp_path)
    machine = StateMachine()
    machine.apply(log_pb2.LogEntry.FromString(entry(9)[1:]))
    files = SnapshotFiles(FileStorage(tmp_path / SNAPSHOTS), identity="c1")
    files.write(SnapshotInfo(3, 7), encode(machine.capture()))
    report = inspect(tmp_path, cluster_id="c1", replica_id="r1")
    assert (report.last, report.faults) == ((7, 3), [])
    assert report.machine.capture() == machine.capture()


def test_a_snapshot_without_a_log_is_a_fault(tmp_path):
    fill(tmp_path, snapshot_at=3)
    shutil.rmtree(tmp_path / JOURNAL)
    (fault,) = inspect(tmp_path, cluster_id="c1", replica_id="r1").faults
    assert "and no log" in fault
