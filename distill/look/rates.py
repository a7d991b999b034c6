"""How often a teacher solved its problems: a rate for each problem, and its mean by source with an interval."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from distill import metrics
from distill.lineage import is_follow_up

MOST_SOURCES = 12
"""Sources named, the largest ones; what remains is one more."""


def solved(columns: Sequence[str]) -> pl.Expr:
    """Whether a trajectory passed the filters of these verdict columns; null where one of them could not decide."""
    outcomes = [pl.col(column).struct.field("outcome") for column in columns]
    unsure = [outcome.eq_missing(pl.lit("abstain")) for outcome in outcomes]
    keeps = [outcome.eq_missing(pl.lit("keep")) for outcome in outcomes]
    return pl.when(~pl.any_horizontal(pl.lit(False), *unsure)).then(pl.all_horizontal(pl.lit(True), *keeps))


def rates(rows: pl.DataFrame) -> pl.DataFrame:
    """The problems of trajectories (problem_id, sample, source, solved): source, samples, solved and rate of each.

    A sample whose `solved` is null could not be decided and counts neither way; a problem of only such has no rate.
    Mended and hinted samples do not count: what a teacher solves with help is another question.
    """
    plain = rows.filter(~is_follow_up(pl.col("sample")))
    problems = plain.group_by("problem_id", maintain_order=True).agg(
        pl.col("source").first().fill_null("unknown"), samples=pl.col("solved").count(), solved=pl.col("solved").sum()
    )
    return problems.filter(pl.col("samples") > 0).with_columns(rate=pl.col("solved") / pl.col("samples"))


def by_source(rated: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Of all problems, then of each source where there are several: name, problems, samples, value, low, high.

    The value is the mean rate of a problem, between the ends of its 95 % interval over problems.
    """
    largest = rated["source"].value_counts(sort=True)["source"].head(MOST_SOURCES)
    named = rated.with_columns(source=pl.when(pl.col("source").is_in(largest.implode())).then("source"))
    groups = [("all problems", rated), *(((name or "other sources"), part) for (name,), part in _parts(named))]
    for name, part in groups[: 1 if len(groups) == 2 else None]:
        if part.height:
            samples = int(part["samples"].sum())
            yield {"name": name, "problems": part.height, "samples": samples} | _interval(part["rate"])


def _parts(named: pl.DataFrame) -> list[tuple[tuple[Any, ...], pl.DataFrame]]:
    parts = named.partition_by("source", as_dict=True, maintain_order=True)
    return sorted(parts.items(), key=lambda part: (part[0][0] is None, -part[1].height))


def _interval(rates: pl.Series) -> dict[str, float]:
    return metrics.mean_score(rates)._asdict()
