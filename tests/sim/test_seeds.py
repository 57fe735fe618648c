"""Hundreds of simulated lives. H9S_SIM_SEEDS chooses which: `A..B` both included, or `N` for the first N."""

from __future__ import annotations

import os

import pytest

from h9s.sim.__main__ import parse_seeds
from h9s.sim.schedule import SimResult, run_seed

DEFAULT_COUNT = 300
#: Seeds in one test, so that tests can be spread over processors.
CHUNK = 10


def chosen() -> range:
    text = os.environ.get("H9S_SIM_SEEDS", str(DEFAULT_COUNT))
    return parse_seeds(text) if ".." in text else range(int(text))


CHUNKS = [chosen()[start : start + CHUNK] for start in range(0, len(chosen()), CHUNK)]


def report(result: SimResult) -> str:
    lines = [*result.trace, *result.failures, f"replay with: ./scripts/sim --seeds {result.seed}"]
    return "\n".join(lines)


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"{seeds[0]}..{seeds[-1]}")
def test_all_invariants_hold(seeds: range) -> None:
    for seed in seeds:
        result = run_seed(seed)
        assert not result.failures, report(result)
