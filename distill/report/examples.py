"""Whole answers to read: some that were right, some that were wrong, and what could not be decided."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from distill.store import KEY
from filters._draw import draws

EXAMPLES = 20
"""Of each model and outcome, every one of another problem."""
OUTCOMES = {"solved": pl.col("correct"), "failed": ~pl.col("correct"), "undecided": pl.col("correct").is_null()}


def examples(graded: pl.DataFrame, asked: str, model: str, verdict: str) -> Iterator[dict[str, Any]]:
    """Samples drawn by a hash of their keys, with texts, answer and verdict."""
    shown = ("problem", "reference_answer", "reasoning", "response", "answer", "finish_reason", "completion_tokens")
    drawn = graded.with_columns(draw=draws(0, graded.select(KEY)))
    for outcome, holds in OUTCOMES.items():
        rows = drawn.filter(holds).sort("draw").unique("problem_id", keep="first", maintain_order=True).head(EXAMPLES)
        for row in rows.select(*KEY, *shown, verdict).iter_rows(named=True):
            yield {"set": asked, "model": model, "outcome": outcome, **row}
