"""math-verify, as it runs in the worker processes of `filters.verify_math`; the caller never imports the library.

Its own timers stay off, because when they fire they answer "wrong". Whatever it swallows for want of memory or
stack is found out here and reported as not known, never as a difference.
"""

import logging
import re
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import product
from typing import Any

from filters._notation import as_numbers, split_unit, squeeze_answer
from filters._numeric import apart, close

Comparison = str
"""``equal``, ``different``, or why that is not known, as ``undecidable``; of a gold alone, ``parsed``."""

_SIGNS = {"π": r"\pi ", "∞": r"\infty ", "×": r"\times ", "·": r"\cdot ", "÷": "/", "≤": r"\le ", "≥": r"\ge "}
_SIGNS |= {"≠": r"\neq ", "∪": r"\cup ", "∩": r"\cap ", "±": r"\pm ", "θ": r"\theta "}
_SIGNS |= {"½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "∅": r"\emptyset ", "°": r"^{\circ}"}
_SIGNS |= {r"\varnothing": r"\emptyset", r"\oslash": r"\emptyset"}
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[a-zA-Z]|\([^()]*\))")
_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)")
_DEGREES = re.compile(r"(\d+(?:\.\d+)?) ?°")
_SET_BUILDER = re.compile(r"\\\{ ?[a-z] ?(?:\\mid|\||:) ?(.*)\\\}")
_TWO_NOTATIONS = re.compile(r"(.*(?:<|>|\\leq?|\\geq?|\\neq?)[^:]*): ?([\[(\\].*)")
_APPROXIMATION = re.compile(r"(?:\\approx|≈)")
_LONE_LETTER = re.compile(r"(?:^|[^a-zA-Z])[a-zA-Z]$")
_HEAVY = re.compile(r"!|binom|prod|sum|int|lim|amma|\^[^^\n]*\d{4}|\^\s*[({][^)}]*\^|\d{10}")
QUICK_S, QUICK_CHARS = 0.1, 200
"""A difference between short and light things that is found within so many seconds exhausted nothing."""
PARSED = 2_000
"""Texts whose meaning a worker remembers: parsing costs most of a comparison, and samples share their gold."""
_FORMS = [
    (r"3x^2 + \frac{1}{2}x", r"\frac{x}{2} - 3.5x^{2}"),
    (r"\left( 1, -\frac{\pi}{4} \right)", r"\{8\sqrt{3}, 2\}"),
    (r"(-\infty, 1) \cup [2, 5)", r"-1 < x \le 2"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "x = 5"),
    (r"\sin(2x) + e^{-x}", r"\log_2 (x+1), 2, 3i"),
]
_FAULTS = (MemoryError, RecursionError, OverflowError)


def warm_up() -> None:
    """Import the library and let its parser learn the common forms, which every worker then knows."""
    logging.disable(logging.CRITICAL)
    sys.set_int_max_str_digits(0)  # the deadline bounds the time; an error would read as a difference
    for first, second in [*_FORMS, *reversed(_FORMS)]:
        compare(first, second, 0.0, "either", "stated")


def compare(gold: str, text: str | None, relative_tolerance: float, percent: str, extraction: str) -> Comparison:
    """Compare the answer ``text`` (or the response that states it) with the gold; with None, only parse the gold."""
    expected = _parsed(gold, percent)
    if not expected or any(_is_undefined(e) for e in expected):
        return "unparsable_gold"
    if text is None:
        return "parsed"
    library = extraction == "library"
    found = _search(text) if library else _parsed(text, percent)
    if any(_is_undefined(f) for f in found):
        return "undecidable"
    start = time.process_time()
    if found and _same(expected, found, relative_tolerance):
        return "equal"
    both = f"{gold}\n{text}"
    doubtful = len(both) > QUICK_CHARS or _HEAVY.search(both) or time.process_time() - start > QUICK_S
    read = partial(_search, text) if library else partial(_meanings, text, percent)
    if doubtful and _exhausts(partial(_same, expected, found, relative_tolerance) if found else read):
        return "undecidable"
    return "no_answer" if library and not found else "different"


def _same(expected: list[Any], found: list[Any], relative_tolerance: float) -> bool:
    pairs = list(product(expected, found))
    if any(e == f for e, f in pairs):
        return True
    pairs = [(e, f) for e, f in pairs if not apart(e, f, relative_tolerance)]
    return any(_equal(e, f) or close(e, f, relative_tolerance) for e, f in pairs)


def _equal(expected: Any, found: Any) -> bool:
    import sympy  # type: ignore[import-untyped]
    from math_verify import verify

    # Decimals are rounded relative to their size, in `close`; the library rounds at a fixed place.
    exact = {"float_rounding": 15, "allow_set_relation_comp": True, "timeout_seconds": None, "raise_on_error": True}
    same = bool(verify(expected, found, **exact))
    if same and isinstance(expected, sympy.Eq) and isinstance(found, sympy.Eq) and expected != found:
        # Two equations that it cannot solve are equal to it, as two empty lists of solutions are.
        ratio = sympy.simplify((expected.lhs - expected.rhs) / (found.lhs - found.rhs))
        scaled = ratio.is_number and ratio.is_finite and not ratio.is_zero
        return bool(scaled or sympy.solve(expected, expected.free_symbols))
    return same


