"""`howbectl rollout status|history|undo|restart|pause|resume`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from h9s._pb import apps_pb2
from h9s.api.kinds import kind_of
from h9s.api.labels import Selector
from h9s.cli import rollouts
from h9s.cli.completion import complete_targets
from h9s.cli.describe.common import put_template
from h9s.cli.describe.sheet import Sheet
from h9s.cli.options import DURATION, group, pass_session
from h9s.cli.output import print_reports
from h9s.cli.reading import get_object
from h9s.cli.session import CommandError, Session
from h9s.cli.tables import align
from h9s.cli.targets import parse_target
from h9s.cli.watching import states
from h9s.cli.writing import modify
from h9s.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client

_target_argument = click.argument(
    "target", nargs=-1, required=True, metavar="deployment NAME", shell_complete=complete_targets
)


@group("rollout")
def COMMAND() -> None:
    """Follow, undo, restart, pause or resume a Deployment's rollout."""


def _name(arguments: tuple[str, ...]) -> str:
    target = parse_target(arguments)
    if target.kind.message is not apps_pb2.Deployment:
        raise UsageError(f"only Deployments have rollouts, not a {target.kind.singular}")
    return target.name


async def _replica_sets(client: Client, deployment: apps_pb2.Deployment) -> list[apps_pb2.ReplicaSet]:
    selector = str(Selector.from_label_selector(deployment.spec.selector))
    listing = await client.list(apps_pb2.ReplicaSet, deployment.metadata.namespace, label_selector=selector)
    return listing.items


@COMMAND.command("status")
@_target_argument
@click.option(
    "-w", "--watch/--no-watch", default=True, help="Wait until it is done; --watch=false only says how it is."
)
@click.option(
    "--timeout", type=DURATION, default=0.0, metavar="DURATION", help="How long to wait; 0 for ever."
)
@pass_session
def _status(session: Session, target: tuple[str, ...], watch: bool, timeout: float) -> None:
    """Follow a rollout until it is done; fails if it does not get there."""
    name = _name(target)

    async def work(client: Client) -> None:
        try:
            async with asyncio.timeout(timeout or None):
                await _follow(client, name, session.namespace, watch=watch)
        except TimeoutError:
            raise CommandError(f'timed out waiting for the rollout of deployment "{name}"') from None

    session.run(work)


async def _follow(client: Client, name: str, namespace: str, *, watch: bool) -> None:
    said = ""
    async with aclosing(states(client, apps_pb2.Deployment, name, namespace)) as current_states:
        async for deployment in current_states:
            if deployment is None:
                raise NotFoundError(f'{kind_of(apps_pb2.Deployment).resource} "{name}" not found')
            progress = rollouts.progress(deployment)
            if progress.message != said:
                click.echo(progress.message)
                said = progress.message
            if progress.done or not watch:
                return


@COMMAND.command("history")
@_target_argument
@click.option("--revision", type=click.IntRange(min=1), help="Show this revision's pod template.")
@pass_session
def _history(session: Session, target: tuple[str, ...], revision: int | None) -> None:
    """List the revisions that a rollout can go back to."""
    name = _name(target)

    async def work(client: Client) -> None:
        deployment = await get_object(client, apps_pb2.Deployment, name, session.namespace)
        replica_sets = await _replica_sets(client, deployment)
        if revision is not None:
            found = rollouts.find_revision(deployment, replica_sets, revision)
            sheet = Sheet()
            put_template(sheet, found.spec.template)
            click.echo(f"deployment.apps/{name} with revision #{revision}")
            click.echo("\n".join(sheet.lines()))
            return
        rows = [
            [str(number), each.metadata.annotations.get(rollouts.CHANGE_CAUSE) or "<none>"]
            for number, each in rollouts.history(deployment, replica_sets).items()
        ]
        click.echo(f"deployment.apps/{name}")
        click.echo(align([["REVISION", "CHANGE-CAUSE"], *rows]), nl=False)

    session.run(work)


@COMMAND.command("undo")
@_target_argument
@click.option(
    "--to-revision", type=click.IntRange(min=0), default=0, help="Which; default: the one before this."
)
@pass_session
def _undo(session: Session, target: tuple[str, ...], to_revision: int) -> None:
    """Go back to an earlier revision."""
    name = _name(target)

    async def work(client: Client) -> tuple[apps_pb2.Deployment, str]:
        deployment = await get_object(client, apps_pb2.Deployment, name, session.namespace)
        replica_sets = await _replica_sets(client, deployment)
        earlier = rollouts.find_revision(deployment, replica_sets, to_revision)
        template = rollouts.template_of(earlier)

        def change(current: apps_pb2.Deployment) -> None:
            if current.spec.paused:
                raise CommandError(
                    f'deployment "{name}" is paused: `howbectl rollout resume deploy/{name}` first'
                )
            current.spec.template.CopyFrom(template)
            cause = earlier.metadata.annotations.get(rollouts.CHANGE_CAUSE)
            if cause:
                current.metadata.annotations[rollouts.CHANGE_CAUSE] = cause

        updated, changed = await modify(
            client, apps_pb2.Deployment, name, session.namespace, change, rng=session.rng
        )
        revision = rollouts.revision_of(earlier)
        return (
            updated,
            "rolled back" if changed else f"skipped rollback (it is as in revision {revision} already)",
        )

    print_reports([session.run(work)])


def _change_spec(
    session: Session, name: str, change: Callable[[apps_pb2.Deployment], None], done: str
) -> None:
    async def work(client: Client) -> apps_pb2.Deployment:
        updated, _ = await modify(
            client, apps_pb2.Deployment, name, session.namespace, change, rng=session.rng
        )
        return updated

    print_reports([(session.run(work), done)])


@COMMAND.command("restart")
@_target_argument
@pass_session
def _restart(session: Session, target: tuple[str, ...]) -> None:
    """Replace all pods, by the Deployment's own strategy."""
    name = _name(target)
    moment = datetime.fromtimestamp(int(session.now), UTC).isoformat().replace("+00:00", "Z")

    def change(deployment: apps_pb2.Deployment) -> None:
        if deployment.spec.paused:
            raise CommandError(
                f'deployment "{name}" is paused: `howbectl rollout resume deploy/{name}` first'
            )
        annotations = deployment.spec.template.metadata.annotations
        if annotations.get(rollouts.RESTARTED_AT) == moment:
            raise CommandError(f'deployment "{name}" has been restarted within this very second')
        annotations[rollouts.RESTARTED_AT] = moment

    _change_spec(session, name, change, "restarted")


@COMMAND.command("pause")
@_target_argument
@pass_session
def _pause(session: Session, target: tuple[str, ...]) -> None:
    """Leave changes of the Deployment without effect until it is resumed."""
    name = _name(target)

    def change(deployment: apps_pb2.Deployment) -> None:
        if deployment.spec.paused:
            raise CommandError(f'deployment "{name}" is already paused')
        deployment.spec.paused = True

    _change_spec(session, name, change, "paused")


@COMMAND.command("resume")
@_target_argument
@pass_session
def _resume(session: Session, target: tuple[str, ...]) -> None:
    """Let a paused Deployment roll out what has changed."""
    name = _name(target)

    def change(deployment: apps_pb2.Deployment) -> None:
        if not deployment.spec.paused:
            raise CommandError(f'deployment "{name}" is not paused')
        deployment.spec.paused = False

    _change_spec(session, name, change, "resumed")
