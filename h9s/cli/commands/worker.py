"""`howbectl worker`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from h9s._pb import core_pb2
from h9s.cli.options import DURATION, HowbectlGroup, pass_session
from h9s.cli.reachability import first_that_listens
from h9s.cli.session import Session
from h9s.cli.tables import align
from h9s.cli.workers import worker_rows

if TYPE_CHECKING:
    from h9s.client.client import Client

#: How long, in seconds, a replica may take to accept a connection before another is named instead.
_PATIENCE = 0.5
_ONE_HOUR = 3600.0


@click.group("worker", cls=HowbectlGroup, invoke_without_command=True)
@click.pass_context
def COMMAND(ctx: click.Context) -> None:
    """List the workers, and print the command that joins another machine.

    CPU and MEMORY are what pods request of what the worker has. The command holds a new token that is
    good for an hour; it goes to the error output, so that the table alone can be piped.
    """
    if ctx.invoked_subcommand is not None:
        return
    session = ctx.find_object(Session)
    assert session is not None

    async def work(client: Client) -> tuple[list[list[str]], _Invitation]:
        nodes, pods = await asyncio.gather(client.list(core_pb2.Node), client.list(core_pb2.Pod))
        return worker_rows(nodes.items, pods.items, session.now), await _invite(client, _ONE_HOUR)

    rows, invitation = session.run(work)
    if len(rows) > 1:
        click.echo(align(rows), nl=False)
    else:
        click.echo("There are no workers yet.", err=True)
    click.echo(f"\nTo join another machine, run there within the hour:\n  {invitation.command}", err=True)


@dataclass(frozen=True)
class _Invitation:
    token: str
    address: str

    @property
    def command(self) -> str:
        """What to run on the machine."""
        return f"howbelet --join {self.address} --token {self.token}"


async def _invite(client: Client, ttl: float) -> _Invitation:
    created = await client.create_join_token(round(ttl))
    address = await first_that_listens(created.join_addresses, timeout=_PATIENCE)
    return _Invitation(created.token, address)


_ttl_option = click.option(
    "--ttl",
    type=DURATION,
    default=_ONE_HOUR,
    metavar="DURATION",
    help="How long the token is good; default 1h.",
)


@COMMAND.command("join")
@_ttl_option
@pass_session
def _join(session: Session, ttl: float) -> None:
    """Print the command that joins a machine, with a new token.

    The token is a secret. It pins the cluster's CA, so the machine will trust this cluster only.
    """
    click.echo(session.run(lambda client: _invite(client, ttl)).command)


@COMMAND.command("token")
@_ttl_option
@pass_session
def _token(session: Session, ttl: float) -> None:
    """Print a new token alone."""
    click.echo(session.run(lambda client: _invite(client, ttl)).token)
