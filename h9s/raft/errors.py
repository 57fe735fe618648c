"""What may go wrong below the store. All but a damaged archive end the process: going on could lose data."""

from __future__ import annotations

from h9s.errors import InternalError


class JournalError(InternalError):
    """The journal or a snapshot cannot be written or read."""


class JournalCorruptError(JournalError):
    """A record that had been written whole is damaged, or the journal is somebody else's."""


class JournalTailDamagedError(JournalCorruptError):
    """The journal's last segment has lost what had been synced, and maybe acknowledged: the replica may
    go on only as a learner that gets everything anew."""


class SnapshotCorruptError(InternalError):
    """A snapshot that had been written whole is damaged, or another cluster's."""


class ArchiveDamagedError(InternalError):
    """The archive of old revisions is damaged, or another cluster's. It is derived data and replaced."""


class SafetyError(InternalError):
    """Something happened that Raft excludes, such as a committed entry about to be overwritten."""


class RemovedError(InternalError):
    """The replica was removed from its cluster."""


class EngineChangedError(InternalError):
    """The consensus engine is not the version whose private parts are known."""
