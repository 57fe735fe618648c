"""What `cordon` and `uncordon` share: they differ in one flag."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from h9s._pb import core_pb2
from h9s.api.kinds import ApiObject
from h9s.cli.completion import complete_nodes
from h9s.cli.options import HowbectlCommand, command, pass_session
from h9s.cli.output import print_reports
from h9s.cli.reading import get_object
from h9s.cli.session import Session
from h9s.cli.writing import modify

if TYPE_CHECKING:
    from h9s.client.client import Client


def cordoning_command(name: str, *, unschedulable: bool, done: str, help: str) -> HowbectlCommand:  # noqa: A002
    """The command that sets `spec.unschedulable` so."""

    @command(name, help=help)
    @click.argument("nodes", nargs=-1, required=True, shell_complete=complete_nodes)
    @pass_session
    def run(session: Session, nodes: tuple[str, ...]) -> None:
        names = [node.removeprefix("node/") for node in nodes]

        def change(node: core_pb2.Node) -> None:
            node.spec.unschedulable = unschedulable

        async def work(client: Client) -> list[tuple[ApiObject, str]]:
            await asyncio.gather(*(get_object(client, core_pb2.Node, node, "") for node in names))
            return [await cordon(client, node) for node in names]

        async def cordon(client: Client, node: str) -> tuple[ApiObject, str]:
            updated, changed = await modify(client, core_pb2.Node, node, "", change, rng=session.rng)
            return updated, done if changed else f"already {done}"

        print_reports(session.run(work))

    return run
