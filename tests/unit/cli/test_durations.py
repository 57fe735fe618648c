from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.cli.durations import human_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1.4, "0s"),
        (-2, "<invalid>"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (599, "9m59s"),
        (600, "10m"),
        (179 * 60, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 20 * 60, "5h20m"),
        (8 * 3600 + 59 * 60, "8h"),
        (47 * 3600, "47h"),
        (2 * 86400 + 4 * 3600, "2d4h"),
        (8 * 86400 + 3600, "8d"),
        (400 * 86400, "400d"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_lengths_of_time_are_written_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_what_is_written_is_never_more_and_little_less_than_the_truth(seconds: int) -> None:
    shown = parse_duration(human_duration(seconds).replace("y", "d")) if seconds < 2 * 365 * 86400 else None
    if shown is not None:
        assert 0.85 * seconds <= shown <= seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("7", 7),
        ("0", 0),
        ("-1s", -1),
        (".5s", 0.5),
    ],
)
def test_gos_notation_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "1h30", "5 m", "1x", "--5s", "5s!", "1e3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.text())
def test_reading_gives_a_number_or_a_value_error(text: str) -> None:
    try:
        assert isinstance(parse_duration(text), float)
    except ValueError:
        pass
