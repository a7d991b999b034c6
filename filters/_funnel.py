"""Reading a judged frame: who was kept, where the others fell, and what filters stop in common."""

import polars as pl

from filters._verdict import FilterError


def verdict_columns(judged: pl.DataFrame) -> list[str]:
    """Names of the verdict columns that decide, in chain order; not those of the members of ``any_of`` and the like."""
    return [c for c in judged.columns if c.startswith("verdict_") and "." not in c]


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
    return judged.filter(pl.all_horizontal(pl.lit(True), *keep)).select(pl.exclude("^verdict_.*$"))


def funnel(judged: pl.DataFrame, *, members: bool = False) -> pl.DataFrame:
    """Where trajectories fell: one row per filter, outcome and reason, in chain order.

    Columns: filter, outcome, reason, rows, share (of the rows that reached the filter), tokens (sum of
    ``completion_tokens``, where the frame has them) and mean_score. Each filter begins with what it kept. With
    ``members``, those of ``any_of`` and ``by_domain`` follow it as filters named ``any_of.verify_math``.
    """
    columns = [c for c in judged.columns if c.startswith("verdict_")] if members else verdict_columns(judged)
    return pl.concat([_tally(judged, column) for column in columns] or [pl.DataFrame()])


def _tally(judged: pl.DataFrame, column: str) -> pl.DataFrame:
    verdict = pl.col(column).struct
    sums = {"rows": pl.len().cast(pl.Int64)}
    judged = judged.select(column, "^completion_tokens$")
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
