"""Length outliers: the shortest and longest of a teacher's own trajectories, whatever their absolute length.

Teachers and domains differ by a factor of ten in how much they write; `length` is the filter with one limit for all.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from filters import Filter, verdict_where


class LengthOutlier(Filter):
    """Keep trajectories between two quantiles of ``completion_tokens`` among the rows of their teacher and domain.

    Never rejects more than the given shares, nor rows as long as the last one that is kept: a group of fewer rows
    than 1 / share loses none. A null teacher or domain is a group of its own.

    Score: completion tokens.
    Rejects: shorter_than_usual, longer_than_usual.
    Abstains: missing_input.
    """

    lower_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share (0..1) of the shortest rows of each group to reject."""
    upper_share: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share (0..1) of the longest rows of each group to reject."""
    by: tuple[Literal["teacher", "domain"], ...] = ("teacher", "domain")
    """Columns whose values make a group; none of them: all rows together."""

    scope = "dataset"
    reads = ("completion_tokens", "teacher", "domain")
    nullable = ("teacher", "domain")
    example_parameters: ClassVar[dict[str, Any]] = {"lower_share": 0.25, "upper_share": 0.25}
    examples = (
        ({"completion_tokens": 100, "teacher": "a", "domain": "math"}, "shorter_than_usual"),
        ({"completion_tokens": 500, "teacher": "a", "domain": "math"}, "keep"),
        ({"completion_tokens": 500, "teacher": "a", "domain": "math"}, "keep"),
        ({"completion_tokens": 600, "teacher": "a", "domain": "math"}, "keep"),
        ({"completion_tokens": 9000, "teacher": "a", "domain": "math"}, "longer_than_usual"),
        ({"completion_tokens": 9000, "teacher": "b", "domain": "math"}, "keep"),
        ({"completion_tokens": 9000, "teacher": "a", "domain": None}, "keep"),
        ({"completion_tokens": None, "teacher": "a", "domain": "math"}, "missing_input"),
    )

    @model_validator(mode="after")
    def _something_is_kept(self) -> Self:
        if self.lower_share + self.upper_share >= 1:
            raise ValueError("lower_share and upper_share together leave nothing")
        return self

    def judge(self) -> pl.Expr:
        """Compare each row with the quantiles of its group."""
        tokens = pl.col("completion_tokens")
        shortest = self._of_group(tokens.quantile(self.lower_share, "lower"))
        longest = self._of_group(tokens.quantile(1 - self.upper_share, "higher"))
        bounds = pl.format(
            "{} tokens; {} rows of this group are kept from {} to {}",
            tokens, self._of_group(pl.len()), shortest.cast(pl.Int64), longest.cast(pl.Int64),
        )  # fmt: skip
        rejects = {"shorter_than_usual": tokens < shortest, "longer_than_usual": tokens > longest}
        return verdict_where(score=tokens, rejects=rejects, evidence=bounds)

    def _of_group(self, value: pl.Expr) -> pl.Expr:
        return value.over(*self.by) if self.by else value
