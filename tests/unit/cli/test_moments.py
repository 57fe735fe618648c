from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.cli.moments import Moment, moment_of, parse_moment, parse_time, when
from h9s.errors import UsageError

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", NOW - 600),
        ("1h30m", NOW - 5400),
        ("2d", NOW - 172_800),
        ("2023-11-14T22:00:00Z", 1_699_999_200),
        ("2023-11-14T23:00:00+01:00", 1_699_999_200),
        ("2023-11-14 22:00:00Z", 1_699_999_200),
    ],
)
def test_a_time_is_so_long_ago_or_a_point(text, seconds):
    assert parse_time(text, now=NOW) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10 apples", "2023-13-01T00:00:00Z", "m", "Z"])
def test_what_is_no_time_is_an_error_that_says_how_to_write_one(text):
    with pytest.raises(UsageError, match="10m"):
        parse_time(text, now=NOW)


@pytest.mark.parametrize("text", ["-10m", "2033-11-14T22:00:00Z"])
def test_the_future_is_not_known(text):
    with pytest.raises(UsageError, match="future"):
        parse_time(text, now=NOW)


@given(st.text(max_size=20))
def test_no_text_does_anything_else(text):
    try:
        assert 0 < parse_time(text, now=NOW) <= NOW
    except UsageError:
        pass


def test_a_bare_number_is_a_revision():
    assert parse_moment("812", now=NOW) == Moment(revision=812)
    assert parse_moment("10m", now=NOW) == Moment(time=NOW - 600)
    with pytest.raises(UsageError, match="begin at 1"):
        parse_moment("0", now=NOW)


def test_only_one_of_the_two_is_given():
    assert moment_of(None, None, now=NOW).is_now
    assert moment_of(7, None, now=NOW) == Moment(revision=7)
    with pytest.raises(UsageError, match="not both"):
        moment_of(7, "10m", now=NOW)


def test_a_moment_is_written_with_how_long_ago_it_was():
    assert when(NOW - 600, now=NOW) == "2023-11-14T22:03:20Z (10m ago)"
