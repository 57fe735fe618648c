"""The acts of `howbe-apiserver recover`: who can still be reached, and the exchange of the data folder."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from h9s.apiserver import data_dir
from h9s.apiserver.data_dir import DataIdentity
from h9s.apiserver.repairing import timestamp
from h9s.apiserver.settings import Settings
from h9s.clock import Clock
from h9s.errors import UsageError
from h9s.raft.configuration import Configuration, Member
from h9s.raft.inspection import JOURNAL, SNAPSHOTS, DataReport
from h9s.raft.links import split_address
from h9s.raft.recovery import write_recovered
from h9s.raft.snapshot_files import SnapshotFiles
from h9s.raft.storage import FileStorage

#: How long a replica may take to accept a connection, in seconds.
_PATIENCE = 2.0
_NEW = "recovered"


def former_configuration(settings: Settings, report: DataReport) -> Configuration:
    """Who took part: what the data says, or else, if that was never changed, the settings."""
    if report.configuration is not None:
        return report.configuration
    return Configuration.of(
        Member(id=replica.id, api_address=replica.api_address, peer_address=replica.peer_address)
        for replica in settings.replicas
    )


def answering(replica_id: str, configuration: Configuration) -> tuple[list[str], bool]:
    """Which other voters accept connections, and whether they and this replica are a majority."""
    others = [member for member in configuration.members if member.voter and member.id != replica_id]
    reachable = [
        member.id for member in others if _listens(member.peer_address) or _listens(member.api_address)
    ]
    return reachable, bool(reachable) and 2 * (len(reachable) + 1) > len(others) + 1


def _listens(address: str) -> bool:
    try:
        with socket.create_connection(split_address(address), timeout=_PATIENCE):
            return True
    except (OSError, UsageError):
        return False


def recover(
    settings: Settings, report: DataReport, identity: DataIdentity, *, clock: Clock
) -> tuple[int, Path]:
    """Exchange the replica's data for that of a cluster of its own, in which it is `identity`.

    Gives the revision at which that goes on, and where the old data is. Interrupted in the middle it
    leaves a replica of a new incarnation without a vote, and what `finish_interrupted` needs. Raises
    UsageError.
    """
    folder = settings.data_dir
    new = folder / _NEW
    own = next(replica for replica in settings.replicas if replica.id == settings.replica_id)
    member = Member(
        id=own.id,
        incarnation=identity.incarnation,
        api_address=own.api_address,
        peer_address=own.peer_address,
    )
    try:
        if new.exists():
            shutil.rmtree(new)
        revision = write_recovered(
            new,
            report,
            cluster_id=identity.cluster_id,
            member=member,
            former=former_configuration(settings, report),
        )
        data_dir.write(folder, identity)
        aside = _exchange(folder, clock)
    except OSError as error:
        raise UsageError(f"cannot exchange the content of {folder}: {error}") from error
    return revision, aside


def finish_interrupted(folder: Path, identity: DataIdentity, *, clock: Clock) -> bool:
    """Finish the exchange that an interrupted `recover` began; whether there was one. Raises UsageError."""
    snapshots = folder / _NEW / SNAPSHOTS
    if not snapshots.is_dir():
        return False
    files = SnapshotFiles(FileStorage(snapshots), identity=identity.cluster_id)
    latest = files.latest()
    encoded = files.configuration_of(files.content(latest), name=latest.name) if latest else b""
    member = Configuration.decode(encoded).get(identity.replica_id)
    if member is None or member.incarnation != identity.incarnation:
        # Nothing had been exchanged: the identity comes first.
        return False
    try:
        _exchange(folder, clock)
    except OSError as error:
        raise UsageError(f"cannot exchange the content of {folder}: {error}") from error
    return True


def _exchange(folder: Path, clock: Clock) -> Path:
    """Put the new data in the place of the old, which goes aside; snapshots last: they say whose it is."""
    new, aside = folder / _NEW, folder / data_dir.SET_ASIDE
    if (new / JOURNAL).is_dir():
        aside = data_dir.set_aside(folder, name=timestamp(clock), but=_NEW)
        (new / JOURNAL).rename(folder / JOURNAL)
        data_dir.sync_folder(folder)
        data_dir.sync_folder(new)
    (new / SNAPSHOTS).rename(folder / SNAPSHOTS)
    data_dir.sync_folder(folder)
    new.rmdir()
    data_dir.sync_folder(folder)
    return aside
