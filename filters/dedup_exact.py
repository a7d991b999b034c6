"""Exact deduplication: a trajectory sampled twice is learned once. Texts are compared by their digests."""

from hashlib import blake2b

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

    reads = ("problem_id", "sample", "reasoning", "response")
    nullable = ("sample", "reasoning")
    scope = "problem"
    examples = (
        ({"problem_id": "a", "sample": 0, "reasoning": "6 times 7", "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "sample": 1, "reasoning": "6  times 7\n", "response": "It is\n42. "}, "duplicate"),
        ({"problem_id": "a", "sample": 2, "reasoning": "40 plus 2", "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "sample": 3, "reasoning": None, "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "sample": None, "reasoning": None, "response": "It is 42."}, "duplicate"),
        ({"problem_id": "b", "sample": 0, "reasoning": "6 times 7", "response": "It is 42."}, "keep"),
        ({"problem_id": "b", "sample": 1, "reasoning": "6 times 7", "response": None}, "missing_input"),
    )

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What names the trajectory, and the digest of its texts (16 bytes)."""
        # The length tells where the reasoning ends, and no reasoning from an empty one.
        reasoning, response = _squeezed("reasoning"), _squeezed("response")
        length = reasoning.str.len_bytes().cast(pl.Int64).fill_null(-1)
        texts = rows.select(pl.format("{} {}{}", length, reasoning.fill_null(""), response)).to_series()
        digests = [blake2b(both.encode(), digest_size=16).digest() for both in texts]
        return rows.select("problem_id", pl.col("sample").cast(pl.Int64), digest=pl.Series(digests, dtype=pl.Binary))

    def judge(self) -> pl.Expr:
        """Count the equals that come before each trajectory."""
        key = ["problem_id", "digest"]
        copies_before = pl.int_range(pl.len()).over(key)
        name = pl.concat_str("problem_id", pl.format("#{}", "sample"), ignore_nulls=True)
        return verdict_where(
            score=copies_before,
            rejects={"duplicate": copies_before > 0},
            evidence=pl.when(copies_before > 0).then(pl.format("same text as {}", name.first().over(key))),
        )


def _squeezed(column: str) -> pl.Expr:
    """The text with every run of white space as one blank, and none around it."""
    # Single blanks, which are most of the white space, need no replacement.
    return text(column).str.replace_all(r"\s\s+|[^\S ]", " ").str.strip_chars()
