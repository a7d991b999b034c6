"""What a filter says of a trajectory: keep, reject or abstain, with a reason, a score and evidence."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

Outcome = Literal["keep", "reject", "abstain"]

VERDICT = pl.Struct(
    {
        "outcome": pl.Enum(["keep", "reject", "abstain"]),
        "reason": pl.String,
        "score": pl.Float64,
        "evidence": pl.String,
    }
)
"""Type of a verdict column. A null verdict means that the row never reached the filter."""

EVIDENCE_CHARS = 300
"""Evidence is for reading: longer texts are cut here, so that verdicts stay small beside trajectories."""

MISSING_INPUT, NOT_APPLICABLE = "missing_input", "not_applicable"
"""Reasons to abstain that say nothing of the trajectory: what the filter looks at is not there, or not its concern."""


class FilterError(ValueError):
    """A filter is unknown, was given parameters or columns that it cannot use, or cannot judge on this machine."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter says of one trajectory."""

    outcome: Outcome
    reason: str | None = None
    """Stable snake_case code, counted in the funnel. None exactly when the outcome is keep."""
    score: float | None = None
    """The number that the threshold was applied to, in the unit that the filter's docstring names."""
    evidence: str | None = None
    """What a person wants to see: the extracted answer, the repeated phrase, the foreign segment."""


KEEP = Verdict("keep")


def reject(reason: str, score: float | None = None, evidence: str | None = None) -> Verdict:
    """The trajectory is not worth learning from, because of ``reason``."""
    return Verdict("reject", reason, score, evidence)


def abstain(reason: str, score: float | None = None, evidence: str | None = None) -> Verdict:
    """The filter could not decide: the row does not pass, is never counted as wrong, and can be judged again."""
    return Verdict("abstain", reason, score, evidence)


def verdict_where(
    *,
    score: pl.Expr,
    rejects: Mapping[str, pl.Expr],
    abstains: Mapping[str, pl.Expr] | None = None,
    evidence: pl.Expr | None = None,
) -> pl.Expr:
    """Abstain from or reject a row for the first reason whose condition holds, else keep it.

    Polars computes an expression anew wherever it occurs: have costly conditions in columns of their own first.

    Args:
        score: The number the conditions look at.
        rejects: Reason code to boolean condition, in order of precedence. A condition that is null where no
            other one holds makes the row ``undecidable``: what could not be computed is never kept.
        abstains: The same for what cannot be decided; these come before the rejections, and null is false.
        evidence: What a person wants to see, as a string.
    """
    none = pl.lit(None, pl.String)
    unsure = pl.coalesce(*(pl.when(condition).then(pl.lit(code)) for code, condition in (abstains or {}).items()), none)
    wrong = pl.coalesce(*(pl.when(condition).then(pl.lit(code)) for code, condition in rejects.items()), none)
    unknown = wrong.is_null() & pl.any_horizontal(condition.is_null() for condition in rejects.values())
    unsure = unsure.fill_null(pl.when(unknown).then(pl.lit("undecidable")))
    outcome = pl.when(unsure.is_not_null()).then(pl.lit("abstain")).when(wrong.is_null()).then(pl.lit("keep"))
    return pl.struct(
        outcome=outcome.otherwise(pl.lit("reject")),
        reason=unsure.fill_null(wrong),
        score=score.cast(pl.Float64),
        evidence=none if evidence is None else evidence.str.head(EVIDENCE_CHARS),
    ).cast(VERDICT)


def verdict_series(verdicts: Iterable[Verdict]) -> pl.Series:
    """Verdicts of Python as a verdict column."""
    rows = [(v.outcome, v.reason, v.score, v.evidence and v.evidence[:EVIDENCE_CHARS]) for v in verdicts]
    schema = {field.name: field.dtype for field in VERDICT.fields}
    return pl.DataFrame(rows, schema=schema, orient="row").to_struct().cast(VERDICT)


def same_verdict(verdict: Verdict, rows: int) -> pl.Series:
    """One verdict for each of ``rows`` rows."""
    return verdict_series([verdict]).new_from_index(0, rows)


def is_keep(verdicts: pl.Series) -> pl.Series:
    """Which rows a verdict column keeps; a null verdict keeps nothing."""
    return verdicts.struct.field("outcome").eq_missing("keep")


def spread(values: pl.Series, where: pl.Series) -> pl.Series:
    """Put ``values`` on the rows where ``where`` is true, in order, and null on all others."""
    if len(values) == len(where):
        return values
    index = pl.select(pl.when(where).then(_place(where))).to_series()
    return values.gather(index) if len(values) else values.extend_constant(None, len(where))


def merge(where: pl.Series, yes: pl.Series, no: pl.Series) -> pl.Series:
    """``yes`` on the rows where ``where`` is true, ``no`` on the others; each holds only its own rows, in order."""
    index = pl.select(pl.when(where).then(_place(where)).otherwise(_place(~where) + len(yes))).to_series()
    return pl.concat([yes, no.cast(yes.dtype)]).gather(index)


def _place(where: pl.Series) -> pl.Series:
    return where.cast(pl.Int64).cum_sum() - 1
