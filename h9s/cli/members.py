"""`howbectl cluster add|promote|remove|transfer-leader`: who makes up the control plane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from h9s._pb import cluster_pb2
from h9s.cli.options import DURATION, command, pass_session
from h9s.cli.session import CommandError, Session
from h9s.errors import NotFoundError

if TYPE_CHECKING:
    from h9s.client.client import Client

#: How often, in seconds, a replica that learns is looked at.
_LOOK_INTERVAL = 0.2

_ID = click.argument("replica_id", metavar="ID")


@command("add")
@_ID
@click.option("--api-address", required=True, metavar="HOST:PORT", help="Where clients reach it.")
@click.option("--peer-address", required=True, metavar="HOST:PORT", help="Where the other replicas reach it.")
@click.option("--wait", is_flag=True, help="Return once it has caught up, and can be promoted.")
@click.option("--timeout", type=DURATION, default=300.0, help="How long to wait; default 5m.")
@pass_session
def ADD(
    session: Session, replica_id: str, api_address: str, peer_address: str, wait: bool, timeout: float
) -> None:
    """Let a further replica learn from the others; it has no vote yet.

    It has been prepared with `howbe-apiserver init --join` and started, or will be. The same again
    changes nothing.
    """

    async def work(client: Client) -> bool:
        replicas = await client.members.add(replica_id, api_address=api_address, peer_address=peer_address)
        if wait:
            await _until_caught_up(client, replica_id, timeout=timeout)
        return any(replica.voter for replica in replicas if replica.id == replica_id)

    votes = session.run(work)
    click.echo(f"replica/{replica_id} added{' and level with the others' if wait else ''}")
    if votes:
        click.echo("it takes part already, and is a voter", err=True)
    else:
        click.echo(f"it learns; `howbectl cluster promote {replica_id}` makes it a voter", err=True)


@command("promote")
@_ID
@pass_session
def PROMOTE(session: Session, replica_id: str) -> None:
    """Make a replica that learns, and has caught up, one that votes."""
    replicas = session.run(lambda client: client.members.promote(replica_id))
    voters = [replica.id for replica in replicas if replica.voter]
    click.echo(f"replica/{replica_id} promoted")
    if len(voters) % 2 == 0:
        click.echo(f"of {len(voters)} voters no more may be lost than of {len(voters) - 1}", err=True)


@command("remove")
@_ID
@pass_session
def REMOVE(session: Session, replica_id: str) -> None:
    """Take a replica out for good. It stops; to come back it has to be prepared and added anew.

    Refused if the voters that can be reached would be no majority after it. A leader hands over first.
    """

    async def work(client: Client) -> None:
        status = await _leaders_status(client)
        known = [replica.id for replica in status.replicas]
        if status.role == "leader" and replica_id not in known:
            raise NotFoundError(
                f"there is no replica {replica_id} in this cluster; there are {', '.join(known)}"
            )
        await client.members.remove(replica_id)

    session.run(work)
    click.echo(f"replica/{replica_id} removed")


@command("transfer-leader")
@click.argument("replica_id", metavar="[ID]", default="")
@pass_session
def TRANSFER_LEADER(session: Session, replica_id: str) -> None:
    """Let another replica lead: that one, or any that has everything."""

    async def work(client: Client) -> str:
        await client.members.transfer_leadership(replica_id)
        if replica_id:
            return replica_id
        status = await _leaders_status(client)
        return status.replica_id if status.role == "leader" else ""

    leader = session.run(work)
    click.echo(f"replica/{leader} leads" if leader else "another replica leads")


async def _until_caught_up(client: Client, replica_id: str, *, timeout: float) -> None:
    try:
        async with asyncio.timeout(timeout):
            while not _has_caught_up(await _leaders_status(client), replica_id):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_INTERVAL)
    except TimeoutError:
        raise CommandError(
            f"replica {replica_id} was added, and has not caught up within {timeout:g} s; does it run?"
        ) from None


async def _leaders_status(client: Client) -> cluster_pb2.ClusterStatusResponse:
    """As far as somebody leads and can be reached; else anybody's, which says less."""
    status = await client.cluster_status()
    addresses = [replica.api_address for replica in status.replicas if replica.id == status.leader_id]
    if status.role == "leader" or not addresses:
        return status
    return await client.cluster_status(addresses[0])


def _has_caught_up(status: cluster_pb2.ClusterStatusResponse, replica_id: str) -> bool:
    return any(replica.caught_up for replica in status.replicas if replica.id == replica_id)
