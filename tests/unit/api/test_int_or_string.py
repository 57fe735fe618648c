"""Numbers and percentages of numbers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s._pb import meta_pb2
from h9s.api import int_or_string
from h9s.errors import InvalidError


def test_a_number_is_itself_and_nothing_is_zero():
    assert int_or_string.resolve(int_or_string.of(3), 10, round_up=True) == 3
    assert int_or_string.resolve(meta_pb2.IntOrString(), 10, round_up=True) == 0


@pytest.mark.parametrize(("round_up", "expected"), [(True, 3), (False, 2)])
def test_a_percentage_is_rounded_as_told(round_up, expected):
    assert int_or_string.resolve(int_or_string.of("25%"), 10, round_up=round_up) == expected


@given(st.integers(0, 1000), st.integers(0, 10**6))
def test_a_percentage_is_exact_up_to_its_rounding(percent, total):
    value = int_or_string.of(f"{percent}%")
    down = int_or_string.resolve(value, total, round_up=False)
    up = int_or_string.resolve(value, total, round_up=True)
    assert down * 100 <= percent * total <= up * 100
    assert up - down == (1 if math.fmod(percent * total, 100) else 0)


@pytest.mark.parametrize("text", ["", "5", "-5%", "5.5%", "%", "25 %", "x"])
def test_a_string_that_is_no_percentage_is_refused(text):
    assert int_or_string.percentage(text) is None
    with pytest.raises(InvalidError, match="a percentage such as '25%'"):
        int_or_string.resolve(int_or_string.of(text), 10, round_up=True)
