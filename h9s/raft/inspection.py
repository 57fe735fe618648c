"""What a replica's data says, read without changing it: for `verify`, `recover`, and whoever wonders.

Blocks, and needs memory for the whole state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from h9s._pb import log_pb2
from h9s.errors import H9sError
from h9s.raft.configuration import Configuration
from h9s.raft.errors import JournalCorruptError, JournalError
from h9s.raft.journal_recovery import Replayed, replay
from h9s.raft.membership import PREFIX as CONFIGURATION_COMMAND
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.raft.storage import FileStorage
from h9s.store.snapshot import decode
from h9s.store.state_machine import StateMachine

JOURNAL, SNAPSHOTS = "journal", "snapshots"
#: Begins an entry that holds a LogEntry; others are consensus's own.
_COMMAND = b"\x00"


@dataclass
class DataReport:
    """What was found in one data folder. Without faults, `machine` is the state after the whole log."""

    journal: Replayed = field(default_factory=Replayed)
    snapshots: list[SnapshotInfo] = field(default_factory=list)
    machine: StateMachine = field(default_factory=StateMachine)
    faults: list[str] = field(default_factory=list)
    #: Who takes part, where log or snapshot say so; else who the settings say.
    configuration: Configuration | None = None

    @property
    def last(self) -> tuple[int, int]:
        """(term, index) of the last entry: the greater, the fresher, by Raft's rule."""
        ends = [(entry.term, entry.index) for entry in self.journal.entries[-1:]]
        ends += [(info.last_term, info.last_index) for info in self.snapshots]
        return max(ends, default=(0, 0))

    @property
    def commit_index(self) -> int:
        """What the replica knew to be committed for sure; more may have been."""
        known = [self.journal.commit_index, *(info.last_index for info in self.snapshots)]
        return max(known)


def inspect(data_dir: Path, *, cluster_id: str, replica_id: str) -> DataReport:
    """Read everything: journal, snapshots, and the state that they make. Damage becomes faults."""
    report = DataReport()
    try:
        if (data_dir / JOURNAL).is_dir():
            report.journal = replay(FileStorage(data_dir / JOURNAL), identity=f"{cluster_id}/{replica_id}")
    except JournalCorruptError as error:
        report.faults.append(error.message)
    if (data_dir / SNAPSHOTS).is_dir():
        _inspect_snapshots(report, data_dir / SNAPSHOTS, cluster_id)
    if not report.faults:
        try:
            _replay_log(report)
        except H9sError as error:
            report.faults.append(error.message)
    return report


def _inspect_snapshots(report: DataReport, folder: Path, cluster_id: str) -> None:
    files = SnapshotFiles(FileStorage(folder), identity=cluster_id, examine_only=True)
    report.snapshots = files.infos()
    for info in report.snapshots:
        try:
            content = files.content(info)
            snapshot = decode(files.parts_of(content, name=info.name))
            configuration = files.configuration_of(content, name=info.name)
        except H9sError as error:
            report.faults.append(error.message)
        else:
            report.machine.restore(snapshot)
            if configuration:
                report.configuration = Configuration.decode(configuration)


def _replay_log(report: DataReport) -> None:
    start, term = report.snapshots[-1] if report.snapshots else (0, 0)
    entries = report.journal.entries
    if any(entry.index == start and entry.term != term for entry in entries):
        # The snapshot was sent by another replica, and contradicts what follows: see `Journal.start_at`.
        return
    if report.snapshots and not entries and report.journal.term < term:
        raise JournalError(f"there is {report.snapshots[-1].name}, and no log")
    if entries and entries[0].index > start + 1:
        raise JournalError(
            f"the log begins at index {entries[0].index}, and there is no snapshot of what was before"
        )
    for entry in entries:
        if entry.index > start:
            _apply(report, entry.command)


def _apply(report: DataReport, command: bytes) -> None:
    if command[:1] == _COMMAND:
        report.machine.apply(log_pb2.LogEntry.FromString(command[1:]))
    elif command[:1] == CONFIGURATION_COMMAND:
        report.configuration = Configuration.decode(command[1:])
