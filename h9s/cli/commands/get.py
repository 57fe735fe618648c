"""`howbectl get`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from h9s._pb import core_pb2
from h9s.api.kinds import ApiObject
from h9s.cli.columns import event_order
from h9s.cli.completion import complete_targets
from h9s.cli.moments import moment_of, past_options, revision_of
from h9s.cli.options import command, output_option, pass_session, selector_option
from h9s.cli.output import print_objects
from h9s.cli.reading import Found, Query, check_query, read_present
from h9s.cli.rows import RowStyle, TablePrinter
from h9s.cli.session import Session
from h9s.cli.sorting import sort_objects
from h9s.cli.targets import Target, parse_targets
from h9s.cli.watching import follow
from h9s.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("get")
@click.argument("targets", nargs=-1, metavar="KIND [NAME]... | KIND/NAME...", shell_complete=complete_targets)
@output_option("wide", "yaml", "json", "name")
@click.option("-w", "--watch", is_flag=True, help="Go on and print every change.")
@click.option("--watch-only", is_flag=True, help="As --watch, without what there is already.")
@selector_option
@click.option(
    "--field-selector", default="", metavar="SELECTOR", help="Fields: spec.nodeName=n1,status.phase!=Running."
)
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("--no-headers", is_flag=True, help="Without the line of titles.")
@click.option("--show-labels", is_flag=True, help="With all labels.")
@click.option(
    "-L", "--label-columns", multiple=True, metavar="KEY,...", help="With a column for each of these labels."
)
@click.option("--sort-by", metavar="PATH", help="A field to sort by, as in .metadata.creationTimestamp.")
@click.option("--ignore-not-found", is_flag=True, help="Say nothing where there is no such object.")
@past_options
@pass_session
def COMMAND(
    session: Session,
    targets: tuple[str, ...],
    output: str | None,
    watch: bool,
    watch_only: bool,
    selector: str,
    field_selector: str,
    all_namespaces: bool,
    no_headers: bool,
    show_labels: bool,
    label_columns: tuple[str, ...],
    sort_by: str | None,
    ignore_not_found: bool,
    at_revision: int | None,
    at: str | None,
) -> None:
    """List objects, or show some.

    \b
    howbectl get pods                    all pods of the namespace
    howbectl get deploy/web -o yaml      one Deployment, all of it
    howbectl get deploy,rs,pods -l a=b   several kinds, by label
    howbectl get pods -w                 and every change from now on
    howbectl get pods --at 10m           as they were ten minutes ago
    """
    wanted = parse_targets(targets)
    query = Query("" if all_namespaces else session.namespace, selector, field_selector)
    check_query(wanted, query)
    watch = watch or watch_only
    if watch and len(wanted) > 1:
        raise UsageError("--watch follows one kind, or one object")
    moment = moment_of(at_revision, at, now=session.now)
    if watch and not moment.is_now:
        raise UsageError("what is past does not change: --watch goes with neither --at-revision nor --at")
    style = RowStyle(
        wide=output == "wide",
        headers=not no_headers,
        namespaces=all_namespaces,
        labels=show_labels,
        label_columns=tuple(key for keys in label_columns for key in keys.split(",") if key),
        qualified=len({target.kind for target in wanted}) > 1,
    )

    async def work(client: Client) -> None:
        found = await read_present(client, wanted, replace(query, revision=await revision_of(client, moment)))
        objects = [result for result in found if isinstance(result, Found)]
        missing = [result for result in found if isinstance(result, NotFoundError)]
        objects = [replace(each, objects=_sorted(each.objects, sort_by)) for each in objects]
        show = _shower(session, style, output, single=_is_single(wanted))
        if not watch_only:
            show(objects, not watch and not missing)
        if missing and not ignore_not_found:
            raise missing[0]
        if watch and objects:
            await follow(
                client, objects[0], query, lambda message: show([Found(wanted[0], (message,))], False)
            )

    session.run(work)


def _sorted(objects: Sequence[ApiObject], path: str | None) -> tuple[ApiObject, ...]:
    """By name, as they come; events as they happened, unless the user wants another order."""
    if path:
        return sort_objects(objects, path)
    return tuple(
        sorted(objects, key=lambda each: event_order(each) if isinstance(each, core_pb2.Event) else ())
    )


def _is_single(wanted: Sequence[Target]) -> bool:
    return len(wanted) == 1 and bool(wanted[0].name)


def _shower(
    session: Session, style: RowStyle, output: str | None, *, single: bool
) -> Callable[[Sequence[Found], bool], None]:
    """How to print what was found; the flag says whether that is all there will ever be."""
    printer = TablePrinter(style, clock=session.clock)

    def show(found: Sequence[Found], final: bool) -> None:
        if output in ("yaml", "json", "name"):
            objects: list[ApiObject] = [message for each in found for message in each.objects]
            if single or not final:
                for number, message in enumerate(objects):
                    if output == "yaml" and (number or not final):
                        click.echo("---")
                    print_objects([message], output, single=True)
            else:
                print_objects(objects, output, single=False)
        else:
            printer.show(found, say_if_empty=_nothing_found(session, style) if final else "")

    return show


def _nothing_found(session: Session, style: RowStyle) -> str:
    return (
        "No resources found" if style.namespaces else f"No resources found in {session.namespace} namespace."
    )
