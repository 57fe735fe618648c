"""What a replica begins with: its newest snapshot, and the log that continues it."""

from __future__ import annotations

from h9s.raft.configuration import Configuration
from h9s.raft.errors import JournalCorruptError
from h9s.raft.journal import Journal
from h9s.raft.membership import Membership
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.store.snapshot import decode
from h9s.store.state_machine import StateMachine


def load(
    machine: StateMachine, *, snapshots: SnapshotFiles, journal: Journal, membership: Membership
) -> None:
    """Restore state and members; entries behind the snapshot are applied later, when they are known to be
    committed. Raises JournalCorruptError, SnapshotCorruptError."""
    latest = snapshots.latest()
    snapshots.verify(but=latest)
    if latest is None:
        membership.rebase(0, None, journal)
        if len(journal) and journal[0].index > 1:
            raise JournalCorruptError(
                f"the log begins at index {journal[0].index}, and there is no snapshot of what was before"
            )
        return
    content = snapshots.content(latest)
    machine.restore(decode(snapshots.parts_of(content, name=latest.name)))
    journal.start_at(latest.last_index, latest.last_term)
    encoded = snapshots.configuration_of(content, name=latest.name)
    configuration = Configuration.decode(encoded) if encoded else None
    membership.rebase(latest.last_index, configuration, journal)
