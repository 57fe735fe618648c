"""`howbectl history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from h9s.cli.changes import as_text, fields_of, headline
from h9s.cli.completion import complete_targets
from h9s.cli.options import command, output_option, pass_session
from h9s.cli.session import Session
from h9s.cli.targets import parse_target, resource_name
from h9s.errors import NotFoundError

if TYPE_CHECKING:
    from h9s.client.client import Client
    from h9s.client.history import Revisions


@command("history")
@click.argument("target", nargs=-1, required=True, metavar="KIND NAME", shell_complete=complete_targets)
@click.option(
    "--limit", type=click.IntRange(min=0), default=20, help="How many revisions, the newest; 0: all."
)
@output_option("yaml", "json")
@pass_session
def COMMAND(session: Session, target: tuple[str, ...], limit: int, output: str | None) -> None:
    """Show what happened to an object: revisions, newest first, with when, who and what.

    \b
    howbectl history deploy web
    howbectl history node n1 --limit 0
    howbectl get deploy web --at-revision 812    the object as it was then
    howbectl undo deploy web --to-revision 812   make it so again
    """
    wanted = parse_target(target)
    namespace = session.namespace if wanted.kind.namespaced else ""

    async def work(client: Client) -> Revisions:
        from h9s.client.operations import key_of

        return await client.history.revisions(
            key_of(wanted.kind.message, wanted.name, namespace), limit=limit + 1 if limit else 0
        )

    found = session.run(work)
    changes = found.changes[:limit] if limit else found.changes
    if not changes:
        raise NotFoundError(
            f'{resource_name(wanted.kind)} "{wanted.name}" has not been changed'
            f" since the history begins, after revision {found.first_revision}"
        )
    if output:
        click.echo(as_text(changes, output), nl=False)
        return
    for change in changes:
        click.echo(headline(change, now=session.now))
        for field in fields_of(change):
            click.echo(f"  {field}")
    if len(changes) < len(found.changes):
        click.echo(f"(the newest {limit}; --limit 0 shows all)", err=True)
