"""`scripts/demo-failover`."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import click

from cluster.command_line import run_command
from cluster.failover.demonstration import Plan, demonstrate
from cluster.local.layout import Layout, default_state_dir
from cluster.local.manager import LocalCluster
from cluster.local.settings import load_settings
from h9s.errors import UsageError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--rounds", type=click.IntRange(min=1), default=1, show_default=True, help="How many leaders to kill."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1, max=2000),
    default=Plan.writes_per_second,
    show_default=True,
    help="Writes per second.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state_dir,
    show_default="~/.h9s",
    help="The cluster's state directory.",
)
@click.pass_context
def main(context: click.Context, rounds: int, rate: float, state_dir: Path) -> None:
    """Kill the leader of a running cluster while clients write and watch, and count what was lost.

    Exits with 1 unless every count is 0.
    """
    state_dir = state_dir.expanduser().resolve()
    settings = load_settings(state_dir)
    cluster = None if settings is None else LocalCluster(Layout(state_dir, settings.base_port), settings)
    if cluster is None or not cluster.running():
        raise UsageError(f"no cluster runs in {state_dir}: start one with scripts/up")
    plan = replace(Plan(), rounds=rounds, writes_per_second=rate)
    verdict = asyncio.run(demonstrate(cluster, plan, out=lambda text: print(text, flush=True)))
    context.exit(0 if verdict.passed else 1)


if __name__ == "__main__":
    sys.exit(run_command(main, name="demo-failover", interrupted="interrupted"))
