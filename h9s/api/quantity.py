"""Kubernetes' quantities: exact amounts written with a decimal or binary suffix (`500m`, `1.5Gi`, `1e3`).

All arithmetic is exact; rounding happens only where a caller asks for whole millicores or bytes, and
then upwards, so that no request is ever undercounted.
"""

from __future__ import annotations

import re
from enum import Enum
from fractions import Fraction
from functools import lru_cache

from h9s.errors import InvalidError

#: Larger amounts are refused: they must fit a signed 64-bit integer, as in Kubernetes.
MAXIMUM = 2**63 - 1

_PATTERN = re.compile(
    r"([+-]?)([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})"
    r"(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?[0-9]{1,2}))?"
)
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_BINARY = {suffix: Fraction(1024**power) for power, suffix in enumerate(_BINARY_SUFFIXES)}
_DECIMAL_EXPONENTS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL_EXPONENTS.items()}


class _Format(Enum):
    """How a quantity was written, which is how it is written again."""

    BINARY = "binary"
    DECIMAL = "decimal"
    EXPONENT = "exponent"


def parse(text: str) -> Fraction:
    """The exact value. Raises InvalidError if the text is not a quantity or is out of range."""
    return _parse(text)[0]


def cpu_millis(text: str) -> int:
    """An amount of cpu in thousandths of a core, rounded up. Raises InvalidError."""
    return _ceiling(parse(text) * 1000)


def byte_count(text: str) -> int:
    """An amount of memory in bytes, rounded up. Raises InvalidError."""
    return _ceiling(parse(text))


@lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """The one way to write this value in this format: whole, with the largest suffix that keeps it so
    (`0.5` is `500m`, `1024Mi` is `1Gi`, `1000k` is `1M`); finer than a billionth is rounded up.
    Raises InvalidError."""
    value, form = _parse(text)
    if form is _Format.BINARY and (abs(value) < 1024 or value.denominator != 1):
        form = _Format.DECIMAL
    if form is _Format.BINARY:
        return _binary(value.numerator)
    return _decimal(value, form)


def format_bytes(count: int) -> str:
    """A number of bytes as a quantity with the largest binary suffix that is exact: 1Gi, 1536Mi."""
    return _binary(count)


def format_millis(millis: int) -> str:
    """Thousandths as a quantity: 1500 is `1500m`, 2000 is `2`."""
    return _decimal(Fraction(millis, 1000), _Format.DECIMAL)


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Fraction, _Format]:
    match = _PATTERN.fullmatch(text)
    if not match:
        raise InvalidError(
            f"{text!r} is not a quantity: expected a number and a suffix, such as 500m or 64Mi"
        )
    sign, digits, binary, decimal, exponent = match.groups()
    value = Fraction(digits.rstrip(".") if digits.endswith(".") else digits)
    if sign == "-":
        value = -value
    if binary:
        value, form = value * _BINARY[binary], _Format.BINARY
    elif exponent:
        value, form = value * Fraction(10) ** int(exponent), _Format.EXPONENT
    else:
        value, form = value * Fraction(10) ** _DECIMAL_EXPONENTS[decimal or ""], _Format.DECIMAL
    if abs(value) > MAXIMUM:
        raise InvalidError(f"quantity {text!r} is out of range: at most {MAXIMUM}")
    return value, form


def _ceiling(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _binary(count: int) -> str:
    power = 0
    while count and count % 1024 == 0 and power < len(_BINARY_SUFFIXES) - 1:
        count //= 1024
        power += 1
    return f"{count}{_BINARY_SUFFIXES[power]}"


def _decimal(value: Fraction, form: _Format) -> str:
    number = _ceiling(abs(value) * 10**9) * (1 if value >= 0 else -1)
    exponent = -9
    while number and number % 1000 == 0 and exponent < 18:
        number //= 1000
        exponent += 3
    if not number:
        return "0"
    if form is _Format.EXPONENT:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIXES[exponent]}"
