"""What the verdicts found out about the data as a whole: hard problems, copies, pieces of benchmarks.

Reads verdicts and their evidence, as the filters of this package write it. Judges nothing.
"""

from typing import TypedDict

import polars as pl

import filters
from distill.look.rates import rates, solved

MOST_SPANS = 20
"""Benchmark items that are listed, those of the most rows first."""
BENCHMARK = r"^(?P<item>.+?:\d+): (?P<span>.*)$"
ORIGINAL = r"(?:same text as|similar to) (.+)$"


class Difficulty(TypedDict):
    """Problems by how often the teacher solved them."""

    pass_rate: str
    """The bin, in words: `0`, `up to 0.25`, `up to 0.5`, `up to 0.75`, `below 1`, `1`, or `unknown`."""
    problems: int
    sampled: int
    kept: int


class Span(TypedDict):
    """A benchmark item that was found in the data."""

    item: str
    """The benchmark's name and the row in it."""
    rows: int
    """Trajectories rejected for it."""
    span: str
    """The words of the item that were found, in one of them."""


class Contamination(TypedDict):
    """What decontaminate found."""

    searched: int
    """Trajectories that reached it."""
    rejected: int
    items: int
    """Benchmark items found."""
    spans: list[Span]


class Copies(TypedDict):
    """What a dedup filter found. A cluster is a trajectory that was kept and those rejected as its copies."""

    filter: str
    clusters: int
    rejected: int
    largest: int
    """Members of the largest cluster, the kept one included."""


def by_difficulty(judged: pl.DataFrame, kept: pl.DataFrame, verifier: str) -> list[Difficulty]:
    """Acceptance by the share of a problem's samples that passed the chain up to the verifier."""
    columns = filters.verdict_columns(judged)
    rows = judged.select(
        "problem_id", "sample", "source", solved=solved(columns[: columns.index(f"verdict_{verifier}") + 1])
    )
    steps = [("0", 0.0), ("up to 0.25", 0.25), ("up to 0.5", 0.5), ("up to 0.75", 0.75)]
    name = pl.when(pl.col("rate") == 1).then(pl.lit("1")).otherwise(pl.lit("below 1"))
    for step, highest in reversed(steps):
        name = pl.when(pl.col("rate") <= highest).then(pl.lit(step)).otherwise(name)
    named = rates(rows).select("problem_id", pass_rate=name)
    counted = (
        rows.group_by("problem_id")
        .agg(sampled=pl.len())
        .join(kept.group_by("problem_id").agg(kept=pl.len()), on="problem_id", how="left")
        .join(named, on="problem_id", how="left")
        .group_by(pl.col("pass_rate").fill_null("unknown"))
        .agg(problems=pl.len(), sampled=pl.col("sampled").sum(), kept=pl.col("kept").sum())
    )
    found: dict[str, Difficulty] = {
        rate: {"pass_rate": rate, "problems": problems, "sampled": sampled, "kept": rows}
        for rate, problems, sampled, rows in counted.iter_rows()
    }
    return [found[rate] for rate in (*(step for step, _ in steps), "below 1", "1", "unknown") if rate in found]


def contamination(judged: pl.DataFrame) -> Contamination | None:
    """None where nobody looked for benchmarks."""
    if "verdict_decontaminate" not in judged.columns:
        return None
    verdict = pl.col("verdict_decontaminate").struct
    reached = judged.filter(pl.col("verdict_decontaminate").is_not_null())
    evidence = reached.filter(verdict.field("outcome").cast(pl.String) == "reject").select(verdict.field("evidence"))
    parts = evidence.select(pl.col("evidence").str.extract_groups(BENCHMARK)).unnest("evidence")
    items = parts.group_by("item").agg(rows=pl.len(), span=pl.col("span").first())
    spans = items.sort("rows", "item", descending=[True, False]).head(MOST_SPANS)
    return {
        "searched": reached.height,
        "rejected": evidence.height,
        "items": items.height,
        "spans": [Span(item=item, rows=rows, span=span) for item, rows, span in spans.iter_rows()],
    }


def copies(judged: pl.DataFrame) -> list[Copies]:
    """Of each dedup filter in the chain."""
    found: list[Copies] = []
    for column in judged.columns:
        if column not in ("verdict_dedup_exact", "verdict_dedup_near"):
            continue
        verdict = judged[column].struct
        rejected = judged.filter(verdict.field("outcome").cast(pl.String) == "reject")[column].struct.field("evidence")
        sizes = rejected.str.extract(ORIGINAL).value_counts()["count"]
        most = int(sizes.max() or 0)  # type: ignore[arg-type]
        found.append(
            {
                "filter": column.removeprefix("verdict_"),
                "clusters": len(sizes),
                "rejected": len(rejected),
                "largest": most + 1 if most else 0,
            }
        )
    return found
