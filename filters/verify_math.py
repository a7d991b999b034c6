"""Correctness in mathematics: the final answer must equal the reference answer.

Where both are the same string or are plain numbers, that is decided here, exactly and at once. Everything else
goes to math-verify (`filters._math`), in worker processes that are killed at their deadline: its own timers return
"wrong" when they fire, and do not fire at all inside C code. This file does not judge the reasoning, and it does
not search the text for numbers that were not stated as the answer.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Literal

import polars as pl
from pydantic import NonNegativeFloat, PositiveFloat

from filters import Filter, Verdict, abstain, reject
from filters._answers import extract_answer
from filters._math import Comparison
from filters._notation import as_numbers, canonical_answer, is_text, split_unit, squeeze_answer
from filters._workers import WorkerPool

MAX_ANSWER_CHARS = 2_000
"""Longer answers are not given to a symbolic library; they are not called wrong either."""
MAX_RESPONSE_CHARS = 200_000
"""Longer responses are not given to the library's own extractor."""
MAX_CACHED = 200_000

Pair = tuple[str, str | None]
"""A reference and the text that should answer it; None where only the reference is looked at."""


class VerifyMath(Filter):
    r"""Keep a trajectory whose final answer equals the reference answer, whatever the notation.

    The answer is taken from ``\boxed{}``, ``#### 18``, ``A: 18``, "the answer is 18" or JSON ``"answer": "18"``,
    in that order. A reference of null (a proof, an open question) cannot be verified and is an abstention.

    Score: 1 if the answer is right, 0 if it is wrong or absent.
    Rejects: no_answer, wrong_answer.
    Abstains: missing_input, unparsable_gold, timeout, out_of_memory, worker_died, undecidable (the library failed,
        or the answer is undefined, as 0/0 is), too_long_to_compare. None of these means that the answer is wrong.
    """

    timeout_s: PositiveFloat = 5.0
    """Seconds for one comparison of an answer with the reference, after which it is killed."""
    relative_tolerance: NonNegativeFloat = 5e-6
    """Largest accepted difference as a share of the reference, where either side is a decimal; 0 is exact.
    The default accepts decimals that are rounded to six significant digits."""
    units: Literal["ignore", "require"] = "ignore"
    """Whether ``12 minutes`` answers ``12``. Units that are given on both sides must agree in any case."""
    percent: Literal["either", "share"] = "either"
    """What ``50%`` stands for: ``share`` is 0.5 and nothing else, ``either`` is also 50."""
    extraction: Literal["stated", "library"] = "stated"
    """Where the answer comes from: ``stated`` as above; ``library`` hands the whole response to math-verify's own
    extractor and decides nothing by notation. That is slower, and an independent second reading for audits."""

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
        stated = self.extraction == "stated"
        answers = [extract_answer(response) if stated else response for response in rows["response"]]
        pairs = [(gold, answer) for gold, answer in zip(golds, answers, strict=True) if answer is not None]
        decided = self.compare(list(dict.fromkeys(pairs)))
        for gold, answer in zip(golds, answers, strict=True):
            comparison = "no_answer" if answer is None else decided[gold, answer]
            yield _verdict(comparison, answer if stated else None)

    def compare(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], Comparison]:
        """How each (reference, answer) pair compares: ``equal``, ``different``, or the reason why that is not known."""
        by_notation = {pair: self._compare_notation(*pair) for pair in pairs}
        by_symbols = self._compare_symbols([pair for pair, comparison in by_notation.items() if comparison is None])
        return {pair: comparison or by_symbols[pair] for pair, comparison in by_notation.items()}

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Why only an answer in the reference's own spelling can be verified; null where mathematics decides."""
        golds = problems["reference_answer"].cast(pl.String)
        reasons: dict[str | None, str | None] = {None: "missing_input"}
        pairs = {gold: (gold, None) for gold in golds.unique(maintain_order=True).drop_nulls()}
        long = {gold for gold in pairs if len(gold) > MAX_ANSWER_CHARS}
        plain = {gold for gold in pairs if gold not in long and as_numbers(squeeze_answer(gold)) is not None}
        parsed = self._compare_symbols([pair for gold, pair in pairs.items() if gold not in long | plain])
        reasons |= dict.fromkeys(long, "too_long_to_compare") | dict.fromkeys(plain, None)
        reasons |= {gold: None if reason == "parsed" else reason for (gold, _), reason in parsed.items()}
        return pl.Series("unverifiable", [reasons[gold] for gold in golds], pl.String)

    def _compare_notation(self, gold: str, answer: str) -> Comparison | None:
        """What the writing alone decides; None where mathematics must."""
        if self.extraction == "library":
            return "too_long_to_compare" if len(answer) > MAX_RESPONSE_CHARS or len(gold) > MAX_ANSWER_CHARS else None
        if len(answer) > MAX_ANSWER_CHARS or len(gold) > MAX_ANSWER_CHARS:
            return "equal" if gold.strip() == answer.strip() else "too_long_to_compare"
        gold, answer = squeeze_answer(gold), squeeze_answer(answer)
        if gold.casefold() == answer.casefold() and gold:
            return "equal"
        if is_text(gold) and is_text(answer):
            return "different"
        (gold, gold_unit), (answer, answer_unit) = split_unit(gold), split_unit(answer)
        clash = gold_unit != answer_unit and "%" not in (gold_unit, answer_unit)
        if clash and (self.units == "require" or (gold_unit and answer_unit)):
            return "different"
        expected, found = as_numbers(gold), as_numbers(answer)
        if expected is None or found is None:
            return None
        numbers, others = (n if b else sorted(set(n)) for b, n in (expected, found))
        if len(numbers) != len(others):
            return "different"
        if expected[0] != found[0]:
            return None
        readings = product(self._readings(numbers, gold_unit), self._readings(others, answer_unit))
        return "equal" if any(all(map(self._close, *reading)) for reading in readings) else "different"

    def _readings(self, numbers: list[Fraction], unit: str) -> list[list[Fraction]]:
        if unit != "%":
            return [numbers]
        shares = [number / 100 for number in numbers]
        return [shares] if self.percent == "share" else [numbers, shares]

    def _close(self, expected: Fraction, found: Fraction) -> bool:
        exact = expected.denominator == 1 and found.denominator == 1
        slack = Fraction(0) if exact else abs(expected) * Fraction(self.relative_tolerance)
        return abs(expected - found) <= slack

    def _compare_symbols(self, pairs: Sequence[Pair]) -> dict[Pair, Comparison]:
        """Ask the cache, then the workers; pairs that differ only in notation are asked once."""
        settings = (self.relative_tolerance, self.percent, self.extraction)
        stated = self.extraction == "stated"
        keys = {(g, t): (canonical_answer(g), canonical_answer(t) if t and stated else t, *settings) for g, t in pairs}
        known = {key: _CACHE[key] for key in keys.values() if key in _CACHE}
        waiting = {key: pair for pair, key in keys.items() if key not in known}
        if waiting:
            calls = [(*pair, *settings) for pair in waiting.values()]
            for key, answer in zip(waiting, _pool().run(calls, timeout_s=self.timeout_s), strict=True):
                known[key] = "undecidable" if answer.failure == "error" else answer.failure or answer.value
                if answer.failure is None and stated and len(_CACHE) < MAX_CACHED:
                    _CACHE[key] = answer.value
        return {pair: known[key] for pair, key in keys.items()}


def _verdict(comparison: Comparison, answer: str | None) -> Verdict:
    if comparison == "equal":
        return Verdict("keep", None, 1.0, answer)
    if comparison == "no_answer":
        return reject("no_answer", 0.0)
    return reject("wrong_answer", 0.0, answer) if comparison == "different" else abstain(comparison, None, answer)


_CACHE: dict[tuple[object, ...], Comparison] = {}


@cache
def _pool() -> WorkerPool:
    return WorkerPool("filters._math:compare")
