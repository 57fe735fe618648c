"""Turns one replica's data into that of a cluster of its own: the state after its whole log, and itself as
the only member. The revision is moved on as in a restored cluster (see `h9s.store.backup`), because the
lost replicas may have shown their clients revisions that this one never had.
"""

from __future__ import annotations

from pathlib import Path

from h9s.errors import UsageError
from h9s.raft.configuration import Configuration, Life, Member
from h9s.raft.founding import found
from h9s.raft.inspection import DataReport
from h9s.raft.snapshot_files import SnapshotInfo
from h9s.raft.versions import FEATURE_LEVEL
from h9s.store.backup import moved_on


def write_recovered(
    folder: Path, report: DataReport, *, cluster_id: str, member: Member, former: Configuration
) -> int:
    """Fill the empty `folder`; the revision at which the cluster goes on. `former`: who took part until now.

    Raises UsageError.
    """
    term, index = report.last
    if not index:
        raise UsageError("there is no data to recover: neither log nor snapshot")
    # They are told, if they come back, instead of going on as the old cluster.
    lives = [Life(other.id, other.incarnation) for other in former.members]
    snapshot = moved_on(report.machine.capture(), seed=report.machine.history_hash)
    snapshot = snapshot._replace(feature_level=FEATURE_LEVEL)
    found(
        folder,
        snapshot,
        cluster_id=cluster_id,
        replica_id=member.id,
        at=SnapshotInfo(index, term),
        term=max(term, report.journal.term),
        configuration=Configuration.of([member], retired=[*former.retired, *lives]).encode(),
    )
    return snapshot.revision
