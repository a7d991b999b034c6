"""Length: reasoning that is too short teaches little; too long does not fit the student.

One limit for all rows, so that it can decide while sampling; `length_outlier` looks at a teacher's own distribution.
"""

from typing import Self

import polars as pl
from pydantic import PositiveFloat, PositiveInt, model_validator

from filters import Filter, verdict_where
from filters._text import text


class Length(Filter):
    """Keep trajectories with ``min_tokens <= completion_tokens <= max_tokens``.

    Score: completion tokens (reasoning and response, in the teacher's tokenizer; estimated where unknown).
    Rejects: too_short, too_long.
    Abstains: missing_input.
    """

    min_tokens: PositiveInt = 256
    """Fewest completion tokens of a trajectory that is kept."""
    max_tokens: PositiveInt = 16_384
    """Most completion tokens of a trajectory that is kept."""
    chars_per_token: PositiveFloat | None = None
    """Characters for which one token is counted where ``completion_tokens`` is null, as in imported rows: about 3.5 in
    English mathematics, 1.5 in Chinese. Null abstains on such rows."""

    reads = ("completion_tokens", "reasoning", "response")
    nullable = reads
    examples = (
        ({"completion_tokens": 255}, "too_short"),
        ({"completion_tokens": 256}, "keep"),
        ({"completion_tokens": 16_384}, "keep"),
        ({"completion_tokens": 16_385}, "too_long"),
        ({"completion_tokens": None}, "missing_input"),
    )

    @property
    def required(self) -> tuple[str, ...]:
        """The number of tokens, or the text that it is estimated from."""
        return ("completion_tokens",) if self.chars_per_token is None else ("response",)

    @property
    def optional(self) -> tuple[str, ...]:
        """The texts are read where tokens are estimated only."""
        return () if self.chars_per_token is None else ("completion_tokens", "reasoning")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens {self.min_tokens} is above max_tokens {self.max_tokens}: nothing would be kept"
            )
        return self

    def judge(self) -> pl.Expr:
        """Compare the number of completion tokens with both ends."""
        tokens, evidence = pl.col("completion_tokens"), None
        if self.chars_per_token is not None:
            chars = text("reasoning").str.len_chars().fill_null(0) + text("response").str.len_chars()
            evidence = pl.when(tokens.is_null()).then(pl.format("estimated from {} characters", chars))
            tokens = tokens.cast(pl.Float64).fill_null(chars / self.chars_per_token)
        rejects = {"too_short": tokens < self.min_tokens, "too_long": tokens > self.max_tokens}
        return verdict_where(score=tokens, rejects=rejects, evidence=evidence)
