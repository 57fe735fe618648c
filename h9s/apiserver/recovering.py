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
from h9s.raft.inspection import DataReport
from h9s.raft.links import split_address
from h9s.raft.recovery import write_recovered

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
    leaves a replica of a new incarnation without a vote, and the old data aside. Raises UsageError.
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
        aside = data_dir.set_aside(folder, name=timestamp(clock), but=_NEW)
        for path in sorted(new.iterdir()):
            path.rename(folder / path.name)
        new.rmdir()
        data_dir.sync_folder(folder)
    except OSError as error:
        raise UsageError(f"cannot exchange the content of {folder}: {error}") from error
    return revision, aside
