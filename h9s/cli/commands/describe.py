"""`howbectl describe`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from h9s._pb import apps_pb2, core_pb2
from h9s.api.kinds import ApiObject, kind_of
from h9s.api.labels import Selector
from h9s.api.owners import controlled_by
from h9s.cli.completion import complete_targets
from h9s.cli.describe.common import Related
from h9s.cli.describe.registry import describe
from h9s.cli.moments import moment_of, past_options, revision_of
from h9s.cli.options import command, pass_session, selector_option
from h9s.cli.reading import Query, check_query, read_targets
from h9s.cli.session import Session
from h9s.cli.targets import parse_targets

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("describe")
@click.argument("targets", nargs=-1, metavar="KIND [NAME]... | KIND/NAME...", shell_complete=complete_targets)
@selector_option
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@past_options
@pass_session
def COMMAND(
    session: Session,
    targets: tuple[str, ...],
    selector: str,
    all_namespaces: bool,
    at_revision: int | None,
    at: str | None,
) -> None:
    """Show all about objects, with their events.

    \b
    howbectl describe pod web
    howbectl describe node/n1 deploy/web
    howbectl describe pod web --at 10m   as it was ten minutes ago
    """
    wanted = parse_targets(targets)
    query = Query("" if all_namespaces else session.namespace, selector)
    check_query(wanted, query)
    moment = moment_of(at_revision, at, now=session.now)

    async def work(client: Client) -> None:
        revision = await revision_of(client, moment)
        found = await read_targets(client, wanted, replace(query, revision=revision))
        objects = [message for each in found for message in each.objects]
        if not objects:
            where = "" if all_namespaces else f" in {session.namespace} namespace."
            click.echo(f"No resources found{where}", err=True)
        related = await asyncio.gather(*(_related(client, message, revision) for message in objects))
        texts = [describe(message, each, session.now) for message, each in zip(objects, related, strict=True)]
        click.echo("\n\n".join(texts), nl=False)

    session.run(work)


async def _related(client: Client, message: ApiObject, revision: int) -> Related:
    events, pods, replica_sets = await asyncio.gather(
        _events(client, message, revision),
        _pods(client, message, revision),
        _replica_sets(client, message, revision),
    )
    return Related(events=events, pods=pods, replica_sets=replica_sets)


async def _events(client: Client, message: ApiObject, revision: int) -> list[core_pb2.Event]:
    if isinstance(message, core_pb2.Event):
        return []
    metadata = message.metadata
    about = f"involvedObject.kind={kind_of(message).kind},involvedObject.name={metadata.name}"
    listing = await client.list(core_pb2.Event, metadata.namespace, field_selector=about, revision=revision)
    return [event for event in listing.items if event.involved_object.uid in ("", metadata.uid)]


async def _pods(client: Client, message: ApiObject, revision: int) -> list[core_pb2.Pod]:
    if isinstance(message, core_pb2.Node):
        listing = await client.list(
            core_pb2.Pod, field_selector=f"spec.nodeName={message.metadata.name}", revision=revision
        )
        return listing.items
    if isinstance(message, apps_pb2.ReplicaSet):
        selector = str(Selector.from_label_selector(message.spec.selector))
        listing = await client.list(
            core_pb2.Pod, message.metadata.namespace, label_selector=selector, revision=revision
        )
        return [pod for pod in listing.items if controlled_by(pod, message)]
    return []


async def _replica_sets(client: Client, message: ApiObject, revision: int) -> list[apps_pb2.ReplicaSet]:
    if not isinstance(message, apps_pb2.Deployment):
        return []
    selector = str(Selector.from_label_selector(message.spec.selector))
    listing = await client.list(
        apps_pb2.ReplicaSet, message.metadata.namespace, label_selector=selector, revision=revision
    )
    return [each for each in listing.items if controlled_by(each, message)]
