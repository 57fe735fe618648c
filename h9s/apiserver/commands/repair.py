"""`howbe-apiserver repair`: a replica with damaged data gets everything from the others."""

from __future__ import annotations

from pathlib import Path

import click

from h9s.apiserver import data_dir
from h9s.apiserver.commands.options import CONFIG, tells_errors
from h9s.apiserver.repairing import begin_new_life
from h9s.apiserver.settings import Settings
from h9s.clock import SystemClock, system_random
from h9s.errors import UsageError
from h9s.raft.inspection import inspect


@click.command("repair")
@CONFIG
@click.option("--wipe", is_flag=True, help="Delete the old data instead of keeping it in set-aside/.")
@click.option("--force", is_flag=True, help="Also where the data is whole, or there are no other replicas.")
@tells_errors
def COMMAND(config_path: Path, wipe: bool, force: bool) -> None:
    """Let a replica whose data is damaged begin anew, without any.

    It comes back under a new incarnation: as a learner without a vote, until it has got everything from
    the others. Repair one replica at a time: a majority of the others has to be whole.
    """
    settings = Settings.load(config_path)
    folder = settings.data_dir
    identity = data_dir.require(folder, cluster_id=settings.cluster_id, replica_id=settings.replica_id)
    with data_dir.locked(folder):
        if not force:
            if len(settings.replicas) == 1:
                raise UsageError("there is no other replica to get the data from; --force gives it up")
            report = inspect(folder, cluster_id=identity.cluster_id, replica_id=identity.replica_id)
            if not report.faults:
                raise UsageError(f"the data in {folder} is whole, there is nothing to repair")
            for fault in report.faults:
                click.echo(f"DAMAGED: {fault}")
        _, aside = begin_new_life(folder, clock=SystemClock(), rng=system_random(), wipe=wipe)
    click.echo("the old data was deleted" if aside is None else f"the old data is kept in {aside}")
    click.echo(f"replica {identity.replica_id} comes back as a learner: start it")
