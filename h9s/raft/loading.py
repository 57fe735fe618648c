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
    had_log = len(journal) > 0
    if had_log and journal[0].index > (latest.last_index if latest else 0) + 1:
        raise JournalCorruptError(
            f"the log begins at index {journal[0].index}, and there is no snapshot of what was before"
        )
    if latest is None:
        membership.rebase(0, None, journal)
        return
    content = snapshots.content(latest)
    encoded = snapshots.configuration_of(content, name=latest.name)
    configuration = Configuration.decode(encoded) if encoded else None
    if not had_log:
        membership.rebase(latest.last_index, configuration, ())
        # A log may well be empty: all of it is in the snapshot. Its term is then not an older one.
        if membership.self_member is not None and journal.getCurrentTerm() < latest.last_term:
            raise JournalCorruptError(
                f"there is {latest.name}, and no log: what this replica had promised is not known any more"
            )
    machine.restore(decode(snapshots.parts_of(content, name=latest.name)))
    journal.start_at(latest.last_index, latest.last_term)
    membership.rebase(latest.last_index, configuration, journal)
