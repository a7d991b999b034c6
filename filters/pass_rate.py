"""Pass rate: what every sample solves teaches little; what hardly any solves is luck, or has a wrong reference."""

from typing import Annotated, Any, ClassVar, Self

import polars as pl
from pydantic import Field, model_validator

from filters import Filter, verdict_where


class PassRate(Filter):
    """Keep problems whose pass rate lies in a band of difficulty.

    The pass rate is the number of samples that reach this filter by the number that was drawn (``samples_drawn``), both
    without those that mend others or were given the answer (``method``), so
    place it behind the verifier: what was truncated or looped counts as not solved. ``pass_rate: {max_rate: 0.9}``
    leaves out what the teacher finds trivial. Where sampling stopped at the first accepted samples, the rate is biased
    towards them.

    Score: pass rate (0..1) of the problem.
    Rejects: too_hard, too_easy.
    Abstains: missing_input, inconsistent_counts (more samples than were drawn, none drawn, or rows
        that disagree on how many were).
    """

    min_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least pass rate of a problem that is kept."""
    max_rate: Annotated[float, Field(ge=0, le=1)] = 0.999
    """Largest pass rate of a problem that is kept; the default leaves out those that every sample solves."""

    reads = ("problem_id", "samples_drawn", "method")
    nullable = ("method",)
    scope = "problem"
    example_parameters: ClassVar[dict[str, Any]] = {"min_rate": 0.2, "max_rate": 0.9}
    examples = tuple(
        ({"problem_id": problem, "samples_drawn": drawn, "method": method}, expected)
        for problem, drawn, method, expected in (
            ("a", 2, None, "too_easy"),
            ("a", 2, None, "too_easy"),
            ("b", 3, None, "keep"),
            ("b", 3, None, "keep"),
            ("b", 3, "refine", "keep"),
            ("c", 8, None, "too_hard"),
            ("d", 0, None, "inconsistent_counts"),
            ("e", 8, None, "inconsistent_counts"),
            ("e", 4, None, "inconsistent_counts"),
            ("f", None, None, "missing_input"),
            ("g", 8, "hint", "too_hard"),
            ("h", 0, "hint", "inconsistent_counts"),
        )
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_rate > self.max_rate:
            raise ValueError(f"min_rate {self.min_rate} is above max_rate {self.max_rate}: nothing would be kept")
        return self

    def judge(self) -> pl.Expr:
        """Count the samples of each problem."""
        passed, drawn = (
            pl.col("method").is_null().sum().over("problem_id"),
            pl.col("samples_drawn").max().over("problem_id"),
        )
        fewest = pl.col("samples_drawn").min().over("problem_id")
        rate = pl.when(drawn > 0).then(passed / drawn)
        return verdict_where(
            score=rate.clip(upper_bound=1.0),
            rejects={"too_hard": rate < self.min_rate, "too_easy": rate > self.max_rate},
            abstains={"inconsistent_counts": (passed > drawn) | (fewest < drawn) | (drawn < 1)},
            evidence=pl.format("{} of {}", passed, drawn),
        )
