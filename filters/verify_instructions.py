"""Instructions that a program can check: no comma, at least 300 words, JSON, a postscript (IFEval).

No small and well-kept library has these checks: those on PyPI bring nltk with models that are downloaded at run time.
They are in `filters._instructions`, one function a constraint.
"""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from filters import Filter, Verdict, abstain, reject
from filters._instructions import CHECKS, Found


class VerifyInstructions(Filter):
    """Keep responses that obey the constraints of their problem. The reasoning is not looked at.

    ``constraints`` is JSON: a list of ``{"id": "punctuation:no_comma", "kwargs": {}}``, with the ids and parameters of
    IFEval (Zhou et al. 2023).

    Score: share (0..1) of the constraints that are obeyed.
    Rejects: constraint_broken.
    Abstains: missing_input, unusable_constraints (no list of constraints, or parameters that do not fit one),
        unknown_constraint, undecidable (nothing is broken, but a language could not be told).
    """

    mode: Literal["strict", "loose"] = "strict"
    """``loose`` also accepts a response that obeys without its first line, its last line, or its asterisks: an opening
    phrase or a closing remark is then no fault (IFEval's loose accuracy)."""
    min_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Least share of the constraints that must be obeyed."""

    reads = ("response", "constraints")
    libraries = ("langdetect",)
    examples = tuple(
        ({"response": response, "constraints": constraints}, expected)
        for response, constraints, expected in (
            ("no commas here", '[{"id": "punctuation:no_comma", "kwargs": {}}]', "keep"),
            ("one, two", '[{"id": "punctuation:no_comma", "kwargs": {}}]', "constraint_broken"),
            ("one, two", '[{"id": "punctuation:no_dots"}]', "unknown_constraint"),
            ("one, two", '[{"id": "startend:end_checker"}]', "unusable_constraints"),
            ("one, two", "no commas please", "unusable_constraints"),
            ("1 2 3", '[{"id": "language:response_language", "kwargs": {"language": "en"}}]', "undecidable"),
            ("hello", None, "missing_input"),
            (None, "[]", "missing_input"),
        )
    )

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Parse each distinct list of constraints once."""
        wanted = {text: parse(text) for text in rows["constraints"].unique()}
        for response, text in rows.select("response", "constraints").iter_rows():
            constraints = wanted[text]
            yield abstain(constraints) if isinstance(constraints, str) else self._judge(response, constraints)

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Problems whose constraints cannot be checked."""
        if "constraints" not in problems.columns:
            return pl.Series(["missing_input"] * problems.height, dtype=pl.String)
        reasons = [_reason(text) for text in problems["constraints"].cast(pl.String)]
        return pl.Series(reasons, dtype=pl.String)

    def _judge(self, response: str, constraints: list[tuple[str, dict[str, Any]]]) -> Verdict:
        found = [(name, self._check(response, name, parameters)) for name, parameters in constraints]
        share = sum(obeys is True for _, (obeys, _) in found) / len(found)
        broken = [f"{name}: {what}" for name, (obeys, what) in found if obeys is False]
        possible = sum(obeys is not False for _, (obeys, _) in found) / len(found)
        if possible < self.min_share:
            return reject("constraint_broken", share, "; ".join(broken))
        if share < self.min_share:
            return abstain("undecidable", share, "; ".join(f"{n}: {w}" for n, (obeys, w) in found if obeys is None))
        return Verdict("keep", None, share, "; ".join(broken) or None)

    def _check(self, response: str, name: str, parameters: dict[str, Any]) -> Found:
        if not response.strip():
            return False, "an empty response"
        first = CHECKS[name](response, **parameters)
        if self.mode == "strict" or first[0]:
            return first
        tries = (CHECKS[name](text, **parameters) for text in _loosened(response))
        return next((found for found in tries if found[0]), first)


def parse(text: str) -> list[tuple[str, dict[str, Any]]] | str:
    """The constraints in a JSON list as (id, parameters), or the reason why they cannot be checked."""
    try:
        listed = json.loads(text)
        constraints = [(entry["id"], entry.get("kwargs") or {}) for entry in listed]
        # Tables give every constraint the parameters of all others, as nulls.
        constraints = [(name, {k: v for k, v in kwargs.items() if v is not None}) for name, kwargs in constraints]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return "unusable_constraints"
    if not all(name in CHECKS for name, _ in constraints):
        return "unknown_constraint"
    return (
        constraints if constraints and all(_fits(*constraint) for constraint in constraints) else "unusable_constraints"
    )


def _fits(name: str, parameters: dict[str, Any]) -> bool:
    """Whether the parameters are those of the constraint: a check of the empty text tells."""
    try:
        CHECKS[name]("", **parameters)
    except ValueError:
        return False
    return True


def _reason(text: str | None) -> str | None:
    parsed = "missing_input" if text is None else parse(text)
    return parsed if isinstance(parsed, str) else None


def _loosened(response: str) -> list[str]:
    lines = response.split("\n")
    cut = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [text for text in [*cut, *(text.replace("*", "") for text in cut)] if text.strip()]
