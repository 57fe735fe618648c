"""`howbectl cluster`: status, backup, and the changes of members in `cli.members`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from h9s._pb import cluster_pb2
from h9s.cli.backups import write_backup
from h9s.cli.members import ADD, PROMOTE, REMOVE, TRANSFER_LEADER
from h9s.cli.options import group, output_option, pass_session
from h9s.cli.replicas import ClusterView
from h9s.cli.session import CommandError, Session
from h9s.cli.tables import align
from h9s.cli.usage import document, shortages, size, usage_rows
from h9s.errors import H9sError

if TYPE_CHECKING:
    from h9s.api.backup_file import BackupSummary
    from h9s.client.client import Client

#: How long one replica may take to answer, in seconds.
_PATIENCE = 0.8


@group("cluster")
def COMMAND() -> None:
    """Show and change the control plane's replicas, and back up what they hold."""


for _command in (ADD, PROMOTE, REMOVE, TRANSFER_LEADER):
    COMMAND.add_command(_command)


@COMMAND.command("status")
@output_option("wide", "yaml", "json")
@pass_session
def _status(session: Session, output: str | None) -> None:
    """Ask every replica how it is; fails where no leader has a majority.

    LAG: how many log entries a replica lacks. -o wide: also how much of everything that is bounded is
    in use.
    """

    async def work(client: Client) -> ClusterView:
        return await look_at(client, session.config.servers)

    view = session.run(work)
    if not any(view.answers.values()):
        raise CommandError(f"no replica answers (tried {', '.join(view.answers)}); is the cluster running?")
    if output in ("yaml", "json"):
        click.echo(document(view, output), nl=False)
    else:
        click.echo(align(view.rows()), nl=False)
    if output == "wide":
        click.echo("\n" + align(usage_rows(view)), nl=False)
    for shortage in shortages(view):
        click.echo(f"warning: {shortage}", err=True)
    if not view.is_healthy:
        raise CommandError(view.summary())
    click.echo(view.summary(), err=True)


@COMMAND.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--revision", type=click.IntRange(min=1), help="A past revision instead of the latest.")
@click.option(
    "--stale-ok", is_flag=True, help="Take what the replica has, even if no majority can confirm it."
)
@pass_session
def _backup(session: Session, file: Path, revision: int | None, stale_ok: bool) -> None:
    """Write the cluster's whole state to FILE, from any replica, while it goes on working.

    The file holds secrets. `howbe-apiserver restore` makes a new cluster of it.
    """

    async def work(client: Client) -> BackupSummary:
        async with aclosing(client.backup(revision=revision or 0, stale_ok=stale_ok)) as records:
            return await write_backup(records, file)

    summary = session.run(work)
    click.echo(
        f"{file}: revision {summary.header.revision} of cluster {summary.header.cluster_id}, "
        f"{summary.objects} objects, {size(summary.size_bytes)}"
    )


async def look_at(client: Client, servers: Sequence[str]) -> ClusterView:
    """Ask all servers at once, then those that only the others knew of."""
    answers = await _ask(client, servers)
    view = ClusterView(answers)
    unknown = [address for address in view.members if address not in answers]
    return ClusterView({**answers, **await _ask(client, unknown)}) if unknown else view


async def _ask(client: Client, servers: Sequence[str]) -> dict[str, cluster_pb2.ClusterStatusResponse | None]:
    async def ask(server: str) -> cluster_pb2.ClusterStatusResponse | None:
        try:
            return await client.cluster_status(server, timeout=_PATIENCE)
        except H9sError:
            return None

    return dict(zip(servers, await asyncio.gather(*map(ask, servers)), strict=True))
