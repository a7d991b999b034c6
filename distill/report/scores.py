"""What a model did on a set of problems: every sample judged, and every score with its interval over problems.

Asks nothing: it is given samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from distill import metrics
from distill.chat import split_completions
from distill.report.benchmarks import ProblemSet
from distill.report.entrants import Entrant
from distill.store import KEY, RunError
from filters import Filter, canonical_answer, extract_answer
from filters.format import Format
from filters.language_mix import LanguageMix

RATES = {"truncated_share": "truncated", "mixed_share": "mixed", "formatted_share": "formatted"}
"""Shares of the samples in a report, and the columns that they are the means of."""
FOUND = (*KEY, "completion_tokens", "answer", "correct", *RATES.values())
"""What a score is made of: columns of `graded` that are no texts of a model, but for final answers."""
BANDS = ("solves none", "up to half", "more than half", "solves all")
"""Difficulty, where a benchmark has no levels: how often the teacher solves a problem."""


@dataclass(frozen=True)
class Score:
    """What an entrant did on the problems of a set."""

    entrant: Entrant
    set: ProblemSet
    samples: pl.DataFrame
    """One row a sample, with the columns of FOUND."""

    @cached_property
    def problems(self) -> pl.DataFrame:
        """One row a problem, as `metrics.per_problem` returns them."""
        return metrics.per_problem(self.samples)

    @cached_property
    def row(self) -> dict[str, Any]:
        """The row of the report's table."""
        rated = self.problems.drop_nulls("pass_rate")
        if rated.is_empty():
            raise RunError(
                f"{self.entrant.name}: the verifier could not decide a single answer on {self.set.name}, so there is "
                "nothing to report; do its problems have reference answers?"
            )
        return {
            "name": self.entrant.name,
            "kind": self.entrant.kind,
            "rows": self.entrant.rows,
            "trained_on": self.entrant.trained_on,
            "pass@1": metrics.mean_score(rated["pass_rate"])._asdict(),
            "pass@k": dict(self._pass_at_k(rated)),
            "cons@k": metrics.mean_score(rated["majority"])._asdict(),
            "tokens": self._tokens,
            **{share: self._rate(column) for share, column in RATES.items()},
            "undecided": int(self.problems["undecided"].sum()),
        }

    def _pass_at_k(self, rated: pl.DataFrame) -> Iterator[tuple[str, dict[str, float]]]:
        """For k of 2, 4, 8 … and the number of samples; over the problems of which so many samples were decided."""
        drawn = self.set.settings.samples_per_problem
        for k in [*(2**power for power in range(1, drawn.bit_length()) if 2**power < drawn), drawn][: drawn - 1]:
            whole = rated.filter(pl.col("samples") >= k)
            if whole.height:
                at_k = metrics.pass_at_k(whole["samples"], whole["correct"], k)
                yield str(k), metrics.mean_score(at_k)._asdict()

    @property
    def _tokens(self) -> dict[str, float]:
        lengths = self.samples["completion_tokens"].drop_nulls()
        quantiles = {f"p{q}": lengths.quantile(q / 100, "nearest") or 0 for q in (5, 25, 50, 75, 95)}
        return {"mean": _number(lengths.mean()), **quantiles, "max": _number(lengths.max())}

    def _rate(self, column: str) -> dict[str, float] | None:
        """The share of a problem's samples, over problems; what could not be decided counts neither way."""
        shares = self.samples.group_by("problem_id").agg(pl.col(column).mean())[column].drop_nulls()
        return metrics.mean_score(shares)._asdict() if len(shares) else None


def _number(value: Any) -> float:
    return round(float(value or 0), 1)


def graded(samples: pl.DataFrame, asked: ProblemSet, chain: list[Filter]) -> pl.DataFrame:
    """Samples with their problems and texts, and what was found of each one.

    `correct` (null where the verifier could not decide), the canonical `answer`, `truncated`, `formatted` and `mixed`
    (null likewise), and the verdict of the verifier. The recipe's own `format` and `language_mix` judge, where its
    chain has them.
    """
    texts = split_completions(samples["text"])
    answers = [extract_answer(response) for response in texts["response"]]
    rows = samples.drop("text").join(asked.problems, on="problem_id", how="left", maintain_order="left")
    own = {filter.name(): filter for filter in chain}
    form, language = own.get("format") or Format(), own.get("language_mix") or LanguageMix()
    judged = rows.with_columns(texts).with_columns(
        asked.verifier.verdict(), form.verdict().alias("form"), language.verdict().alias("language")
    )
    verdict = pl.col(asked.verifier.column())
    return judged.with_columns(
        correct=_decided(verdict, "keep"),
        answer=pl.Series([None if answer is None else canonical_answer(answer) for answer in answers], dtype=pl.String),
        truncated=pl.col("finish_reason") == "length",
        formatted=_decided(pl.col("form"), "keep"),
        mixed=_decided(pl.col("language"), "reject"),
    ).drop("form", "language")


def _decided(verdict: pl.Expr, outcome: str) -> pl.Expr:
    said = verdict.struct.field("outcome").cast(pl.String)
    return pl.when(said != "abstain").then(said == outcome)


def by_difficulty(scores: list[Score]) -> list[dict[str, Any]]:
    """Each model's pass@1 by the benchmark's levels, or else by how often the teacher solves a problem.

    The teacher itself has no row in its own bands, and there are none where no teacher was measured.
    """
    problems = scores[0].set.problems
    teacher = next((score for score in scores if score.entrant.kind == "teacher"), None)
    if "level" in problems.columns:
        bands = problems.select("problem_id", band="level").drop_nulls()
    elif teacher is not None:
        rate = pl.col("pass_rate")
        place = pl.when(rate == 0).then(0).when(rate <= 0.5).then(1).when(rate < 1).then(2).otherwise(3)
        names = place.replace_strict(dict(enumerate(BANDS)), return_dtype=pl.String)
        bands = teacher.problems.drop_nulls("pass_rate").select("problem_id", band=names)
    else:
        return []
    measured = [score for score in scores if score is not teacher or "level" in problems.columns]
    rows = []
    for name in sorted(bands["band"].unique(), key=lambda name: (BANDS.index(name) if name in BANDS else 0, name)):
        within = bands.filter(pl.col("band") == name)
        models = []
        for score in measured:
            rates = score.problems.join(within, on="problem_id", how="semi")["pass_rate"].drop_nulls()
            models.append(
                {
                    "name": score.entrant.name,
                    "kind": score.entrant.kind,
                    "pass@1": metrics.mean_score(rates)._asdict() if len(rates) else None,
                }
            )
        rows.append({"name": name, "problems": within.height, "models": models})
    return rows
