"""Many simulated lives, one after the other or in processes of their own."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterable

from h9s.sim.schedule import SimResult, run_seed


def run_seeds(seeds: Iterable[int], *, processes: int) -> Iterable[SimResult]:
    """Results in the order of the seeds."""
    if processes <= 1:
        yield from map(run_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=be_quiet) as pool:
        yield from pool.imap(run_seed, seeds, chunksize=4)


def be_quiet() -> None:
    """Warnings of replicas are what the simulation is made of; what matters is in the trace."""
    logging.getLogger("h9s").setLevel(logging.CRITICAL)
