"""What the commands share: the configuration's option, and how a failure is told."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import click

from h9s.errors import H9sError

P = ParamSpec("P")

CONFIG = click.option(
    "--config",
    "config_path",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The replica's configuration, YAML.",
)


def tells_errors(command: Callable[P, None]) -> Callable[P, None]:
    """An H9sError becomes one line on stderr and its exit code."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except H9sError as error:
            click.echo(f"error: {error.message}", err=True)
            raise SystemExit(error.exit_code) from error

    return told
