"""When what a program returned or printed is what was expected. What it returned comes as plain data, decoded."""

import math
import re
from typing import Any

from filters._plain import Opaque

_DECIMAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d{1,4})?")
"""A number that is not written as an integer."""


def same_value(expected: Any, found: Any, tolerance: float) -> bool:
    """True where a found value is the expected JSON value. A tuple counts as an array; True is not 1."""
    match expected:
        case bool() | None | str():
            return type(found) is type(expected) and bool(found == expected)
        case int() | float():
            return type(found) in (int, float) and _close(expected, found, tolerance)
        case list():
            return (
                type(found) in (list, tuple)
                and len(found) == len(expected)
                and all(same_value(e, f, tolerance) for e, f in zip(expected, found, strict=True))
            )
        case dict():
            return (
                type(found) is dict
                and not any(isinstance(key, Opaque) for key in found)
                and found.keys() == expected.keys()
                and all(same_value(value, found[key], tolerance) for key, value in expected.items())
            )
    return False


def _close(expected: float, found: float, tolerance: float) -> bool:
    if expected == found or isinstance(expected, int):
        return expected == found
    try:
        return math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:
        return False


def same_text(expected: str, found: str, tolerance: float) -> bool:
    """True where two outputs are the same up to white space at line ends, and decimal fractions nearly so."""
    wanted, got = ([line.split() for line in text.rstrip().splitlines()] for text in (expected, found))
    return len(wanted) == len(got) and all(
        len(a) == len(b) and all(x == y or _same_decimal(x, y, tolerance) for x, y in zip(a, b, strict=True))
        for a, b in zip(wanted, got, strict=True)
    )


def _same_decimal(expected: str, found: str, tolerance: float) -> bool:
    both = _DECIMAL.fullmatch(expected) and _DECIMAL.fullmatch(found)
    return bool(both) and math.isclose(float(expected), float(found), rel_tol=tolerance, abs_tol=tolerance)
