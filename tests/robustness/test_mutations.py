"""The simulation's checks can fail: with a repair taken away, some schedule does.

Those that take many schedules are run by `./scripts/robustness --mutations`.
"""

from __future__ import annotations

import pytest

from tests.robustness.mutations import MUTATIONS, Mutation, first_finding

QUICK = [one for one in MUTATIONS if not one.is_slow]


@pytest.mark.parametrize("one", QUICK, ids=lambda one: one.name.replace(" ", "-"))
def test_it_is_seen_when_it_does_not_hold_that(one: Mutation):
    seed, failure = first_finding(one)
    assert failure, f"{one.seeds} schedules passed although it did not hold that {one.name}"
    assert seed >= 0
