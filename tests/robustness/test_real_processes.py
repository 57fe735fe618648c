"""A share of the faults on real processes; `./scripts/robustness` runs as many as you like.

H9S_ROBUSTNESS_FAULTS says how many, H9S_ROBUSTNESS_SEED which.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.robustness.rounds import Report, run_rounds

FAULTS = int(os.environ.get("H9S_ROBUSTNESS_FAULTS", "20"))
SEED = int(os.environ.get("H9S_ROBUSTNESS_SEED", "1"))


async def test_everything_that_is_promised_holds_under_faults(tmp_path: Path):
    report = Report()
    await run_rounds(tmp_path, seed=SEED, faults=FAULTS, report=report, per_round=10)
    assert not report.failures, "\n".join([*report.lines(), *report.failures])
    assert sum(report.faults.values()) == FAULTS
    # The checks had something to check.
    assert report.acknowledged > 10 * FAULTS
    assert report.reads > 10 * FAULTS
    assert report.events > report.acknowledged
    assert report.old_reads > 0
    assert report.replays > 0
