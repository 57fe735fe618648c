"""When a replica takes a snapshot, and how: captured at once, written off the loop, then the log is cut.

The log is kept from the older of the two newest snapshots on, so that a follower that is a little
behind is served from the log.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable

from h9s.raft.engine import Engine
from h9s.raft.errors import JournalError, SafetyError
from h9s.raft.install import RunOffLoop
from h9s.raft.membership import Membership
from h9s.raft.metrics import SNAPSHOTS
from h9s.raft.snapshot_files import SnapshotFiles, SnapshotInfo
from h9s.store.snapshot import StateSnapshot, encode

log = logging.getLogger(__name__)

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Snapshotting:
    """One replica's snapshots."""

    def __init__(
        self,
        *,
        engine: Engine,
        files: SnapshotFiles,
        capture: Callable[[], StateSnapshot],
        membership: Membership,
        run_off_loop: RunOffLoop,
        min_entries: int,
        min_bytes: int,
    ) -> None:
        self._engine = engine
        self._files = files
        self._capture = capture
        self._membership = membership
        self._run_off_loop = run_off_loop
        self._min_entries = min_entries
        self._min_bytes = min_bytes
        self._is_running = False
        latest = files.latest()
        self._last_index = latest.last_index if latest else 0
        self._bytes_at_last = engine.journal.size_bytes

    @property
    def is_due(self) -> bool:
        """The log has grown enough since the last one."""
        if self._is_running:
            return False
        grown = self._engine.journal.size_bytes - self._bytes_at_last
        entries = self._engine.applied_index - self._last_index
        return entries >= self._min_entries or (grown >= self._min_bytes and entries > 0)

    async def take(self) -> None:
        """Take one now, if there is space. Raises JournalError if it cannot be written for another reason."""
        self._is_running = True
        try:
            await self._take()
        finally:
            self._is_running = False

    async def _take(self) -> None:
        engine = self._engine
        index = engine.applied_index
        term = engine.journal.term_at(index)
        if term is None:
            raise SafetyError(f"the applied entry {index} is not in the log")
        info, snapshot = SnapshotInfo(index, term), self._capture()
        changed_at, configuration = self._membership.at(index)
        encoded = configuration.encode() if changed_at else b""

        def write() -> None:
            self._files.write(info, encode(snapshot), configuration=encoded)
            self._files.remove_old()

        try:
            await self._run_off_loop(write)
        except OSError as error:
            if error.errno in _NO_SPACE:
                # The log goes on; the next attempt comes when it has grown as much again.
                log.warning("there is no space for a snapshot of index %d: %s", index, error)
                self._last_index, self._bytes_at_last = index, engine.journal.size_bytes
                return
            raise JournalError(f"the snapshot of index {index} cannot be written: {error}") from error
        engine.journal.compact(self._files.infos()[0].last_index)
        self._last_index, self._bytes_at_last = index, engine.journal.size_bytes
        SNAPSHOTS.inc()
        log.info("took a snapshot at index %d, revision %d", index, snapshot.revision)
