from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.report import (
    Report,
    Result,
    at_least_times,
    at_most,
    at_most_times,
    median,
    percentile,
    to_json,
    to_table,
)
from benchmarks.targets import make_lease


def test_an_upper_limit_is_met_up_to_the_limit():
    assert at_most("x", 1.3, "ms", 1.3).met
    assert not at_most("x", 1.31, "ms", 1.3).met


def test_an_aim_relative_to_what_was_not_measured_is_undecided():
    assert at_least_times("x", 100.0, "1/s", 0.8, None, "etcd", peer=None).met is None
    assert at_most_times("x", 100.0, "s", 2.0, None, "plain Docker").met is None


def test_relative_aims_compare_with_their_base():
    assert at_least_times("x", 80.0, "1/s", 0.8, 100.0, "etcd", peer=100.0).met
    assert not at_least_times("x", 79.0, "1/s", 0.8, 100.0, "etcd", peer=100.0).met
    assert at_most_times("x", 4.0, "s", 2.0, 2.0, "plain Docker") == Result(
        "x", 4.0, "s", peer=2.0, ratio=2.0, aim="≤ 2 × plain Docker", met=True
    )


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_a_measured_value_that_enough_values_are_not_above(
    values: list[float], percent: float
):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_half_of_the_values_are_on_each_side_of_the_median(values: list[float]):
    middle = median(values)
    assert sum(value <= middle for value in values) * 2 >= len(values)
    assert sum(value >= middle for value in values) * 2 >= len(values)


def test_nothing_measured_is_an_error():
    for function in (median, lambda values: percentile(values, 50)):
        with pytest.raises(ValueError, match="nothing was measured"):
            function([])


def test_json_has_the_fields_that_readers_rely_on():
    report = Report("store", {"cores": 2}, {"seconds": 8.0}, [at_most("p50", 1.0, "ms", 1.3, peer=0.5)])
    document = json.loads(to_json(report))
    assert document == {
        "benchmark": "store",
        "machine": {"cores": 2},
        "settings": {"seconds": 8.0},
        "results": [
            {
                "name": "p50",
                "value": 1.0,
                "unit": "ms",
                "peer": 0.5,
                "ratio": 2.0,
                "aim": "≤ 1.3 ms",
                "met": True,
            }
        ],
    }


def test_a_table_says_which_aims_are_missed():
    results = [
        at_most("slow", 2.0, "ms", 1.3),
        at_most("fast", 1.0, "ms", 1.3),
        Result("plain", 12345.6, "1/s"),
    ]
    lines = to_table(Report("store", {}, {}, results)).splitlines()
    assert lines[-3].endswith("NO")
    assert lines[-2].endswith("yes")
    assert lines[-1].split() == ["plain", "12,346", "1/s"]


@given(st.integers(60, 2000))
def test_the_written_object_has_the_size_that_is_asked_for(size: int):
    assert abs(make_lease("parallel-0-12-3456", size).ByteSize() - size) <= 2
