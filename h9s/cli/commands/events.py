"""`howbectl events`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from h9s._pb import core_pb2
from h9s.api.kinds import ApiObject, find_kind
from h9s.cli.columns import event_order
from h9s.cli.options import command, output_option, pass_session
from h9s.cli.output import print_objects
from h9s.cli.reading import Found, Query, read_target
from h9s.cli.rows import RowStyle, TablePrinter
from h9s.cli.session import Session
from h9s.cli.targets import Target, parse_target
from h9s.cli.watching import follow

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("events")
@click.option("--for", "about", metavar="KIND/NAME", help="Only what happened to this object.")
@click.option("--types", default="", metavar="TYPE,...", help="Normal, Warning.")
@click.option("-w", "--watch", is_flag=True, help="Go on as more happens.")
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@click.option("--no-headers", is_flag=True, help="Without the line of titles.")
@output_option("wide", "yaml", "json")
@pass_session
def COMMAND(
    session: Session,
    about: str | None,
    types: str,
    watch: bool,
    all_namespaces: bool,
    no_headers: bool,
    output: str | None,
) -> None:
    """List what happened, oldest first.

    \b
    howbectl events --for pod/web
    howbectl events -A --types=Warning -w
    """
    subject = parse_target([about]) if about else None
    everywhere = all_namespaces or (subject is not None and not subject.kind.namespaced)
    wanted_types = {name.strip().lower() for name in types.split(",") if name.strip()}
    query = Query("" if everywhere else session.namespace, field_selector=_selector(subject))
    target = Target(find_kind("events"))
    style = RowStyle(wide=output == "wide", headers=not no_headers, namespaces=everywhere)
    printer = TablePrinter(style, clock=session.clock)

    def is_wanted(event: ApiObject) -> bool:
        assert isinstance(event, core_pb2.Event)
        return not wanted_types or event.type.lower() in wanted_types

    def show(events: list[ApiObject], say_if_empty: str) -> None:
        if output in ("yaml", "json"):
            print_objects(events, output, single=False)
        else:
            printer.show([Found(target, tuple(events))], say_if_empty=say_if_empty)

    async def work(client: Client) -> None:
        found = await read_target(client, target, query)
        events = sorted((event for event in found.objects if is_wanted(event)), key=_order)
        show(
            events,
            "" if watch else f"No events found{'' if everywhere else f' in {session.namespace} namespace'}.",
        )
        if watch:
            await follow(client, found, query, lambda event: show([event], "") if is_wanted(event) else None)

    session.run(work)


def _selector(subject: Target | None) -> str:
    if subject is None:
        return ""
    return f"involvedObject.kind={subject.kind.kind},involvedObject.name={subject.name}"


def _order(event: ApiObject) -> tuple[int, int, str]:
    assert isinstance(event, core_pb2.Event)
    return event_order(event)
