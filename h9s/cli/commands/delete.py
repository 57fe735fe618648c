"""`howbectl delete`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from h9s.api.kinds import ApiObject, kind_of
from h9s.cli.completion import complete_targets
from h9s.cli.deleting import Deletion, delete_targets, wait_until_gone
from h9s.cli.manifests import describe, read_manifests
from h9s.cli.options import DURATION, command, dry_run_option, filename_option, pass_session, selector_option
from h9s.cli.output import object_name
from h9s.cli.reading import Query, check_query
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import Target, parse_targets, resource_name
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("delete")
@click.argument("targets", nargs=-1, metavar="[KIND NAME... | KIND/NAME...]", shell_complete=complete_targets)
@filename_option(required=False)
@selector_option
@click.option("--field-selector", default="", metavar="SELECTOR", help="Fields: status.phase=Failed.")
@click.option("--all", "all_of_kind", is_flag=True, help="All objects of the kind in the namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("--wait/--no-wait", default=True, help="Wait until they are gone; --wait=false does not.")
@click.option(
    "--grace-period", type=int, default=-1, metavar="SECONDS", help="For pods to stop; default: their own."
)
@click.option("--now", is_flag=True, help="As --grace-period=1.")
@click.option(
    "--force", is_flag=True, help="Remove them at once, whether or not their containers have stopped."
)
@click.option(
    "--cascade",
    type=click.Choice(["background", "orphan", "foreground"]),
    default="background",
    help="What belongs to them goes afterwards, stays, or goes first.",
)
@click.option("--ignore-not-found", is_flag=True, help="What is not there is as good as deleted.")
@click.option(
    "--timeout", type=DURATION, default=0.0, metavar="DURATION", help="How long to wait; 0 for ever."
)
@dry_run_option
@click.option("-o", "--output", type=click.Choice(["name"]), help="Print names only.")
@pass_session
def COMMAND(
    session: Session,
    targets: tuple[str, ...],
    filenames: tuple[str, ...],
    selector: str,
    field_selector: str,
    all_of_kind: bool,
    all_namespaces: bool,
    wait: bool,
    grace_period: int,
    now: bool,
    force: bool,
    cascade: str,
    ignore_not_found: bool,
    timeout: float,
    dry_run: str,
    output: str | None,
) -> None:
    """Delete objects, all that are named or none, and wait until they are gone.

    \b
    howbectl delete pod web
    howbectl delete -f web.yaml
    howbectl delete pods,deploy -l app=web --wait=false
    """
    query = Query("" if all_namespaces else session.namespace, selector, field_selector)
    if filenames:
        if targets or query.selects or all_of_kind:
            raise UsageError("-f says what to delete: leave out kinds, names, selectors and --all")
        wanted = _from_manifests(filenames, session)
    else:
        wanted = [(target, query) for target in _named(targets, query, all_of_kind)]
    deletion = Deletion(
        grace_period=_grace_period(grace_period, now=now, force=force),
        propagation=cascade.capitalize(),
        ignore_not_found=ignore_not_found,
        dry_run=dry_run != "none",
    )
    if force and dry_run == "none":
        click.echo(
            "Warning: what is deleted by force may go on running on a node that does not answer.", err=True
        )

    async def work(client: Client) -> None:
        objects = await delete_targets(client, wanted, deletion)
        for message in objects:
            _report(message, forced=force, dry_run=dry_run, output=output)
        if not objects and not ignore_not_found:
            click.echo("No resources found", err=True)
        if wait and not deletion.dry_run:
            await wait_until_gone(client, objects, timeout=timeout)

    session.run(work)


def _named(arguments: Sequence[str], query: Query, all_of_kind: bool) -> list[Target]:
    targets = parse_targets(arguments)
    check_query(targets, query)
    named = [target for target in targets if target.name]
    if all_of_kind and (named or query.selects):
        raise UsageError("--all goes without names and selectors")
    if not named and not all_of_kind and not query.selects:
        raise UsageError("name the objects, or take them all with --all, or some with -l")
    return targets


def _from_manifests(filenames: Sequence[str], session: Session) -> list[tuple[Target, Query]]:
    wanted = []
    for manifest in read_manifests(filenames, session):
        metadata = manifest.message.metadata
        if not metadata.name:
            raise CommandError(f"{manifest.source}: {describe(manifest.message)} has no metadata.name")
        wanted.append((Target(kind_of(manifest.message), metadata.name), Query(metadata.namespace)))
    return wanted


def _grace_period(seconds: int, *, now: bool, force: bool) -> int | None:
    if seconds < -1:
        raise UsageError("--grace-period takes a number of seconds")
    if now and seconds >= 0:
        raise UsageError("--now is --grace-period=1: give one of them")
    if force:
        if seconds > 0 or now:
            raise UsageError("--force leaves no time: give no --grace-period beside it")
        return 0
    if now or seconds == 0:
        return 1  # at once, but known to have stopped: only --force does without
    return None if seconds < 0 else seconds


def _report(message: ApiObject, *, forced: bool, dry_run: str, output: str | None) -> None:
    if output == "name":
        click.echo(object_name(message))
        return
    done = "force deleted" if forced else "deleted"
    remark = {"none": "", "client": " (dry run)", "server": " (server dry run)"}[dry_run]
    click.echo(f'{resource_name(kind_of(message))} "{message.metadata.name}" {done}{remark}')
