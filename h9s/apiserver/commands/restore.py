"""`howbe-apiserver restore`: makes a new cluster's data of a backup."""

from __future__ import annotations

from pathlib import Path

import click

from h9s.api.backup_file import BackupReader
from h9s.apiserver import data_dir
from h9s.apiserver.commands.options import CONFIG, tells_errors
from h9s.apiserver.commands.verify import described
from h9s.apiserver.data_dir import DataIdentity
from h9s.apiserver.settings import Settings
from h9s.errors import UsageError
from h9s.raft.founding import found
from h9s.store.backup import decode


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@CONFIG
@tells_errors
def COMMAND(file: Path, config_path: Path) -> None:
    """Make the data of a new cluster's replica from the backup FILE.

    Run it for every replica of the new cluster, with the same FILE, instead of `init`. Addresses and
    cluster id may be other ones than those of the cluster that was backed up.
    """
    settings = Settings.load(config_path)
    folder = settings.data_dir
    data_dir.require_empty(folder)
    try:
        with file.open("rb") as opened:
            reader = BackupReader(opened, name=str(file))
            snapshot = decode(reader)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    data_dir.create(folder)
    found(folder, snapshot, cluster_id=settings.cluster_id, replica_id=settings.replica_id)
    # Last: without it nothing starts on this data.
    data_dir.write(folder, DataIdentity(settings.cluster_id, settings.replica_id))
    click.echo(f"restored {described(reader.summary)}")
    click.echo(
        f"{folder} holds it for replica {settings.replica_id} of cluster {settings.cluster_id}, "
        f"from revision {snapshot.revision} on"
    )
