"""`./scripts/robustness`: simulated schedules, then faults on real processes, with every check there is."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import click

from h9s.clock import SystemClock
from h9s.sim.__main__ import parse_seeds
from h9s.sim.lives import be_quiet, run_seeds
from tests.robustness.rounds import Report, run_rounds

_CLOCK = SystemClock()
_QUICK_SEEDS, _QUICK_FAULTS = 300, 40
_LONG_SEEDS, _LONG_FAULTS = 2000, 200


@click.command()
@click.option("--quick", is_flag=True, help="A share of it, in about five minutes.")
@click.option("--seed", default=0, show_default=True, help="Where both parts begin.")
@click.option("--seeds", default="", help="Which schedules to simulate, A..B, both included.")
@click.option("--faults", default=-1, help="How many faults on real processes.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True, help="For the simulation.")
@click.option("--keep", is_flag=True, help="Keep the replicas' folders.")
def main(quick: bool, seed: int, seeds: str, faults: int, processes: int, keep: bool) -> None:
    """Try to break what is promised, and say how often that was tried."""
    be_quiet()
    count = _QUICK_SEEDS if quick else _LONG_SEEDS
    chosen = parse_seeds(seeds) if seeds else range(seed, seed + count)
    faults = faults if faults >= 0 else _QUICK_FAULTS if quick else _LONG_FAULTS
    failed = simulate(chosen, processes)
    if faults:
        folder = Path(tempfile.mkdtemp(prefix="h9s-robustness-"))
        report = real(folder, seed, faults)
        failed = failed or bool(report.failures)
        if report.failures or keep:
            click.echo(f"the replicas' folders and logs are in {folder}")
    sys.exit(1 if failed else 0)


def simulate(seeds: range, processes: int) -> bool:
    """Simulate the schedules; whether one failed."""
    if not seeds:
        return False
    begin = _CLOCK.monotonic()
    failed = []
    total: dict[str, int] = {}
    for result in run_seeds(seeds, processes=processes):
        for name, number in result.counts().items():
            total[name] = total.get(name, 0) + number
        if result.failures:
            failed.append(result.seed)
            click.echo(f"--- seed {result.seed}: the last of what happened")
            click.echo("\n".join(result.trace))
            click.echo(f"seed {result.seed} FAILED: {result.failures[0]}")
    summary = ", ".join(f"{number} {name}" for name, number in total.items())
    seconds = _CLOCK.monotonic() - begin
    click.echo(f"{len(seeds)} simulated schedules ({seeds[0]}..{seeds[-1]}), {len(failed)} failed: {summary}")
    click.echo(f"in {seconds:.0f} s")
    if failed:
        click.echo(f"replay with: ./scripts/sim --seeds {failed[0]}")
    return bool(failed)


def real(folder: Path, seed: int, faults: int) -> Report:
    """Strike real processes."""
    begin = _CLOCK.monotonic()
    report = Report()
    asyncio.run(run_rounds(folder, seed=seed, faults=faults, report=report))
    for line in report.lines():
        click.echo(line)
    click.echo(f"in {_CLOCK.monotonic() - begin:.0f} s")
    for failure in report.failures:
        click.echo(f"FAILED: {failure}")
    return report


if __name__ == "__main__":
    main()
