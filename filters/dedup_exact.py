"""Exact deduplication: a trajectory sampled twice is learned once."""

import polars as pl

from filters import Filter, verdict_where
from filters._text import text


class DedupExact(Filter):
    """Keep the first of each group of equal trajectories of one problem, white space aside.

    Equal means the same reasoning and the same response. Across problems, equal texts are not duplicates here:
    the problem is part of what a student reads.

    Score: index of the trajectory among its equals (0 is the first).
    Rejects: duplicate.
    Abstains: missing_input.
    """

    reads = ("problem_id", "reasoning", "response")
    nullable = ("reasoning",)
    scope = "problem"
    examples = (
        ({"problem_id": "a", "reasoning": "6 times 7", "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "reasoning": "6  times 7\n", "response": "It is\n42. "}, "duplicate"),
        ({"problem_id": "a", "reasoning": "40 plus 2", "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "reasoning": None, "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "reasoning": None, "response": "It is 42."}, "duplicate"),
        ({"problem_id": "b", "reasoning": "6 times 7", "response": "It is 42."}, "keep"),
        ({"problem_id": "b", "reasoning": "6 times 7", "response": None}, "missing_input"),
    )

    def judge(self) -> pl.Expr:
        """Count the equals that come before each trajectory."""
        key = ["problem_id", *(_squeezed(c) for c in ("reasoning", "response"))]
        copies_before = pl.int_range(pl.len()).over(key)
        place = pl.int_range(pl.len()).over("problem_id")
        evidence = pl.format("same text as trajectory {} of this problem, counted from 0", place.min().over(key))
        return verdict_where(
            score=copies_before,
            rejects={"duplicate": copies_before > 0},
            evidence=pl.when(copies_before > 0).then(evidence),
        )


def _squeezed(column: str) -> pl.Expr:
    return text(column).str.replace_all(r"\s+", " ").str.strip_chars()
