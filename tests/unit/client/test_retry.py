import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.client import Backoff, RetryPolicy
from h9s.client.retry import is_retriable
from h9s.errors import BY_REASON


@given(
    initial=st.floats(0.001, 1.0),
    factor=st.floats(1.0, 5.0),
    jitter=st.floats(0.0, 0.9),
    seed=st.integers(),
)
def test_waits_stay_within_the_jitter_of_a_growing_series(initial, factor, jitter, seed):
    policy = RetryPolicy(initial=initial, factor=factor, maximum=10.0, jitter=jitter)
    backoff = Backoff(policy, random.Random(seed))
    for _ in range(2):
        for attempt in range(12):
            nominal = min(initial * factor**attempt, 10.0)
            low, high = nominal * (1 - jitter), nominal * (1 + jitter)
            assert low * (1 - 1e-9) <= backoff.next() <= high * (1 + 1e-9)
        backoff.reset()


@pytest.mark.parametrize(
    "settings",
    [
        {"initial": 0.0},
        {"initial": 2.0, "maximum": 1.0},
        {"factor": 0.5},
        {"jitter": 1.0},
        {"attempt_timeout": 0.0},
        {"deadline": -1.0},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"sensible|above zero"):
        RetryPolicy(**settings)


def test_which_errors_may_pass():
    retriable = {reason for reason, cls in BY_REASON.items() if is_retriable(cls("x"))}
    assert retriable == {"NotLeader", "Unavailable", "Overloaded", "Timeout", "FutureRevision"}