def _meanings(text: str, percent: str) -> list[Any]:
    """Everything that an answer's text may mean, as SymPy objects."""
    text, unit = split_unit(squeeze_answer(text))
    if _TRIGONOMETRY.search(text):
        text = _DEGREES.sub(r"\\frac{\1\\pi}{180}", text)
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1].strip('()')}}}", text)
    for sign, latex in _SIGNS.items():
        text = text.replace(sign, latex)
    if unit == "%":
        share = rf"\frac{{{text}}}{{100}}"
        return [e for spelling in ([share] if percent == "share" else [text, share]) for e in _parse(spelling)]
    if plain := _plain(text):
        return plain
    if builder := _SET_BUILDER.fullmatch(text):
        text = builder[1].replace(" and ", ", ")
    two = _TWO_NOTATIONS.fullmatch(text)
    notations = two.groups() if two else (text,)
    spellings = [s for notation in notations for s in _APPROXIMATION.split(notation) if s.strip()]
    return [e for spelling in spellings for e in _parse(_both_signs(spelling))]


_parsed = lru_cache(maxsize=PARSED)(_meanings)


def _plain(text: str) -> list[Any]:
    """A number or list of plain numbers as the library would parse it, which takes it up to 20 ms; else nothing."""
    import sympy
    from latex2sympy2_extended.sets import FiniteSet  # type: ignore[import-untyped]

    if (plain := as_numbers(text)) is None:
        return []
    brackets, values = plain
    numbers = [sympy.Rational(value.numerator, value.denominator) for value in values]
    if "." in text and "frac" not in text:
        numbers = [number if number.is_integer else sympy.Float(number, 15) for number in numbers]
    if not brackets:
        return [FiniteSet(*numbers) if len(numbers) > 1 else numbers[0]]
    if len(numbers) == 2 and values[0] < values[1]:
        return [sympy.Interval(*numbers, brackets[0] == "(", brackets[1] == ")")]
    return [sympy.Tuple(*numbers)] if len(numbers) > 1 and brackets in ("()", "[]") else []


def _both_signs(text: str) -> str:
    r"""A list in which ``\pm`` is written out: ``0, a \pm b`` becomes ``0, a + b, a - b``."""
    if r"\pm" not in text or "," not in text:
        return text
    items, depth, start = [], 0, 0
    for place, sign in enumerate(text + ","):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            item = text[start:place]
            items += [item.replace(r"\pm", "+", 1), item.replace(r"\pm", "-", 1)] if r"\pm" in item else [item]
            start = place + 1
    return ",".join(items)


def _parse(latex: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse
    from math_verify.parser import NormalizationConfig

    units = _LONE_LETTER.search(latex) is None  # it takes ``2 c`` for 2 cents
    normal = NormalizationConfig(units=units, malformed_operators=True, nits=True, boxed="all")
    config = [LatexExtractionConfig(boxed_match_priority=0, normalization_config=normal)]
    return _objects(parse(rf"\boxed{{{latex}}}", config, parsing_timeout=None, raise_on_error=True))


def _search(response: str) -> list[Any]:
    """What the library's own extractor finds in a whole response."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    config = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    return _objects(parse(response, config, parsing_timeout=None, raise_on_error=True))


def _objects(parsed: list[Any]) -> list[Any]:
    return [_imaginary(expression) for expression in parsed if not isinstance(expression, str)]


def _imaginary(expression: Any) -> Any:
    """Read ``i`` as the imaginary unit where it is the only letter; the library reads it as a variable."""
    import sympy

    if not isinstance(expression, (sympy.Expr, sympy.Tuple, sympy.FiniteSet, sympy.MatrixBase)):
        return expression
    symbols = list(expression.free_symbols)
    return expression.subs(symbols[0], sympy.I) if [s.name for s in symbols] == ["i"] else expression


def _is_undefined(expression: Any) -> bool:
    return bool(getattr(expression, "is_number", False)) and str(expression) in ("nan", "zoo")


def _exhausts(function: Callable[[], Any]) -> bool:
    """Whether memory, stack or range gives out on the way, also where a library swallows that."""
    exhausted = False

    def watch(frame: Any, event: str, value: Any) -> Any:
        nonlocal exhausted
        frame.f_trace_lines = False
        if event == "exception":
            exhausted = exhausted or issubclass(value[0], _FAULTS)
        return watch

    sys.settrace(watch)
    try:
        function()
        return exhausted or sys.gettrace() is not watch  # which ends by itself where the stack does
    finally:
        sys.settrace(None)
