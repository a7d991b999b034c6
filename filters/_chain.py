"""Filters in order. The first one that does not keep a row decides."""

from collections.abc import Sequence

import polars as pl

from filters._filter import Filter, FilterError, spread


class Chain:
    """An ordered list of filters; each one sees only the survivors of those before it.

    The order is part of the meaning: a duplicate of a rejected row is not a duplicate.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = tuple(filters)
        names = [f.name() for f in self.filters]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise FilterError(
                f"the chain holds {twice[0]!r} more than once: drop one, a filter has one verdict column."
            )

    def judge(self, trajectories: pl.DataFrame, *, exhaustive: bool = False) -> pl.DataFrame:
        """Add one verdict column per filter. Rows, order and other columns are unchanged.

        A verdict is null where the row had fallen before it reached that filter.

        Args:
            trajectories: Any frame that has the columns that the filters read.
            exhaustive: Judge every row by every filter, for `overlap` and what-if tables. Costs as much as each
                filter alone on all rows, and a filter that compares rows then compares rejected ones too.
        """
        self._check(trajectories)
        reached = pl.repeat(True, len(trajectories), dtype=pl.Boolean, eager=True)
        columns = []
        for f in self.filters:
            verdicts = spread(_judge(f, trajectories.select(f.reads).filter(reached)), reached)
            columns.append(verdicts.alias(f.column()))
            if not exhaustive:
                reached = _keeps(verdicts)
        return trajectories.with_columns(columns)

    def _check(self, trajectories: pl.DataFrame) -> None:
        for f in self.filters:
            if missing := [c for c in f.reads if c not in trajectories.columns]:
                raise FilterError(
                    f"filter {f.name()!r} reads the column {missing[0]!r}, which the frame does not have. "
                    f"Columns present: {', '.join(trajectories.columns) or 'none'}. "
                    f"Rename or add the column, or take {f.name()!r} out of the chain."
                )
        if judged := verdict_columns(trajectories):
            raise FilterError(
                f"the frame already has the verdict column {judged[0]!r}; "
                "drop the verdict columns to judge it anew, or go on with kept(frame)."
            )


def _judge(f: Filter, rows: pl.DataFrame) -> pl.Series:
    try:
        return rows.select(f.verdict()).to_series()
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{name}: {dtype}" for name, dtype in rows.schema.items())
        raise FilterError(f"filter {f.name()!r} could not judge the columns ({types}): {error}") from error


def _keeps(verdicts: pl.Series) -> pl.Series:
    return verdicts.struct.field("outcome").eq_missing("keep")


def verdict_columns(judged: pl.DataFrame) -> list[str]:
    """Names of the verdict columns, in chain order."""
    return [c for c in judged.columns if c.startswith("verdict_")]


def kept(judged: pl.DataFrame) -> pl.DataFrame:
    """Rows that every filter kept, without the verdict columns."""
    return _kept_by(judged, verdict_columns(judged))


def through(judged: pl.DataFrame, filter_name: str) -> pl.DataFrame:
    """Rows that survived up to and including the named filter, without the verdict columns."""
    columns = verdict_columns(judged)
    if f"verdict_{filter_name}" not in columns:
        judges = ", ".join(c.removeprefix("verdict_") for c in columns) or "none"
        raise FilterError(f"no verdicts of {filter_name!r} in the frame. Filters that judged it: {judges}.")
    return _kept_by(judged, columns[: columns.index(f"verdict_{filter_name}") + 1])


def _kept_by(judged: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    keep = [pl.col(c).struct.field("outcome").eq_missing(pl.lit("keep")) for c in columns]
    return judged.filter(pl.all_horizontal(pl.lit(True), *keep)).drop(verdict_columns(judged))


def funnel(judged: pl.DataFrame) -> pl.DataFrame:
    """Where trajectories fell: one row per filter, outcome and reason, in chain order.

    Columns: filter, outcome, reason, rows, share (of the rows that reached the filter), tokens (sum of
    ``completion_tokens``, where the frame has them) and mean_score. Each filter begins with what it kept.
    """
    return pl.concat([_tally(judged, column) for column in verdict_columns(judged)] or [pl.DataFrame()])


def _tally(judged: pl.DataFrame, column: str) -> pl.DataFrame:
    verdict = pl.col(column).struct
    sums = {"rows": pl.len().cast(pl.Int64)}
    if "completion_tokens" in judged.columns:
        sums["tokens"] = pl.col("completion_tokens").sum().cast(pl.Int64)
    tally = (
        judged.filter(pl.col(column).is_not_null())
        .group_by(verdict.field("outcome"), verdict.field("reason"))
        .agg(**sums, mean_score=verdict.field("score").mean())
    )
    if not (tally["outcome"] == "keep").any():
        nothing = pl.DataFrame({"outcome": "keep"} | dict.fromkeys(sums, 0))
        tally = pl.concat([tally, nothing.cast({"outcome": tally.schema["outcome"]})], how="diagonal")
    share = (pl.col("rows") / pl.col("rows").sum()).fill_nan(0.0)
    order = [pl.col("outcome").to_physical(), pl.col("rows").neg(), pl.col("reason")]
    name = pl.lit(column.removeprefix("verdict_")).alias("filter")
    columns = ["filter", "outcome", "reason", "rows", "share", *list(sums)[1:], "mean_score"]
    return tally.sort(order).with_columns(name, share=share).select(columns)


def overlap(judged: pl.DataFrame) -> pl.DataFrame:
    """What each pair of filters stopped in common, from a frame judged with ``exhaustive=True``.

    Columns: filter, other, rows (stopped by both), alone (rows that only ``filter`` stopped, the same in each
    row of that filter). A pair of a filter with itself counts all rows that it stopped.
    """
    columns = verdict_columns(judged)
    stops = judged.select((pl.col(c).struct.field("outcome") != "keep").fill_null(False).alias(c) for c in columns)
    stopped_by = stops.select(pl.sum_horizontal(pl.lit(0), *columns)).to_series()
    rows = [
        {
            "filter": a.removeprefix("verdict_"),
            "other": b.removeprefix("verdict_"),
            "rows": int((stops[a] & stops[b]).sum()),
            "alone": int((stops[a] & (stopped_by == 1)).sum()),
        }
        for a in columns
        for b in columns
    ]
    return pl.DataFrame(rows, schema={"filter": pl.String, "other": pl.String, "rows": pl.Int64, "alone": pl.Int64})
