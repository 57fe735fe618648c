"""`howbectl worker`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from h9s._pb import cluster_pb2, core_pb2
from h9s.cli.options import DURATION, HowbectlGroup, pass_session
from h9s.cli.session import Session
from h9s.cli.tables import align
from h9s.cli.workers import worker_rows

if TYPE_CHECKING:
    from h9s.client.client import Client


@click.group("worker", cls=HowbectlGroup, invoke_without_command=True)
@click.pass_context
def COMMAND(ctx: click.Context) -> None:
    """List the workers; print the command that joins another machine.

    CPU and MEMORY are what pods request of what the worker has.
    """
    if ctx.invoked_subcommand is not None:
        return
    session = ctx.find_object(Session)
    assert session is not None

    async def work(client: Client) -> list[list[str]]:
        nodes, pods = await asyncio.gather(client.list(core_pb2.Node), client.list(core_pb2.Pod))
        return worker_rows(nodes.items, pods.items, session.now)

    rows = session.run(work)
    if len(rows) > 1:
        click.echo(align(rows), nl=False)
    else:
        click.echo("There are no workers yet.", err=True)
    click.echo("To join another machine, run there what `howbectl worker join` prints.", err=True)


def _new_token(session: Session, ttl: float) -> cluster_pb2.CreateJoinTokenResponse:
    async def work(client: Client) -> cluster_pb2.CreateJoinTokenResponse:
        return await client.create_join_token(round(ttl))

    return session.run(work)


_ttl_option = click.option(
    "--ttl", type=DURATION, default=3600.0, metavar="DURATION", help="How long the token is good; default 1h."
)


@COMMAND.command("join")
@_ttl_option
@pass_session
def _join(session: Session, ttl: float) -> None:
    """Print the command that joins a machine, with a new token.

    The token is a secret. It pins the cluster's CA, so the machine will trust this cluster only.
    """
    created = _new_token(session, ttl)
    click.echo(f"howbelet --join {created.join_addresses[0]} --token {created.token}")


@COMMAND.command("token")
@_ttl_option
@pass_session
def _token(session: Session, ttl: float) -> None:
    """Print a new token alone."""
    click.echo(_new_token(session, ttl).token)
