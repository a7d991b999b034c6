"""SymPy objects as numbers: whether decimals are close enough, and whether values prove two answers different.

Runs in the worker processes of `filters.verify_math`. It proves no equality of expressions with variables; that
is math-verify's part.
"""

from typing import Any

EXACT = 1e-40
"""Constants that agree to this share of their size, of 50 digits, are the same."""
APART = 1e-6
"""Expressions whose values are this far apart, as a share of their size, are different: 15 digits are computed."""


def close(expected: Any, found: Any, relative_tolerance: float) -> bool:
    """Whether both are numbers, or alike collections of numbers, that differ by no more than their decimals may."""
    if len({e.lhs for e in (expected, found) if hasattr(e, "lhs")}) > 1:  # x = 1.5 and y = 1.5
        return False
    kind, parts = _parts(expected)
    other_kind, others = _parts(found)
    if kind is None or kind != other_kind or not all(part.is_number for part in (*parts, *others)):
        return False
    if kind[0] == "set":
        parts, others = (sorted((n.doit() for n in ns), key=lambda n: complex(n).real) for ns in (parts, others))
    return all(_close(e, f, relative_tolerance) for e, f in zip(parts, others, strict=True))


def apart(expected: Any, found: Any, relative_tolerance: float) -> bool:
    """Whether the values at one point prove two expressions, or collections of them, to be different.

    This settles most wrong answers in a fraction of the time that simplifying their difference takes.
    """
    values, others = _values(expected), _values(found)
    if values is None or others is None:
        return False
    slack = max(APART, 2 * relative_tolerance)
    return any(not any(abs(v - w) <= slack * max(abs(v), abs(w)) for w in others) for v in values) or any(
        not any(abs(v - w) <= slack * max(abs(v), abs(w)) for v in values) for w in others
    )


def _close(expected: Any, found: Any, relative_tolerance: float) -> bool:
    import sympy  # type: ignore[import-untyped]

    if expected == found:
        return True
    slack = relative_tolerance if expected.has(sympy.Float) or found.has(sympy.Float) else EXACT
    size, difference = abs(expected.evalf(50)), abs((expected - found).evalf(50))
    return bool(size.is_finite and difference.is_finite and difference <= slack * size)


def _parts(expression: Any) -> tuple[tuple[Any, ...] | None, list[Any]]:
    """Kind of an expression and the terms it consists of; no kind if it consists of anything else."""
    import sympy

    kind: tuple[Any, ...] = ("number",)
    parts: list[Any] = [expression]
    if isinstance(expression, sympy.Interval):
        kind, parts = (expression.left_open, expression.right_open), [expression.start, expression.end]
    elif isinstance(expression, sympy.Eq) and isinstance(expression.lhs, sympy.Symbol):
        parts = [expression.rhs]
    elif isinstance(expression, sympy.MatrixBase):
        kind, parts = expression.shape, list(expression.flat())
    elif isinstance(expression, (sympy.Tuple, sympy.FiniteSet)):
        name = "tuple" if isinstance(expression, sympy.Tuple) else "set"
        kind, parts = (name, len(expression)), list(expression.args)
    return (kind, parts) if all(isinstance(part, sympy.Expr) for part in parts) else (None, [])


def _values(expression: Any) -> list[complex] | None:
    """The values of all terms where each variable has a value of its own; None if they are not plain terms."""
    import sympy

    kind, parts = _parts(expression)
    if kind is None or any(isinstance(part, sympy.Symbol) or part.has(sympy.UnevaluatedExpr) for part in parts):
        return None  # the library has rules of its own for names and for percent
    symbols = {symbol for part in parts for symbol in part.free_symbols}
    point = {symbol: sympy.Float(_value_of(symbol.name)) for symbol in symbols}
    numbers = [part.doit().subs(point).evalf() for part in parts]
    if not all(number.is_number and number.is_finite for number in numbers):
        return None
    return [complex(number) for number in numbers]


def _value_of(name: str) -> float:
    """Between 1 and 2, so that roots and logarithms of a variable are real; not special, so that nothing cancels."""
    return 1 + sum(ord(letter) * 0.61803398875 ** (place + 1) for place, letter in enumerate(name)) % 1
