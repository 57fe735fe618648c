"""`howbectl wait`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from h9s.api.kinds import ApiObject
from h9s.cli.completion import complete_targets
from h9s.cli.deleting import wait_until_gone
from h9s.cli.options import DURATION, command, pass_session, selector_option
from h9s.cli.output import object_name
from h9s.cli.reading import Found, Query, check_query, read_present, read_targets
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import Target, parse_targets, resource_name
from h9s.cli.watching import states
from h9s.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("wait")
@click.argument(
    "targets", nargs=-1, required=True, metavar="KIND NAME... | KIND/NAME...", shell_complete=complete_targets
)
@click.option(
    "--for", "goal", required=True, metavar="condition=TYPE[=STATUS] | delete", help="What to wait for."
)
@click.option(
    "--timeout", type=DURATION, default=30.0, metavar="DURATION", help="How long; default 30s, 0 for ever."
)
@click.option("--all", "all_of_kind", is_flag=True, help="All objects of the kind in the namespace.")
@selector_option
@pass_session
def COMMAND(
    session: Session, targets: tuple[str, ...], goal: str, timeout: float, all_of_kind: bool, selector: str
) -> None:
    """Wait until objects are in a condition, or gone; fails if that takes too long.

    \b
    howbectl wait --for=condition=Ready pod/web
    howbectl wait --for=condition=Available deploy/web --timeout=60s
    howbectl wait --for=delete pod -l app=web
    """
    wanted = parse_targets(targets)
    query = Query(session.namespace, selector)
    check_query(wanted, query)
    if not all_of_kind and not selector and any(not target.name for target in wanted):
        raise UsageError("name the objects, or take them all with --all, or some with -l")
    reached = None if goal == "delete" else _condition(goal)

    async def work(client: Client) -> None:
        if reached is None:
            await _until_deleted(client, wanted, query, timeout)
        else:
            await _until(client, wanted, query, reached, timeout)

    session.run(work)


def _condition(goal: str) -> Callable[[Any], bool]:
    """Whether an object has come as far as `condition=TYPE[=STATUS]` says. Raises UsageError."""
    word, _, rest = goal.partition("=")
    name, _, status = rest.partition("=")
    if word != "condition" or not name:
        raise UsageError(f"--for={goal}: write condition=TYPE, condition=TYPE=STATUS or delete")
    expected = (status or "True").lower()

    def reached(message: Any) -> bool:
        found: Any = getattr(getattr(message, "status", None), "conditions", ())
        condition = next((each for each in found if each.type.lower() == name.lower()), None)
        if condition is None or condition.status.lower() != expected:
            return False
        # A condition that speaks of an older spec says nothing about this one.
        observed = getattr(message.status, "observed_generation", 0)
        return not observed or observed >= message.metadata.generation

    return reached


async def _until(
    client: Client, wanted: list[Target], query: Query, reached: Callable[[Any], bool], timeout: float
) -> None:
    found = await read_targets(client, wanted, query)
    waiting = {(each.target.kind, m.metadata.name): m for each in found for m in each.objects}
    if not waiting:
        raise CommandError("there are no such objects to wait for")

    async def wait(message: ApiObject) -> None:
        metadata = message.metadata
        async with aclosing(
            states(client, type(message), metadata.name, metadata.namespace)
        ) as current_states:
            async for current in current_states:
                if current is None:
                    raise NotFoundError(f"{object_name(message)} was deleted while it was waited for")
                if reached(current):
                    click.echo(f"{object_name(current)} condition met")
                    return

    messages = list(waiting.values())
    try:
        async with asyncio.timeout(timeout or None):
            await asyncio.gather(*map(wait, messages))
    except TimeoutError:
        names = ", ".join(map(object_name, messages))
        raise CommandError(f"timed out waiting for the condition on {names}") from None


async def _until_deleted(client: Client, wanted: list[Target], query: Query, timeout: float) -> None:
    found = [each for each in await read_present(client, wanted, query) if isinstance(each, Found)]
    objects = [message for each in found for message in each.objects]
    await wait_until_gone(client, objects, timeout=timeout)
    gone = dict.fromkeys(map(object_name, objects))
    gone.update(
        dict.fromkeys(f"{resource_name(target.kind)}/{target.name}" for target in wanted if target.name)
    )
    for name in gone:
        click.echo(f"{name} condition met")
