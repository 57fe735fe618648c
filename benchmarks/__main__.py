"""`scripts/bench`."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from benchmarks.failover import FailoverSettings, run_failover
from benchmarks.growth import GrowthSettings, run_growth
from benchmarks.idle import IdleSettings, run_idle
from benchmarks.machine import describe_machine
from benchmarks.report import Report, Result, to_json, to_table
from benchmarks.startup import StartupSettings, run_startup
from benchmarks.store import StoreSettings, run_store
from cluster.command_line import run_command

S = TypeVar("S", StoreSettings, GrowthSettings, FailoverSettings, StartupSettings, IdleSettings)

NAMES = ("store", "growth", "failover", "startup", "idle")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("benchmark", type=click.Choice(NAMES))
@click.option("--peer", is_flag=True, help="Measure what h9s is compared with too, in the same run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option(
    "--seconds", type=click.FloatRange(min=0.5), help="store, idle: how long each measurement takes."
)
@click.option("--rounds", type=click.IntRange(min=1), help="failover, startup: how often.")
@click.option(
    "--objects",
    multiple=True,
    type=click.IntRange(min=1),
    help="growth: at how many objects to measure; may be given several times, ascending.",
)
@click.option("--replicas", type=click.IntRange(min=1), help="startup: how many.")
@click.option(
    "--soak",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="MINUTES",
    help="failover: also write this long without a fault, and count elections.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Below which the clusters keep their data.  [default: ~/.cache/h9s]",
)
def main(
    benchmark: str,
    peer: bool,
    as_json: bool,
    seconds: float | None,
    rounds: int | None,
    objects: tuple[int, ...],
    replicas: int | None,
    soak: float,
    data_dir: Path | None,
) -> None:
    """Measure h9s on this machine, on clusters of its own.

    store: writes, reads and watches. growth: the same store with 1,000 to 300,000
    objects. failover: the gap when the leader is killed. startup: many replicas at once, on Docker.
    idle: what the processes take while nothing happens.
    """
    parent = data_dir or Path.home() / ".cache" / "h9s"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"bench-{benchmark}-", dir=parent))
    try:
        wishes: dict[str, Any] = {
            "objects": tuple(sorted(objects)) or None,
            "seconds": seconds,
            "rounds": rounds,
            "replicas": replicas,
            "soak_minutes": soak,
        }
        settings, measurement = _choose(benchmark, folder, peer=peer, wishes=wishes)
        machine = describe_machine(folder)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(measurement)
    except BaseException:
        if any(folder.iterdir()):
            print(f"the logs are in {folder}", file=sys.stderr)
        else:
            folder.rmdir()
        raise
    shutil.rmtree(folder)
    report = Report(benchmark, machine, asdict(settings) | {"peer": peer}, results)
    click.echo(to_json(report) if as_json else to_table(report))


def _choose(
    benchmark: str, folder: Path, *, peer: bool, wishes: Mapping[str, Any]
) -> tuple[Any, Coroutine[Any, Any, Sequence[Result]]]:
    """The benchmark's settings, changed by those wishes that concern it, and its run."""
    match benchmark:
        case "store":
            store = _changed(StoreSettings(), wishes)
            return store, run_store(folder, store, peer=peer)
        case "growth":
            growth = _changed(GrowthSettings(), wishes)
            return growth, run_growth(folder, growth)
        case "failover":
            failover = _changed(FailoverSettings(), wishes)
            return failover, run_failover(folder, failover, peer=peer)
        case "startup":
            startup = _changed(StartupSettings(), wishes)
            return startup, run_startup(folder, startup, peer=peer)
        case _:
            idle = _changed(IdleSettings(), wishes)
            return idle, run_idle(folder, idle)


def _changed(standard: S, wishes: Mapping[str, Any]) -> S:
    known = {field.name for field in fields(standard)}
    changes: dict[str, Any] = {
        name: wish for name, wish in wishes.items() if name in known and wish is not None
    }
    return replace(standard, **changes)


if __name__ == "__main__":
    sys.exit(run_command(main, name="bench", interrupted="interrupted"))
