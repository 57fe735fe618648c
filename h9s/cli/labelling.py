"""What `label` and `annotate` share: they differ in the field and in the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from h9s.api.kinds import ApiObject, kind_of
from h9s.cli.completion import complete_targets
from h9s.cli.metadata import Changes, is_change, parse_changes
from h9s.cli.options import HowbectlCommand, command, output_option, pass_session, selector_option
from h9s.cli.output import print_reports
from h9s.cli.reading import Query, check_query, read_targets
from h9s.cli.session import CommandError, Session
from h9s.cli.targets import parse_targets
from h9s.cli.writing import modify
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


def labelling_command(name: str, *, field: str, done: str, undone: str, help: str) -> HowbectlCommand:  # noqa: A002
    """The command that changes a map of the metadata."""

    @command(name, help=help)
    @click.argument(
        "arguments", nargs=-1, metavar="KIND NAME... KEY=VALUE... KEY-...", shell_complete=complete_targets
    )
    @click.option("--overwrite", is_flag=True, help="Replace values that there are already.")
    @click.option("--all", "all_of_kind", is_flag=True, help="All objects of the kind in the namespace.")
    @selector_option
    @click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
    @output_option("yaml", "json", "name")
    @pass_session
    def run(
        session: Session,
        arguments: tuple[str, ...],
        overwrite: bool,
        all_of_kind: bool,
        selector: str,
        all_namespaces: bool,
        output: str | None,
    ) -> None:
        targets = parse_targets([text for text in arguments if not is_change(text)])
        changes = parse_changes([text for text in arguments if is_change(text)])
        if not changes.wanted and not changes.removed:
            raise UsageError("say what to change: KEY=VALUE sets, KEY- removes")
        if not selector and not all_of_kind and any(not target.name for target in targets):
            raise UsageError("name the objects, or take them all with --all, or some with -l")
        query = Query("" if all_namespaces else session.namespace, selector)
        check_query(targets, query)

        async def work(client: Client) -> list[tuple[ApiObject, str]]:
            found = await read_targets(client, targets, query)
            objects = [message for each in found for message in each.objects]
            for message in objects:
                _make(changes, message, field, overwrite)  # before the first one is written
            return [await _write(client, message) for message in objects]

        async def _write(client: Client, message: ApiObject) -> tuple[ApiObject, str]:
            metadata = message.metadata
            updated, changed = await modify(
                client,
                type(message),
                metadata.name,
                metadata.namespace,
                lambda each: _make(changes, each, field, overwrite),
                rng=session.rng,
            )
            return updated, (done if changes.wanted else undone) if changed else f"not {done}"

        print_reports(session.run(work), output=output)

    return run


def _make(changes: Changes, message: ApiObject, field: str, overwrite: bool) -> None:
    try:
        changes.make(getattr(message.metadata, field), overwrite=overwrite)
    except CommandError as error:
        raise CommandError(f'{kind_of(message).kind} "{message.metadata.name}": {error.message}') from error
