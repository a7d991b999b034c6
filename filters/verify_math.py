"""Correctness in mathematics: the final answer must equal the reference answer.

Where both are the same string or are plain numbers, that is decided here, exactly and at once. Everything else
goes to math-verify, in worker processes that are killed at their deadline: its own timers return "wrong" when
they fire, and do not fire at all inside C code. This file does not judge the reasoning, and it does not search
the text for numbers that were not stated as the answer.
"""

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any, Literal

import polars as pl
from pydantic import NonNegativeFloat, PositiveFloat

from filters import Filter, Verdict, abstain, reject
from filters._answers import as_number, extract_answer, split_unit, squeeze_answer
from filters._workers import WorkerPool

MAX_ANSWER_CHARS = 2_000
"""Longer answers are not given to a symbolic library; they are not called wrong either."""
MAX_CACHED = 200_000


class VerifyMath(Filter):
    r"""Keep a trajectory whose final answer equals the reference answer, whatever the notation.

    The answer is taken from ``\boxed{}``, ``#### 18``, ``A: 18``, "the answer is 18" or JSON ``"answer": "18"``,
    in that order. A reference of null (a proof, an open question) cannot be verified and is an abstention.

    Score: 1 if the answer is right, 0 if it is wrong or absent.
    Rejects: no_answer, wrong_answer.
    Abstains: missing_input, unparsable_gold, timeout, out_of_memory, worker_died, undecidable (the library failed),
        too_long_to_compare. None of these means that the answer is wrong.
    """

    timeout_s: PositiveFloat = 5.0
    """Seconds for one comparison of an answer with the reference, after which it is killed."""
    relative_tolerance: NonNegativeFloat = 5e-6
    """Largest accepted difference as a share of the reference, where either side is not an integer; 0 is exact.
    The default accepts decimals that are rounded to six significant digits."""
    units: Literal["ignore", "require"] = "ignore"
    """Whether ``12 minutes`` answers ``12``, and ``50%`` both ``50`` and ``0.5``; with ``require`` only the latter.
    Units that are given on both sides must agree in any case."""

    reads = ("response", "reference_answer")
    libraries = ("math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime", "gmpy2")
    examples = (
        ({"response": r"So it is \boxed{1{,}000.0}.", "reference_answer": "1000"}, "keep"),
        ({"response": r"\boxed{\frac{2}{4}}", "reference_answer": "0.5"}, "keep"),
        ({"response": r"\boxed{(x+1)^2}", "reference_answer": "x^2+2x+1"}, "keep"),
        ({"response": "28 + 32 = 61\nA: 61", "reference_answer": "60"}, "wrong_answer"),
        ({"response": r"\boxed{\sqrt{8}}", "reference_answer": r"3\sqrt{2}"}, "wrong_answer"),
        ({"response": "I cannot tell. Perhaps 60?", "reference_answer": "60"}, "no_answer"),
        ({"response": "The answer is 12 minutes.", "reference_answer": "12"}, "keep"),
        ({"response": r"\boxed{7}", "reference_answer": r"\ref{} ???"}, "unparsable_gold"),
        ({"response": r"\boxed{7}", "reference_answer": None}, "missing_input"),
        ({"response": None, "reference_answer": "60"}, "missing_input"),
    )

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Decide by notation what can be decided, then compare each distinct remaining pair once."""
        golds = rows["reference_answer"].to_list()
        answers = [extract_answer(response) for response in rows["response"]]
        pairs = [(gold, answer) for gold, answer in zip(golds, answers, strict=True) if answer is not None]
        decided = self.compare(list(dict.fromkeys(pairs)))
        for gold, answer in zip(golds, answers, strict=True):
            yield reject("no_answer", 0.0) if answer is None else _verdict(decided[gold, answer], answer)

    def compare(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """How each (reference, answer) pair compares: ``equal``, ``different``, or the reason why that is not known."""
        settings = (self.relative_tolerance, self.units)
        decided = {pair: self._compare_notation(*pair) or _CACHE.get((pair, settings)) for pair in pairs}
        open_pairs = [pair for pair, comparison in decided.items() if comparison is None]
        if open_pairs:
            answers = _pool().run(open_pairs, timeout_s=self.timeout_s)
            for pair, answer in zip(open_pairs, answers, strict=True):
                decided[pair] = "undecidable" if answer.failure == "error" else answer.failure or answer.value
                if answer.failure is None and len(_CACHE) < MAX_CACHED:
                    _CACHE[pair, settings] = answer.value
        return {pair: str(comparison) for pair, comparison in decided.items()}

    def unparsable(self, golds: Iterable[str]) -> list[str]:
        """The references against which only an answer in the same spelling can be verified: look at them first."""
        pairs = [(gold, "0") for gold in dict.fromkeys(golds)]
        return [gold for (gold, _), comparison in self.compare(pairs).items() if comparison == "unparsable_gold"]

    def _compare_notation(self, gold: str, answer: str) -> str | None:
        if len(answer) > MAX_ANSWER_CHARS or len(gold) > MAX_ANSWER_CHARS:
            return "equal" if gold.strip() == answer.strip() else "too_long_to_compare"
        gold, answer = squeeze_answer(gold), squeeze_answer(answer)
        if gold.casefold() == answer.casefold() and gold:
            return "equal"
        (gold, gold_unit), (answer, answer_unit) = split_unit(gold), split_unit(answer)
        expected, found = as_number(gold), as_number(answer)
        if expected is None or found is None:
            return None
        clash = gold_unit != answer_unit and "%" not in (gold_unit, answer_unit)
        if clash and (self.units == "require" or (gold_unit and answer_unit)):
            return "different"
        readings = product(self._readings(expected, gold_unit), self._readings(found, answer_unit))
        return "equal" if any(self._close(*reading) for reading in readings) else "different"

    def _readings(self, number: Fraction, unit: str) -> list[Fraction]:
        if unit != "%":
            return [number]
        return [number / 100] if self.units == "require" else [number, number / 100]

    def _close(self, expected: Fraction, found: Fraction) -> bool:
        exact = expected.denominator == 1 and found.denominator == 1
        slack = Fraction(0) if exact else abs(expected) * Fraction(self.relative_tolerance)
        return abs(expected - found) <= slack


def _verdict(comparison: str, answer: str) -> Verdict:
    if comparison == "equal":
        return Verdict("keep", None, 1.0, answer)
    return reject("wrong_answer", 0.0, answer) if comparison == "different" else abstain(comparison, None, answer)


_CACHE: dict[tuple[tuple[str, str], tuple[float, str]], str] = {}


@cache
def _pool() -> WorkerPool:
    return WorkerPool("filters.verify_math:compare_symbolically")


# ------------------------------------------------------------------------------ what follows runs in the workers

_UNICODE = {"π": r"\pi ", "∞": r"\infty ", "×": r"\times ", "·": r"\cdot ", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup "}
_ROOT = re.compile(r"√\s*(\d+(?:\.\d+)?|[a-zA-Z]|\([^()]*\))")


def warm_up() -> None:
    """Import and run the library once, so that the first comparison is not charged for it."""
    compare_symbolically(r"\frac{1}{2}x", r"\frac{x}{2}")


def compare_symbolically(gold: str, answer: str) -> str:
    """Compare by math-verify, whose own timers stay off: when they fire they answer "wrong"."""
    from math_verify import verify

    expected = [e for e in _parse(gold) if not isinstance(e, str)]
    if not expected or any(_is_nan(e) for e in expected):
        return "unparsable_gold"
    found = [e for e in _parse(answer) if not isinstance(e, str)]
    same = verify(expected, found, timeout_seconds=None, raise_on_error=True)
    return "equal" if same else "different"


def _parse(text: str) -> list[Any]:
    import logging

    from math_verify import LatexExtractionConfig, parse

    logging.disable(logging.CRITICAL)
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1].strip('()')}}}", squeeze_answer(text))
    for sign, latex in _UNICODE.items():
        text = text.replace(sign, latex)
    config = [LatexExtractionConfig(boxed_match_priority=0)]
    parsed: list[Any] = parse(rf"\boxed{{{text}}}", config, parsing_timeout=None, raise_on_error=True)
    return parsed


def _is_nan(expression: Any) -> bool:
    return getattr(expression, "is_number", False) and str(expression) == "nan"
