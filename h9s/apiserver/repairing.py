"""What becomes of a replica whose data is damaged: it begins a new life, and gets everything from the others.

Nothing of the old data may count any more: what its former self had promised is partly forgotten. So it
gets a new incarnation first, durably, and only then is the data put out of the way; a replica of a new
incarnation has no vote before it has caught up.
"""

from __future__ import annotations

import datetime
import logging
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from h9s.apiserver import data_dir
from h9s.apiserver.data_dir import DataIdentity
from h9s.apiserver.settings import Settings
from h9s.clock import Clock
from h9s.errors import DamagedError, InvalidError, UsageError
from h9s.raft.errors import JournalCorruptError, JournalTailDamagedError, SnapshotCorruptError
from h9s.raft.inspection import JOURNAL, SNAPSHOTS
from h9s.raft.journal import Journal, TornTail
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.storage import FileStorage

log = logging.getLogger(__name__)


def begin_new_life(
    folder: Path, *, clock: Clock, rng: random.Random, wipe: bool = False
) -> tuple[int, Path | None]:
    """Give the data folder a new incarnation and no data: (incarnation, where the old data is now).

    With `wipe` the old data is deleted. Raises UsageError.
    """
    identity = data_dir.read(folder)
    incarnation = data_dir.new_incarnation(rng)
    data_dir.write(folder, DataIdentity(identity.cluster_id, identity.replica_id, incarnation))
    aside = data_dir.set_aside(folder, name=timestamp(clock))
    if not wipe:
        return incarnation, aside
    try:
        shutil.rmtree(aside)
    except OSError as error:
        raise UsageError(f"cannot delete {aside}: {error.strerror}") from error
    return incarnation, None


def timestamp(clock: Clock) -> str:
    """Now, as a file name that sorts by time."""
    return datetime.datetime.fromtimestamp(clock.wall(), tz=datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def open_journal(
    settings: Settings, incarnation: int, *, clock: Clock, rng: random.Random
) -> tuple[Journal, int]:
    """The replica's journal and its incarnation, a new one if the end of the journal was damaged.

    Raises DamagedError where only an administrator can decide.
    """
    try:
        return _open(settings), incarnation
    except JournalTailDamagedError as error:
        if len(settings.replicas) == 1:
            raise _explained(error.message, settings) from error
        incarnation, aside = begin_new_life(settings.data_dir, clock=clock, rng=rng)
        log.critical(
            "%s: this replica has lost what it may have acknowledged. The damaged data is kept in %s; "
            "it comes back as a learner that gets everything from the others. CHECK ITS DISK",
            error.message,
            aside,
        )
        return _open(settings), incarnation
    except JournalCorruptError as error:
        raise _explained(error.message, settings) from error


@contextmanager
def damage_explained(settings: Settings) -> Iterator[None]:
    """Turns what is raised about damaged files into a DamagedError that says what to do."""
    try:
        yield
    except (JournalCorruptError, SnapshotCorruptError, InvalidError) as error:
        raise _explained(error.message, settings) from error


def open_snapshots(settings: Settings) -> SnapshotFiles:
    """The replica's snapshots."""
    return SnapshotFiles(FileStorage(settings.data_dir / SNAPSHOTS), identity=settings.cluster_id)


def _open(settings: Settings) -> Journal:
    return Journal(
        FileStorage(settings.data_dir / JOURNAL),
        identity=f"{settings.cluster_id}/{settings.replica_id}",
        on_torn_tail=_report_torn_tail,
    )


def _report_torn_tail(torn: TornTail) -> None:
    log.warning(
        "journal segment %s: cut off %d bytes at offset %d that had never been synced, so never acknowledged",
        torn.segment,
        torn.dropped_bytes,
        torn.offset,
    )


def _explained(fault: str, settings: Settings) -> DamagedError:
    return DamagedError(
        f"the data in {settings.data_dir} is damaged: {fault}. If the other replicas are whole, "
        f"`howbe-apiserver repair --config {settings.source}` sets the data aside and lets this replica get "
        "everything from them; if they are not, see `howbe-apiserver recover --help`"
    )
