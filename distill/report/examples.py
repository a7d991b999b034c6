"""Whole answers to read: some that were right, some that were wrong, and what could not be decided."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from distill.store import KEY
from filters._draw import draws

EXAMPLES = 20
"""Of each model and outcome, every one of another problem."""
OUTCOMES = {"solved": pl.col("correct"), "failed": ~pl.col("correct"), "undecided": pl.col("correct").is_null()}
TEXTS = ("problem", "reference_answer", "reasoning", "response", "answer", "finish_reason", "completion_tokens")


class Examples:
    """Samples of one model on one set, drawn by a hash of their keys, with texts, answer and verdict.

    Takes judged samples a batch at a time and keeps no more than it shows: which these are does not depend on batches.
    """

    def __init__(self, asked: str, model: str, verdict: str) -> None:
        self._named = {"set": asked, "model": model}
        self._shown = (*KEY, *TEXTS, verdict)
        self._drawn: dict[str, pl.DataFrame] = {}

    def take(self, graded: pl.DataFrame) -> None:
        """Look at samples as `scores.graded` returns them."""
        batch = graded.with_columns(draw=draws(0, graded.select(KEY)))
        for outcome, holds in OUTCOMES.items():
            of_outcome = batch.filter(holds).select(*self._shown, "draw")
            rows = pl.concat([self._drawn.get(outcome, of_outcome.clear()), of_outcome]).sort("draw")
            self._drawn[outcome] = rows.unique("problem_id", keep="first", maintain_order=True).head(EXAMPLES)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for outcome, rows in self._drawn.items():
            for row in rows.select(self._shown).iter_rows(named=True):
                yield {**self._named, "outcome": outcome, **row}
