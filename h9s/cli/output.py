"""Objects on stdout: `-o yaml`, `-o json`, `-o name`, and kubectl's one-line reports."""

from __future__ import annotations

from collections.abc import Sequence

import click

from h9s.api.codec import to_json, to_yaml
from h9s.api.kinds import ApiObject, kind_of
from h9s.cli.targets import resource_name

_DRY_RUN_REMARKS = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


def object_name(message: ApiObject) -> str:
    """`pod/web`, `deployment.apps/web`."""
    return f"{resource_name(kind_of(message))}/{message.metadata.name}"


def print_reports(
    reports: Sequence[tuple[ApiObject, str]], *, output: str | None = None, dry_run: str = "none"
) -> None:
    """`deployment.apps/web created` for each object and what was done to it, or the objects
    themselves where -o asks for them."""
    if output:
        print_objects([message for message, _ in reports], output, single=len(reports) == 1)
    else:
        for message, verb in reports:
            click.echo(f"{object_name(message)} {verb}{_DRY_RUN_REMARKS[dry_run]}")


def print_objects(messages: Sequence[ApiObject], output: str, *, single: bool) -> None:
    """As yaml, json or names; `single`: the one object by itself, not as a list of one."""
    if output == "name":
        click.echo("".join(f"{object_name(message)}\n" for message in messages), nl=False)
    else:
        write = to_yaml if output == "yaml" else to_json
        click.echo(write(messages[0]) if single else write(messages), nl=False)
