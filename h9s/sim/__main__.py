"""`./scripts/sim --seeds A..B`: many simulated lives, in parallel; a failing seed prints its trace."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterable

import click

from h9s.sim.schedule import SimResult, run_seed


def parse_seeds(text: str) -> range:
    """`3..7` is 3 to 7, both included; `5` is 5."""
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError:
        raise click.BadParameter(f"expected a range such as 0..299, got {text!r}") from None


def run_seeds(seeds: Iterable[int], *, processes: int) -> Iterable[SimResult]:
    """Results in the order of the seeds."""
    if processes <= 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_be_quiet) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=4)


def _be_quiet() -> None:
    """Warnings of replicas are what the simulation is made of; what matters is in the trace."""
    logging.getLogger("h9s").setLevel(logging.ERROR)


@click.command()
@click.option("--seeds", default="0..299", show_default=True, help="Which seeds, both ends included.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
@click.option("--trace", is_flag=True, help="Print the trace of every seed, not only of failing ones.")
def main(seeds: str, processes: int, trace: bool) -> None:
    """Run the consensus core and the store through faults, on virtual time."""
    _be_quiet()
    failed = []
    acknowledged = faults = reads = count = 0
    for result in run_seeds(parse_seeds(seeds), processes=processes):
        count += 1
        acknowledged += result.acknowledged
        faults += result.faults
        reads += result.reads
        if trace or result.failures:
            click.echo(f"--- seed {result.seed}: the last of what happened")
            click.echo("\n".join(result.trace))
        if result.failures:
            failed.append(result.seed)
            click.echo(f"seed {result.seed} FAILED: {result.failures[0]}")
    click.echo(
        f"{count} seeds, {len(failed)} failed; {faults} faults, "
        f"{acknowledged} acknowledged writes, {reads} linearizable reads"
    )
    if failed:
        click.echo(f"replay with: ./scripts/sim --seeds {failed[0]}..{failed[0]}")
        sys.exit(1)


if __name__ == "__main__":
    main()
