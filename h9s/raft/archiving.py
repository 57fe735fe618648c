"""Moves history from memory to the archive, and forgets what the cluster has forgotten.

Memory lets go of a revision only once the archive has it durably, or where there is no archive that
works: then this replica alone lacks it. A snapshot carries what is in memory, so the archive reaches to
where the newest snapshot's history begins, and after a restart the log brings back what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from h9s.clock import Clock, wall_ms
from h9s.errors import HistoryNotHeldError
from h9s.raft.errors import ArchiveDamagedError
from h9s.raft.history_archive import HistoryArchive
from h9s.raft.install import RunOffLoop
from h9s.store.history import History, size_of
from h9s.store.past import Past
from h9s.store.state_machine import StateMachine

log = logging.getLogger(__name__)

#: Archived at a time: so many take a noticeable fraction of a second of another thread.
_BATCH = 10_000
#: Looked at in one turn of the loop.
_RELEASED_AT_ONCE = 2000
#: How much more than its limit is held in memory while the archive cannot be written.
_PATIENCE = 2
_RETRY_SECONDS = 60.0
#: What is cut off when the history has grown too large: an eighth.
_CUT = 8
#: An archive larger than its limit by this factor is cut by itself.
_TOLERATED = 1.25


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """How much history is kept. Sizes in bytes, times in seconds."""

    max_bytes: int = 512 << 20
    max_age: float = 24 * 3600.0
    #: In memory, where there is an archive.
    recent_max_bytes: int = 16 << 20
    recent_max_age: float = 600.0
    #: In all, as long as some replica holds all of it in memory.
    unarchived_max_bytes: int = 128 << 20
    unarchived_max_age: float = 600.0
    #: How often memory is looked at.
    interval: float = 1.0
    #: Less than this is not worth a transaction yet, unless it is older than `batch_max_age`.
    batch_min_bytes: int = 1 << 20
    batch_max_age: float = 60.0


class Archiving:
    """One replica's history behind the state machine. Methods are called from the event loop.

    Without `open_archive` memory holds all of the history. `all_archive` tells whether the other replicas
    have archives as well.
    """

    def __init__(
        self,
        *,
        machine: StateMachine,
        open_archive: Callable[[], HistoryArchive] | None,
        all_archive: Callable[[], bool],
        run_off_loop: RunOffLoop,
        clock: Clock,
        settings: HistorySettings,
    ) -> None:
        self._machine = machine
        self._open_archive = open_archive
        self._all_archive = all_archive
        self._run_off_loop = run_off_loop
        self._clock = clock
        self._settings = settings
        self._is_running = False
        self._is_failing = False
        self._retry_at = 0.0
        #: What an opened archive holds beyond this is to be archived again.
        self._cut_at: int | None = None
        self.archive = self._open()
        #: What the archive takes on disk.
        self.archive_bytes = self.archive.size_bytes if self.archive is not None else 0
        #: What is not younger than the greatest age, as far as the archive knows.
        self._archived_horizon = 0

    @property
    def _history(self) -> History:
        return self._machine.history

    @property
    def past(self) -> Past:
        """The whole history as it is now."""
        return Past(self._machine, self.archive)

    @property
    def first_revision(self) -> int:
        """The oldest revision that can be read here."""
        history, archive = self._history, self.archive
        held = history.recent_revision
        if archive is not None and archive.last_revision >= held:
            held = min(held, archive.first_revision)
        return max(held, history.compact_revision)

    def horizon(self) -> int:
        """Up to which revision the cluster should forget its history by now; for the leader."""
        history = self._history
        recent = history.revision_at(self._oldest_ms())
        # Of what is not held here nothing is known.
        horizon = max(self._archived_horizon, recent if recent > history.recent_revision else 0)
        max_bytes = self._settings.max_bytes
        if not self._is_archived_everywhere:
            max_bytes = min(max_bytes, self._settings.unarchived_max_bytes)
        if self.archive_bytes + history.size_bytes > max_bytes:
            first = self.first_revision
            horizon = max(horizon, first + (history.revision - first) // _CUT)
        return horizon

    @property
    def _is_archived_everywhere(self) -> bool:
        return self._open_archive is not None and self._all_archive()

    def _oldest_ms(self) -> int:
        """What happened before this is too old to be kept."""
        max_age = self._settings.max_age
        if not self._is_archived_everywhere:
            max_age = min(max_age, self._settings.unarchived_max_age)
        return wall_ms(self._clock) - int(max_age * 1000)

    async def run(self) -> None:
        """Archive what is due, release what is archived, prune what is forgotten.

        An archive that cannot be written or is damaged costs old revisions, never the replica.
        """
        if self._is_running or self._open_archive is None:
            return
        self._is_running = True
        try:
            self._reopen()
            archive = self.archive
            if archive is None:
                await self._release(_PATIENCE * self._settings.recent_max_bytes, up_to=self._history.revision)
                return
            if self._cut_at is not None:
                await self._run_off_loop(partial(archive.cut_after, self._cut_at))
                self._cut_at = None
            await self._archive_pending(archive)
            await self._release(self._settings.recent_max_bytes, up_to=archive.last_revision)
            await self._run_off_loop(lambda: self._prune(archive))
            self._is_failing = False
        except ArchiveDamagedError as error:
            log.warning("the history archive is damaged: %s", error)
            self._set_aside()
        except OSError as error:
            if not self._is_failing:
                log.warning("the history archive cannot be written: %s", error)
            self._is_failing = True
            await self._release(_PATIENCE * self._settings.recent_max_bytes, up_to=self._history.revision)
        finally:
            self._is_running = False

    async def _archive_pending(self, archive: HistoryArchive) -> None:
        history = self._history
        while self._is_due(archive):
            start = max(archive.last_revision, history.recent_revision)
            batch = history.after(start, limit=_BATCH)
            await self._run_off_loop(partial(archive.append, batch))
            if len(batch) < _BATCH:
                return

    def _is_due(self, archive: HistoryArchive) -> bool:
        history = self._history
        start = max(archive.last_revision, history.recent_revision)
        pending = history.revision - start
        if pending <= 0:
            return False
        (oldest,) = history.after(start, limit=1)
        age = wall_ms(self._clock) - oldest.time_ms
        pending_bytes = history.size_bytes * pending // len(history)
        return pending_bytes >= self._settings.batch_min_bytes or age >= self._settings.batch_max_age * 1000

    async def _release(self, max_bytes: int, *, up_to: int) -> None:
        """Hold in memory only what is young and little; some at a time, others want their turn."""
        history = self._history
        oldest = wall_ms(self._clock) - int(self._settings.recent_max_age * 1000)
        while history.recent_revision < up_to:
            limit = min(_RELEASED_AT_ONCE, up_to - history.recent_revision)
            revision, excess = history.recent_revision, history.size_bytes - max_bytes
            for record in history.after(revision, limit=limit):
                if excess <= 0 and record.time_ms >= oldest:
                    break
                excess -= size_of(record)
                revision = record.revision
            is_done = revision < history.recent_revision + limit
            history.release(revision)
            if is_done:
                return
            await asyncio.sleep(0)

    def _prune(self, archive: HistoryArchive) -> None:
        archive.prune(self._history.compact_revision)
        first = -1
        while archive.size_bytes > self._settings.max_bytes * _TOLERATED and archive.first_revision > first:
            # The leader has less history than this replica, and does not see that it is too much.
            first = archive.first_revision
            archive.prune(first + (archive.last_revision - first) // _CUT)
        self._measure(archive)

    def _measure(self, archive: HistoryArchive) -> None:
        self.archive_bytes = archive.size_bytes
        try:
            found = archive.revision_at(self._oldest_ms())
        except HistoryNotHeldError as error:
            raise ArchiveDamagedError(error.message) from error
        self._archived_horizon = found if found > archive.first_revision else 0

    # --- the archive itself ------------------------------------------------------------------

    def _open(self) -> HistoryArchive | None:
        if self._open_archive is None:
            return None
        try:
            archive = self._open_archive()
        except (OSError, ArchiveDamagedError) as error:
            log.warning("there is no history archive, older revisions cannot be read here: %s", error)
            self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
            return None
        # The log brings back what came after the snapshot that the machine began with.
        self._cut_at = self._machine.revision
        return archive

    def _reopen(self) -> None:
        if self.archive is not None and self.archive.is_damaged:
            log.warning("the history archive is damaged")
            self._set_aside()
        if self.archive is None and self._clock.monotonic() >= self._retry_at:
            self.archive = self._open()

    def _set_aside(self) -> None:
        archive, self.archive = self.archive, None
        self.archive_bytes = self._archived_horizon = 0
        try:
            if archive is not None:
                archive.set_aside()
        except OSError as error:
            log.warning("the history archive cannot be set aside: %s", error)
            self._retry_at = self._clock.monotonic() + _RETRY_SECONDS

    def close(self) -> None:
        """Let go of the archive."""
        if self.archive is not None:
            self.archive.close()
