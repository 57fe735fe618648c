"""Quantities are exact, and written in one way."""

import contextlib
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s.api import quantity
from h9s.errors import InvalidError

UNITS = {
    "": 1,
    **{s: Fraction(10) ** e for s, e in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)},
    **{s: 1024**p for p, s in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("2", 2),
        ("+2", 2),
        ("-1.5", Fraction(-3, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("500m", Fraction(1, 2)),
        ("1.5Gi", 1536 * 1024**2),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-1", Fraction(6, 5)),
        ("64Mi", 64 * 1024**2),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_quantity_has_its_exact_value(text, value):
    assert quantity.parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1 Gi",
        "1gi",
        "1K",
        "0x10",
        "1.2.3",
        "--1",
        "m",
        "1e",
        "1e3m",
        "1Kim",
        "１",
        "1\n",
        "inf",
        "1e999999",
    ],
)
def test_what_is_not_a_quantity_is_refused(text):
    with pytest.raises(InvalidError, match="is not a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "8Ei", "10E", "1e99", "-9e30"])
def test_what_does_not_fit_64_bits_is_refused(text):
    with pytest.raises(InvalidError, match="out of range"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1000k", "1M"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1000Ki", "1000Ki"),
        ("0Gi", "0"),
        ("1e3", "1e3"),
        ("12e-1", "1200e-3"),
        ("1500e3", "1500e3"),
        ("0.0000000001", "1n"),
        ("-1500m", "-1500m"),
        ("+3", "3"),
    ],
)
def test_the_canonical_form_is_kubernetes_own(text, canonical):
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "millis"), [("2", 2000), ("0.5", 500), ("100m", 100), ("1u", 1), ("0.0001", 1)]
)
def test_cpu_is_counted_in_whole_millicores_rounded_up(text, millis):
    assert quantity.cpu_millis(text) == millis


@pytest.mark.parametrize(
    ("text", "count"), [("64Mi", 67108864), ("1k", 1000), ("1m", 1), ("0.5", 1), ("0", 0)]
)
def test_memory_is_counted_in_whole_bytes_rounded_up(text, count):
    assert quantity.byte_count(text) == count


numbers = st.from_regex(r"[0-9]{1,6}(\.[0-9]{0,6})?|\.[0-9]{1,6}", fullmatch=True)
texts = st.builds(
    lambda sign, number, unit: (f"{sign}{number}{unit}", sign, number, unit),
    st.sampled_from(["", "-", "+"]),
    numbers,
    st.sampled_from([unit for unit in UNITS if unit not in ("E", "P", "Ei", "Pi")]),
)


@given(texts)
def test_any_number_with_any_suffix_has_the_value_that_it_says(parts):
    text, sign, number, unit = parts
    value = Fraction(number.rstrip(".") if number.endswith(".") else number) * UNITS[unit]
    assert quantity.parse(text) == (-value if sign == "-" else value)


@given(texts)
def test_the_canonical_form_keeps_the_value_and_is_its_own_canonical_form(parts):
    text = parts[0]
    canonical = quantity.canonical(text)
    assert quantity.canonical(canonical) == canonical
    difference = abs(quantity.parse(canonical)) - abs(quantity.parse(text))
    assert 0 <= difference < Fraction(1, 10**9)


@given(texts, texts)
def test_equal_amounts_in_decimal_suffixes_are_written_equally(one, other):
    if one[3].endswith("i") or other[3].endswith("i"):
        return
    exact = all((quantity.parse(parts[0]) * 10**9).denominator == 1 for parts in (one, other))
    if exact and quantity.parse(one[0]) == quantity.parse(other[0]):
        assert quantity.canonical(one[0]) == quantity.canonical(other[0])


@given(st.integers(0, 2**62))
def test_bytes_and_millicores_are_written_exactly(count):
    assert quantity.byte_count(quantity.format_bytes(count)) == count
    assert quantity.cpu_millis(quantity.format_millis(count)) == count


@given(st.text(max_size=8))
def test_any_text_is_a_quantity_or_refused_with_the_text_itself(text):
    with contextlib.suppress(InvalidError):
        quantity.canonical(text)
        return
    with pytest.raises(InvalidError, match=re.escape(repr(text))):
        quantity.canonical(text)
