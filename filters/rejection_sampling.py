"""Rejection sampling: of the surviving samples of a problem, keep the best few."""

import hashlib
from typing import Literal

import polars as pl
from pydantic import PositiveInt

from filters import Filter, verdict_where
from filters._text import whole_text

_ROW = {"completion_tokens": None, "reasoning": None, "response": "4"}


class RejectionSampling(Filter):
    """Keep ``keep`` of the surviving trajectories of each problem, chosen by one stated policy.

    Place it after the verifier: the samples that reach it are the correct ones. Ties go to the lower sample number,
    and ``random`` is a hash of (seed, problem_id, sample), so the choice depends on no other row and on no row order.

    Score: rank of the trajectory within its problem under the policy (0 is the best).
    Rejects: surplus.
    Abstains: missing_input.
    """

    keep: PositiveInt = 1
    """Trajectories kept of each problem."""
    by: Literal["shortest", "longest", "first", "random"] = "shortest"
    """The policy: fewest or most completion tokens (characters where tokens are unknown or equal), lowest sample
    number, or a seeded hash."""
    seed: int = 0
    """Changes the choice of ``random``."""

    reads = ("problem_id", "sample", "completion_tokens", "reasoning", "response")
    nullable = ("completion_tokens", "reasoning")
    scope = "problem"
    examples = (
        ({**_ROW, "problem_id": "a", "sample": 0, "completion_tokens": 900}, "surplus"),
        ({**_ROW, "problem_id": "a", "sample": 2, "completion_tokens": 300}, "surplus"),
        ({**_ROW, "problem_id": "a", "sample": 1, "completion_tokens": 300}, "keep"),
        ({**_ROW, "problem_id": "b", "sample": 5, "completion_tokens": 900}, "keep"),
        ({**_ROW, "problem_id": "c", "sample": 0, "reasoning": "long winded"}, "surplus"),
        ({**_ROW, "problem_id": "c", "sample": 1}, "keep"),
        ({**_ROW, "problem_id": "d", "sample": None}, "missing_input"),
    )

    def judge(self) -> pl.Expr:
        """Rank the samples of each problem and reject what lies behind the first ``keep``."""
        readable = pl.all_horizontal(pl.col("problem_id", "sample", "response").is_not_null())
        order = pl.struct(*self._keys(), sample=pl.col("sample"))
        rank = order.rank("ordinal").over("problem_id", readable).cast(pl.Int64) - 1
        rivals = readable.sum().over("problem_id")
        return verdict_where(
            score=rank,
            rejects={"surplus": rank >= self.keep},
            evidence=pl.format("{}: {} of {}", pl.lit(self.by), rank + 1, rivals),
        )

    def _keys(self) -> list[pl.Expr]:
        if self.by == "random":
            return [pl.struct("problem_id", "sample").map_batches(self._draw, return_dtype=pl.UInt64).alias("drawn")]
        if self.by == "first":
            return []
        sign = 1 if self.by == "shortest" else -1
        tokens = pl.col("completion_tokens").cast(pl.Int64)
        characters = whole_text().str.len_chars().cast(pl.Int64)
        return [(sign * tokens).alias("tokens"), (sign * characters).alias("characters")]

    def _draw(self, keys: pl.Series) -> pl.Series:
        texts = (f"{self.seed}/{key['problem_id']}/{key['sample']}" for key in keys)
        digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
        return pl.Series([int.from_bytes(digest) for digest in digests], dtype=pl.UInt64)
