"""`howbectl apply`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from h9s.cli.manifests import describe, read_manifests
from h9s.cli.options import command, dry_run_option, filename_option, output_option, pass_session
from h9s.cli.output import print_reports
from h9s.cli.planning import Step
from h9s.cli.session import CommandError, Session
from h9s.cli.writing import apply_all, plan_all

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("apply")
@filename_option(required=True)
@dry_run_option
@output_option("yaml", "json", "name")
@pass_session
def COMMAND(session: Session, filenames: tuple[str, ...], dry_run: str, output: str | None) -> None:
    """Create or change objects so that they are as the manifests say, all of them or none.

    What a manifest does not mention is left alone: applying a Deployment without `replicas` keeps
    what `scale` has set. What an earlier version of the manifest had and this one has not is removed.

    \b
    howbectl apply -f web.yaml
    howbectl apply -f manifests/ -f more.yaml
    howbectl create deployment web --image=nginx --dry-run=client -o yaml | howbectl apply -f -
    """
    manifests = read_manifests(filenames, session)
    for manifest in manifests:
        if not manifest.message.metadata.name:
            raise CommandError(
                f"{manifest.source}: {describe(manifest.message)}: apply needs metadata.name, to know the"
                " object again; `howbectl create` takes generateName"
            )

    async def work(client: Client) -> list[Step]:
        if dry_run == "client":
            return await plan_all(client, manifests)
        return await apply_all(client, manifests, rng=session.rng, dry_run=dry_run == "server")

    steps = session.run(work)
    print_reports([(step.message, step.action.value) for step in steps], output=output, dry_run=dry_run)
