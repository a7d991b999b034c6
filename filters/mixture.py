"""Mixture: how much of each domain or source a dataset has, such as R1's 600k of reasoning and 200k of the rest."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, NonNegativeInt

from filters import Filter, verdict_where
from filters._draw import draws


class Mixture(Filter):
    """Keep as many rows of each domain, or source, as the mixture wants, by a seeded choice.

    ``mixture: {caps: {math: 600000, general: 200000}}`` keeps at most so many; ``ratios: {math: 3, general: 1}`` keeps
    the largest number of rows that has these proportions, within the caps. Place it last. The choice is a hash of
    (seed, problem_id, sample): it does not depend on the order of the rows, and a larger cap keeps what a smaller one
    keeps.

    Score: rank of the row within its domain or source (0 is chosen first).
    Rejects: over_cap, over_ratio, unnamed (where ``others`` is reject).
    Abstains: missing_input, ratio_unreachable (a domain or source in ``ratios`` has no rows at all).
    """

    by: Literal["domain", "source"] = "domain"
    """What the mixture is of."""
    caps: dict[str, NonNegativeInt] = Field(default_factory=dict)
    """Most rows by domain or source."""
    ratios: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Proportions by domain or source."""
    others: Literal["keep", "reject"] = "keep"
    """What becomes of rows whose domain or source is in neither."""
    seed: int = 0
    """Changes the choice."""

    reads = ("problem_id", "sample", "domain", "source")
    nullable = ("domain", "source")
    scope = "dataset"
    example_parameters: ClassVar[dict[str, Any]] = {
        "caps": {"math": 3},
        "ratios": {"math": 2, "general": 1},
        "others": "reject",
    }
    examples = tuple(
        ({"problem_id": problem, "sample": sample, "domain": domain, "source": "web"}, expected)
        for problem, sample, domain, expected in (
            ("a", 0, "math", "keep"),
            ("b", 0, "math", "over_cap"),
            ("c", 0, "math", "keep"),
            ("d", 0, "math", "over_ratio"),
            ("e", 0, "general", "keep"),
            ("f", 0, "law", "unnamed"),
            ("g", 0, None, "missing_input"),
        )
    )

    @property
    def required(self) -> tuple[str, ...]:
        """The column that the mixture is of, and the key that decides."""
        return ("problem_id", "sample", self.by)

    @property
    def optional(self) -> tuple[str, ...]:
        """The other one."""
        return tuple(c for c in ("domain", "source") if c != self.by)

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The group of each row, and its draw."""
        draw = draws(self.seed, rows.select("problem_id", "sample"))
        return rows.select(group=pl.col(self.by).cast(pl.String), draw=draw)

    def judge_sketches(self, sketches: pl.DataFrame, rows_at: object) -> pl.Series:
        """Rank the rows of each group and cut."""
        counts = dict(sketches.group_by("group").len().iter_rows())
        capped = {group: min(rows, self.caps.get(group, rows)) for group, rows in counts.items()}
        absent = [group for group in self.ratios if not capped.get(group)]
        wanted = capped | self._by_ratio(capped) if not absent else capped
        quotas = {"group": list(counts), "cap": list(capped.values()), "quota": [wanted[group] for group in counts]}
        schema = {"group": pl.String, "cap": pl.Int64, "quota": pl.Int64}
        ranked = sketches.join(pl.DataFrame(quotas, schema=schema), on="group", how="left", maintain_order="left")
        ranked = ranked.with_columns(rank=pl.col("draw").rank("ordinal").over("group").cast(pl.Int64) - 1)
        is_named = pl.col("group").is_in([*self.caps, *self.ratios])
        kept = pl.format("{}: {} of {} rows are kept", "group", "quota", pl.len().over("group"))
        verdict = verdict_where(
            score=pl.col("rank"),
            abstains={"ratio_unreachable": pl.lit(bool(absent)) & pl.col("group").is_in(list(self.ratios))},
            rejects={
                "unnamed": ~is_named & pl.lit(self.others == "reject"),
                "over_cap": pl.col("rank") >= pl.col("cap"),
                "over_ratio": pl.col("rank") >= pl.col("quota"),
            },
            evidence=pl.lit(f"no rows of {', '.join(absent)}") if absent else kept,
        )
        return ranked.select(verdict).to_series()

    def _by_ratio(self, rows: Mapping[str, int]) -> dict[str, int]:
        """The largest whole numbers of rows in these proportions."""
        ratios = {group: Fraction(str(ratio)) for group, ratio in self.ratios.items()}  # 0.1 is a tenth, exactly
        most = min((rows[group] / ratio for group, ratio in ratios.items()), default=Fraction(0))
        return {group: int(most * ratio) for group, ratio in ratios.items()}
