"""`howbectl scale`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from h9s.api.kinds import ApiObject
from h9s.cli.completion import complete_targets
from h9s.cli.options import command, output_option, pass_session
from h9s.cli.output import print_reports
from h9s.cli.reading import get_object
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import Target, parse_named_targets
from h9s.cli.writing import modify
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("scale")
@click.argument(
    "targets", nargs=-1, required=True, metavar="KIND NAME | KIND/NAME...", shell_complete=complete_targets
)
@click.option("--replicas", type=click.IntRange(0, 2**31 - 1), required=True, help="How many there shall be.")
@click.option("--current-replicas", type=int, help="Only if there are to be this many now.")
@output_option("yaml", "json", "name")
@pass_session
def COMMAND(
    session: Session,
    targets: tuple[str, ...],
    replicas: int,
    current_replicas: int | None,
    output: str | None,
) -> None:
    """Set how many replicas of a Deployment or ReplicaSet there are.

    \b
    howbectl scale deploy web --replicas 5
    howbectl scale rs/web-7d4b rs/api-9f2c --replicas=0
    """
    wanted = parse_named_targets(targets)
    for target in wanted:
        if not _can_scale(target):
            raise UsageError(f"a {target.kind.singular} has no replicas to scale")

    def change(message: Any) -> None:
        if current_replicas is not None and message.spec.replicas != current_replicas:
            found = f"has {message.spec.replicas} replicas, not the {current_replicas} expected"
            raise CommandError(f"{message.metadata.name} {found}")
        message.spec.replicas = replicas

    async def work(client: Client) -> list[ApiObject]:
        async def scale(target: Target) -> ApiObject:
            cls = target.kind.message
            updated, _ = await modify(client, cls, target.name, session.namespace, change, rng=session.rng)
            return updated

        await asyncio.gather(*(get_object(client, t.kind.message, t.name, session.namespace) for t in wanted))
        return [await scale(target) for target in wanted]

    print_reports([(message, "scaled") for message in session.run(work)], output=output)


def _can_scale(target: Target) -> bool:
    spec = target.kind.message.DESCRIPTOR.fields_by_name.get("spec")
    fields = spec.message_type.fields_by_name if spec is not None and spec.message_type else {}
    return "replicas" in fields
