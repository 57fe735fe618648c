"""Data with which a replica of a new cluster begins: a snapshot, and a log that goes on behind it.

Deterministic: all replicas that are given the same state begin alike, as if they had all applied the
same first entry.
"""

from __future__ import annotations

from pathlib import Path

from h9s.errors import UsageError
from h9s.raft.errors import JournalError
from h9s.raft.inspection import JOURNAL, SNAPSHOTS
from h9s.raft.journal import Journal
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.raft.storage import FileStorage
from h9s.store.snapshot import StateSnapshot, encode

#: Where the log of a new cluster begins. An empty replica counts entry 1 as applied, with nothing in it:
#: one that joins has to see that it lacks what is here.
FIRST = SnapshotInfo(last_index=2, last_term=1)


def found(
    data_dir: Path,
    snapshot: StateSnapshot,
    *,
    cluster_id: str,
    replica_id: str,
    at: SnapshotInfo = FIRST,
    term: int = FIRST.last_term,
    configuration: bytes = b"",
) -> None:
    """Fill an empty data folder: `snapshot` is the state after the entry `at`, in `term` nobody got a vote.

    `configuration`: who takes part, if not who the settings say. Raises UsageError.
    """
    try:
        files = SnapshotFiles(FileStorage(data_dir / SNAPSHOTS), identity=cluster_id)
        files.write(at, encode(snapshot), configuration=configuration)
        journal = Journal(FileStorage(data_dir / JOURNAL), identity=f"{cluster_id}/{replica_id}")
        journal.setCurrentTerm(term, None)
        journal.start_at(at.last_index, at.last_term)
        journal.sync()
        journal.close()
    except (OSError, JournalError) as error:
        raise UsageError(f"cannot fill {data_dir}: {error}") from error
