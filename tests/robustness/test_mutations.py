"""The checks can fail: with a repair taken away, some simulated schedule does.

Those that take many schedules are run by `./scripts/robustness --mutations`. Where no schedule can be relied
upon, there is a unit test that fails.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.robustness.every_mutation import MUTATIONS, Mutation, first_finding

QUICK = [one for one in MUTATIONS if not one.is_slow]
BY_UNIT_TEST = [one for one in MUTATIONS if one.unit_test]


def name_of(one: Mutation) -> str:
    return one.name.replace(" ", "-")


@pytest.mark.parametrize("one", QUICK, ids=name_of)
def test_it_is_seen_when_it_does_not_hold_that(one: Mutation):
    seed, failure = first_finding(one)
    assert failure, f"{one.seeds} schedules passed although it did not hold that {one.name}"
    assert seed >= 0


def run_unit_test(one: Mutation, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, one.unit_test],
        env=os.environ | {"H9S_MUTATION": one.name},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("one", BY_UNIT_TEST, ids=name_of)
def test_a_unit_test_sees_when_it_does_not_hold_that(one: Mutation):
    done = run_unit_test(one, "-p", "tests.robustness.mutating")
    assert (done.returncode, "1 failed" in done.stdout) == (1, True), done.stdout
    whole = run_unit_test(one)
    assert whole.returncode == 0, whole.stdout
