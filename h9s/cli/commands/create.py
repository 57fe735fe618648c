"""`howbectl create`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from h9s._pb import apps_pb2, core_pb2
from h9s.api.kinds import ApiObject
from h9s.cli.manifests import read_manifests
from h9s.cli.options import (
    HowbectlGroup,
    dry_run_option,
    filename_option,
    output_option,
    pass_session,
)
from h9s.cli.output import print_reports
from h9s.cli.session import Session
from h9s.cli.writing import create_all
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


def _create(session: Session, messages: Sequence[ApiObject], output: str | None, dry_run: str) -> None:
    if dry_run == "client":
        created = list(messages)
    else:

        async def work(client: Client) -> list[ApiObject]:
            return await create_all(client, messages, dry_run=dry_run == "server")

        created = session.run(work)
    print_reports([(message, "created") for message in created], output=output, dry_run=dry_run)


@click.group("create", cls=HowbectlGroup, invoke_without_command=True)
@filename_option(required=False)
@dry_run_option
@output_option("yaml", "json", "name")
@click.pass_context
def COMMAND(ctx: click.Context, filenames: tuple[str, ...], dry_run: str, output: str | None) -> None:
    """Create objects from manifests, all of them or none.

    \b
    howbectl create -f web.yaml
    howbectl create deployment web --image=nginx --replicas=3
    """
    if ctx.invoked_subcommand is not None:
        if filenames:
            raise UsageError("-f and the name of a kind do not go together")
        return
    if not filenames:
        raise UsageError("name a manifest with -f, or a kind: `howbectl create --help`")
    session = ctx.find_object(Session)
    assert session is not None
    _create(session, [manifest.message for manifest in read_manifests(filenames, session)], output, dry_run)


@COMMAND.command("deployment")
@click.argument("name")
@click.option("--image", "images", multiple=True, required=True, help="Of a container; may be repeated.")
@click.option("-r", "--replicas", type=click.IntRange(min=0), default=1, help="How many pods.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port that the containers serve.")
@click.argument("command", nargs=-1)
@dry_run_option
@output_option("yaml", "json", "name")
@pass_session
def _deployment(
    session: Session,
    name: str,
    images: tuple[str, ...],
    replicas: int,
    port: int | None,
    command: tuple[str, ...],
    dry_run: str,
    output: str | None,
) -> None:
    """Create a Deployment.

    COMMAND, after --, runs instead of the image's own.
    """
    if command and len(images) > 1:
        raise UsageError("a command goes with one image only")
    deployment = apps_pb2.Deployment()
    deployment.metadata.name = name
    deployment.metadata.namespace = session.namespace
    deployment.metadata.labels["app"] = name
    deployment.spec.replicas = replicas
    deployment.spec.selector.match_labels["app"] = name
    deployment.spec.template.metadata.labels["app"] = name
    for image in images:
        container = deployment.spec.template.spec.containers.add(
            name=container_name(image), image=image, command=command
        )
        if port is not None:
            container.ports.add(container_port=port)
    _create(session, [deployment], output, dry_run)


def container_name(image: str) -> str:
    """The last part of an image's name, without its tag: `registry/team/web:1` is `web`."""
    name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return name.replace("_", "-").replace(".", "-").lower()


@COMMAND.command("namespace")
@click.argument("name")
@dry_run_option
@output_option("yaml", "json", "name")
@pass_session
def _namespace(session: Session, name: str, dry_run: str, output: str | None) -> None:
    """Create a namespace."""
    namespace = core_pb2.Namespace()
    namespace.metadata.name = name
    _create(session, [namespace], output, dry_run)


COMMAND.add_command(_namespace, "ns")
COMMAND.add_command(_deployment, "deploy")
