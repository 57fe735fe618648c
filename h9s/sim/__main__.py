"""`./scripts/sim --seeds A..B`: many simulated lives, in parallel; a failing seed prints its trace."""

from __future__ import annotations

import os
import sys

import click

from h9s.sim.lives import be_quiet, run_seeds


def parse_seeds(text: str) -> range:
    """`3..7` is 3 to 7, both included; `5` is 5."""
    first, _, last = text.partition("..")
    try:
        return range(int(first), int(last or first) + 1)
    except ValueError:
        raise click.BadParameter(f"expected a range such as 0..299, got {text!r}") from None


@click.command()
@click.option("--seeds", default="0..299", show_default=True, help="Which seeds, both ends included.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
@click.option("--trace", is_flag=True, help="Print the trace of every seed, not only of failing ones.")
def main(seeds: str, processes: int, trace: bool) -> None:
    """Run the consensus core and the store through faults, on virtual time."""
    be_quiet()
    failed = []
    count = 0
    total: dict[str, int] = {}
    for result in run_seeds(parse_seeds(seeds), processes=processes):
        count += 1
        for name, number in result.counts().items():
            total[name] = total.get(name, 0) + number
        if trace or result.failures:
            click.echo(f"--- seed {result.seed}: the last of what happened")
            click.echo("\n".join(result.trace))
        if result.failures:
            failed.append(result.seed)
            click.echo(f"seed {result.seed} FAILED: {result.failures[0]}")
    summary = ", ".join(f"{number} {name}" for name, number in total.items())
    click.echo(f"{count} seeds, {len(failed)} failed; {summary}")
    if failed:
        click.echo(f"replay with: ./scripts/sim --seeds {failed[0]}..{failed[0]}")
        sys.exit(1)


if __name__ == "__main__":
    main()
