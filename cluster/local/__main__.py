"""`scripts/up` and `scripts/down`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from cluster.command_line import run_command
from cluster.local.bring_up import bring_up
from cluster.local.layout import DEFAULT_BASE_PORT, Layout, default_state_dir
from cluster.local.progress import Progress
from cluster.local.runtime_choice import RUNTIMES
from cluster.local.settings import DEFAULT_WORKERS, Wishes
from cluster.local.summary import after_down, after_up
from cluster.local.take_down import take_down

_state_dir = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="~/.h9s",
    help="Where the cluster keeps everything.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A cluster on this machine."""


@main.command()
@click.option(
    "--workers", type=int, help=f"How many howbelets.  [default: as before, at first {DEFAULT_WORKERS}]"
)
@click.option("--runtime", type=click.Choice(RUNTIMES), help="What runs containers.  [default: auto]")
@click.option(
    "--base-port", type=int, help=f"The lowest port.  [default: as before, at first {DEFAULT_BASE_PORT}]"
)
@click.option("--no-example", is_flag=True, help="Do not apply cluster/examples/hello.yaml.")
@_state_dir
def up(
    workers: int | None, runtime: str | None, base_port: int | None, no_example: bool, state_dir: Path
) -> None:
    """Start a cluster on this machine, or resume it: three apiservers, the loops, workers, an example.

    Run again, it starts only what does not run. Runtime auto: Docker where an engine answers, else
    plain processes.
    """
    wishes = Wishes(base_port=base_port, workers=workers, runtime=runtime)
    state_dir = state_dir.expanduser().resolve()
    click.echo(f"h9s in {state_dir}")
    running = asyncio.run(bring_up(state_dir, wishes, example=not no_example, progress=Progress()))
    click.echo(after_up(running, is_default=state_dir == default_state_dir().resolve()))


@main.command()
@click.option("--wipe", is_flag=True, help="Also remove the state: every object is lost.")
@_state_dir
def down(wipe: bool, state_dir: Path) -> None:
    """Stop the cluster and its pods. The state is kept: scripts/up resumes with every object still there."""
    layout = Layout(state_dir.expanduser().resolve())
    click.echo(after_down(take_down(layout, wipe_state=wipe), layout, wiped=wipe))


if __name__ == "__main__":
    sys.exit(
        run_command(main, name="", interrupted="interrupted; what was started runs on, scripts/down stops it")
    )
