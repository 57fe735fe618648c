"""`howbectl run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from h9s._pb import core_pb2
from h9s.api.kinds import ApiObject
from h9s.cli.metadata import parse_labels
from h9s.cli.options import command, dry_run_option, output_option, pass_session
from h9s.cli.output import print_reports
from h9s.cli.session import Session
from h9s.cli.writing import create_all
from h9s.errors import UsageError

if TYPE_CHECKING:
    from h9s.client.client import Client


@command("run")
@click.argument("name")
@click.argument("arguments", nargs=-1, metavar="[-- ARG...]")
@click.option("--image", required=True, help="What to run.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port that the container serves.")
@click.option(
    "--env", "environment", multiple=True, metavar="NAME=VALUE", help="A variable; may be repeated."
)
@click.option(
    "--restart",
    type=click.Choice(["Always", "OnFailure", "Never"]),
    default="Always",
    help="When to start the container again after it has ended.",
)
@click.option("--command", "as_command", is_flag=True, help="ARG... is the command, not its arguments.")
@click.option("-l", "--labels", default="", metavar="KEY=VALUE,...", help="Labels instead of run=NAME.")
@click.option(
    "--image-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    help="When to pull the image.",
)
@dry_run_option
@output_option("yaml", "json", "name")
@pass_session
def COMMAND(
    session: Session,
    name: str,
    arguments: tuple[str, ...],
    image: str,
    port: int | None,
    environment: tuple[str, ...],
    restart: str,
    as_command: bool,
    labels: str,
    image_pull_policy: str | None,
    dry_run: str,
    output: str | None,
) -> None:
    """Run an image in a pod.

    \b
    howbectl run web --image=nginx --port=80
    howbectl run once --image=busybox --restart=Never --command -- sh -c 'echo hello'
    """
    pod = core_pb2.Pod()
    pod.metadata.name = name
    pod.metadata.namespace = session.namespace
    pod.metadata.labels.update(parse_labels(labels.split(",")) if labels else {"run": name})
    pod.spec.restart_policy = restart
    container = pod.spec.containers.add(name=name, image=image, image_pull_policy=image_pull_policy or "")
    if as_command:
        if not arguments:
            raise UsageError("--command needs the command, after --")
        container.command.extend(arguments)
    else:
        container.args.extend(arguments)
    if port is not None:
        container.ports.add(container_port=port)
    for variable in environment:
        key, equals, value = variable.partition("=")
        if not equals or not key:
            raise UsageError(f"--env {variable!r}: write NAME=VALUE")
        container.env.add(name=key, value=value)
    if dry_run == "client":
        created: list[ApiObject] = [pod]
    else:

        async def work(client: Client) -> list[ApiObject]:
            return await create_all(client, [pod], dry_run=dry_run == "server")

        created = session.run(work)
    print_reports([(message, "created") for message in created], output=output, dry_run=dry_run)
