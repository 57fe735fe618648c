"""`howbectl version`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from h9s import __version__
from h9s.cli.options import command, pass_session
from h9s.cli.session import Session

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("version")
@click.option("--client", "client_only", is_flag=True, help="Without asking the cluster.")
@pass_session
def COMMAND(session: Session, client_only: bool) -> None:
    """Print the versions of client and cluster."""
    click.echo(f"Client Version: {__version__}")
    if client_only:
        return

    async def work(client: Client) -> str:
        return (await client.cluster_status()).version

    click.echo(f"Server Version: {session.run(work)}")
