"""The numbers of a dataset: what was sampled, what fell where, how long the kept rows are.

Counts only; does not judge, and has no intervals (`distill.metrics` has those).
"""

from typing import Any, TypedDict

import numpy as np
import polars as pl

import filters
from distill.dataset.findings import Contamination, Copies, Difficulty, by_difficulty, contamination, copies

MOST_REASONS = 8
"""Reasons listed per filter, the most frequent first."""


class Reason(TypedDict):
    """Why a filter stopped rows."""

    reason: str
    outcome: str
    """reject or abstain"""
    rows: int


class FunnelStep(TypedDict):
    """What one filter did with the rows that reached it: reached = kept + rejected + abstained."""

    filter: str
    reached: int
    kept: int
    rejected: int
    abstained: int
    reasons: list[Reason]


class Bin(TypedDict):
    """Rows with low <= tokens < high."""

    low: int
    high: int
    rows: int


class Tokens(TypedDict):
    """Lengths of the kept completions, in the teacher's tokens."""

    total: int
    mean: float
    median: float
    p95: float
    max: int
    histogram: list[Bin]


class Group(TypedDict):
    """Trajectories of one source or teacher."""

    name: str | None
    sampled: int
    kept: int


class Stats(TypedDict):
    """What `stats.json` holds. Shares are of 1."""

    rows: int
    """Kept trajectories: the rows of `default`."""
    problems: int
    """Problems with at least one of them."""
    with_reasoning: int
    """Rows whose reasoning is apart from the response, in think tags."""
    sampled: int
    sampled_problems: int
    kept_share: float
    tokens_sampled: int | None
    """Completion tokens of all trajectories; null where lengths are unknown."""
    tokens: Tokens | None
    """Null where the lengths of kept rows are unknown."""
    funnel: list[FunnelStep]
    difficulty: list[Difficulty] | None
    """Null where no verifier says what was solved."""
    contamination: Contamination | None
    """Null where nobody looked for benchmarks."""
    copies: list[Copies]
    sources: list[Group]
    teachers: list[Group]
    methods: list[Group]
    """Of samples that mend others (refine) or were given the answer (hint); null names the plain ones."""
    finish_reasons: dict[str, int]
    columns: dict[str, list[str]]
    """Of each config that was written."""


def statistics(judged: pl.DataFrame, kept: pl.DataFrame, verifier: str | None) -> Stats:
    """Count judged rows and those that were kept; `verifier` names the filter that tells right from wrong."""
    known = judged["completion_tokens"].drop_nulls()
    finish = judged.group_by("finish_reason").len().sort("len", "finish_reason", descending=[True, False])
    lengths = kept["completion_tokens"].drop_nulls().to_numpy()
    return {
        "rows": kept.height,
        "problems": kept["problem_id"].n_unique(),
        "with_reasoning": kept.height - kept["reasoning"].null_count(),
        "sampled": judged.height,
        "sampled_problems": judged["problem_id"].n_unique(),
        "kept_share": kept.height / judged.height if judged.height else 0.0,
        "tokens_sampled": int(known.sum()) if known.len() else None,
        "tokens": token_lengths(lengths) if lengths.size else None,
        "funnel": funnel_steps(judged),
        "difficulty": by_difficulty(judged, kept, verifier) if verifier else None,
        "contamination": contamination(judged),
        "copies": copies(judged),
        "sources": _groups(judged, kept, "source"),
        "teachers": _groups(judged, kept, "teacher"),
        "methods": _groups(judged, kept, "method") if judged["method"].is_not_null().any() else [],
        "finish_reasons": {reason or "unknown": count for reason, count in finish.iter_rows()},
        "columns": {},
    }


def funnel_steps(judged: pl.DataFrame) -> list[FunnelStep]:
    """`filters.funnel` with one entry a filter, in chain order."""
    table = filters.funnel(judged)
    if table.is_empty():
        return []
    return [_step(name, tally) for (name,), tally in table.group_by("filter", maintain_order=True)]


def _step(name: Any, tally: pl.DataFrame) -> FunnelStep:
    rows = dict.fromkeys(("keep", "reject", "abstain"), 0)
    reasons: list[Reason] = []
    for entry in tally.sort("rows", descending=True, maintain_order=True).iter_rows(named=True):
        rows[entry["outcome"]] += entry["rows"]
        if entry["outcome"] != "keep":
            reasons.append({"reason": str(entry["reason"]), "outcome": entry["outcome"], "rows": entry["rows"]})
    return {
        "filter": str(name),
        "reached": sum(rows.values()),
        "kept": rows["keep"],
        "rejected": rows["reject"],
        "abstained": rows["abstain"],
        "reasons": reasons[:MOST_REASONS],
    }


def token_lengths(lengths: np.ndarray) -> Tokens:
    """Summary and histogram of at least one length; at most 13 bins of a round width.

    Where the longest hundredth is far longer than the rest, the last bin has all of it.
    """
    shortest, longest = int(lengths.min()), int(lengths.max())
    common = int(np.quantile(lengths, 0.99, method="higher"))
    end = longest if longest <= 2 * common else common
    width = _round_up((end - shortest + 1) / (12 if end == longest else 11))
    edges = np.arange(shortest // width * width, end + width + 1, width)
    if edges[-1] <= longest:
        edges = np.append(edges, longest + 1)
    counts, _ = np.histogram(lengths, bins=edges)
    bins: list[Bin] = [
        {"low": int(low), "high": int(high), "rows": int(rows)}
        for low, high, rows in zip(edges, edges[1:], counts, strict=False)
        if low <= longest
    ]
    return {
        "total": int(lengths.sum()),
        "mean": float(lengths.mean()),
        "median": float(np.median(lengths)),
        "p95": float(np.quantile(lengths, 0.95)),
        "max": longest,
        "histogram": bins,
    }


def _round_up(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    unit = 1
    while True:
        for factor in (1, 2, 5):
            if factor * unit >= width:
                return factor * unit
        unit *= 10


def _groups(judged: pl.DataFrame, kept: pl.DataFrame, column: str) -> list[Group]:
    counts = kept.group_by(column).len("kept")
    rows = judged.group_by(column).len("sampled").join(counts, on=column, how="left", nulls_equal=True)
    rows = rows.with_columns(pl.col("kept").fill_null(0)).sort("sampled", column, descending=[True, False])
    return [{"name": name, "sampled": sampled, "kept": count} for name, sampled, count in rows.iter_rows()]
