"""`./scripts/robustness`: simulated schedules, then faults on real processes, with every check there is."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import click

from h9s.clock import SystemClock
from h9s.sim.__main__ import parse_seeds
from h9s.sim.lives import be_quiet, run_seeds
from tests.robustness.every_mutation import MUTATIONS, first_finding
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
@click.option("--mutations", is_flag=True, help="Only show that the checks can fail: take repairs away.")
@click.option("--keep", is_flag=True, help="Keep the replicas' folders.")
def main(
    quick: bool, seed: int, seeds: str, faults: int, processes: int, mutations: bool, keep: bool
) -> None:
    """Try to break what is promised, and say how often that was tried."""
    be_quiet()
    if mutations:
        sys.exit(0 if try_mutations(processes) else 1)
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


def try_mutations(processes: int) -> bool:
    """Take every repair away in turn; whether some schedule failed each time, or a unit test is there."""
    missed = 0
    with multiprocessing.get_context("spawn").Pool(processes, initializer=be_quiet) as pool:
        for number, (seed, failure) in enumerate(pool.imap(_try_mutation, range(len(MUTATIONS)))):
            one = MUTATIONS[number]
            if failure:
                verdict = f"schedule {seed}: {failure[:100]}"
            else:
                verdict = f"no schedule of {one.seeds}; {one.unit_test or 'NOTHING SEES IT'}"
                missed += not one.unit_test
            click.echo(f"{one.name}: {verdict}")
    click.echo(f"{len(MUTATIONS)} repairs were taken away, {missed} of them unseen")
    return not missed


def _try_mutation(number: int) -> tuple[int, str]:
    return first_finding(MUTATIONS[number])


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
