"""Length: reasoning that is too short teaches little; too long does not fit the student."""

from typing import Self

import polars as pl
from pydantic import PositiveInt, model_validator

from filters import Filter, verdict_where


class Length(Filter):
    """Keep trajectories with ``min_tokens <= completion_tokens <= max_tokens``.

    Score: completion tokens (reasoning and response, in the teacher's tokenizer).
    Rejects: too_short, too_long.
    Abstains: missing_input.
    """

    min_tokens: PositiveInt = 256
    """Fewest completion tokens of a trajectory that is kept."""
    max_tokens: PositiveInt = 16_384
    """Most completion tokens of a trajectory that is kept."""

    reads = ("completion_tokens",)
    examples = (
        ({"completion_tokens": 255}, "too_short"),
        ({"completion_tokens": 256}, "keep"),
        ({"completion_tokens": 16_384}, "keep"),
        ({"completion_tokens": 16_385}, "too_long"),
        ({"completion_tokens": None}, "missing_input"),
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}: nothing would be kept"
            )
        return self

    def judge(self) -> pl.Expr:
        """Compare the number of completion tokens with both ends."""
        tokens = pl.col("completion_tokens")
        return verdict_where(
            score=tokens,
            rejects={"too_short": tokens < self.min_tokens, "too_long": tokens > self.max_tokens},
        )
