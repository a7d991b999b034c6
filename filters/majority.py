"""Majority: where no reference is known, what most samples answer is the label (self-consistency, Wang et al. 2022)."""

from typing import Annotated

import polars as pl
from pydantic import Field, PositiveInt

from filters import Filter, verdict_where
from filters._rewards import rewards
from filters._votes import MinLead, stated_answers, with_votes


class Majority(Filter):
    """Keep the samples that give their problem's majority answer, for problems without a reference.

    The majority is the most frequent canonical answer among all samples of the problem that reach this filter, those
    without an answer included, those that mend others or were given the answer (``method``) not; where two are as
    frequent there is none. Where ``reward_score`` has scored every sample of a problem, votes are weighted by the
    logistic function of the reward. A row with a reference is not its concern, so that ``any_of: [verify_math,
    majority]`` verifies what can be verified and lets the others vote.

    Score: share (0..1) of the problem's votes, weights included, that its most frequent answer has.
    Rejects: no_answer, minority_answer.
    Abstains: missing_input, not_applicable (the row has a reference), too_few_samples, no_majority (a tie,
        or a vote that is too close or too spread to be stable).
    """

    min_samples: PositiveInt = 4
    """Fewest samples of a problem that can have a majority."""
    min_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least share of the votes that makes a majority."""
    min_lead: MinLead = 1.0
    """Least lead over the second most frequent answer, in standard errors of a toss between the two. 1 accepts 3 votes
    against 1 and 5 against 2, but not 2 against 1; 2 accepts 4 against none and 7 against 1; 0 asks for none."""
    vote_despite_reference: bool = False
    """Judge rows that have a reference as well."""

    reads = ("problem_id", "response", "reference_answer", "verdict_reward_score", "method")
    nullable = ("reference_answer", "verdict_reward_score", "method")
    scope = "problem"
    examples = tuple(
        (
            {
                "problem_id": problem,
                "response": response,
                "reference_answer": reference,
                "verdict_reward_score": None,
                "method": "refine" if problem == "f" else None,
            },
            expected,
        )
        for problem, response, reference, expected in (
            ("a", "A: 42", None, "keep"),
            ("a", r"\boxed{42.0}", None, "keep"),
            ("a", "A: 42", None, "keep"),
            ("a", "A: 41", None, "minority_answer"),
            ("a", "Perhaps.", None, "no_answer"),
            ("b", "A: 1", None, "too_few_samples"),
            ("c", "A: 1", None, "no_majority"),
            ("c", "A: 1", None, "no_majority"),
            ("c", "A: 2", None, "no_majority"),
            ("c", "A: 2", None, "no_majority"),
            ("d", "A: 1", "1", "not_applicable"),
            ("e", None, None, "missing_input"),
            *(("f", "A: 42", None, "too_few_samples") for _ in range(4)),
        )
    )

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Problems with a reference, which do not vote."""
        has_reference = pl.col("reference_answer").is_not_null() & pl.lit(not self.vote_despite_reference)
        if "reference_answer" not in problems.columns:
            return super().unverifiable(problems)
        return problems.select(pl.when(has_reference).then(pl.lit("not_applicable"))).to_series()

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Each sample's answer and reward."""
        return rows.select(
            "problem_id",
            answer=stated_answers(rows["response"]),
            has_reference=pl.col("reference_answer").is_not_null(),
            reward=rewards(rows["verdict_reward_score"]),
            votes=pl.col("method").is_null(),
        )

    def judge_sketches(self, sketches: pl.DataFrame, rows_at: object) -> pl.Series:
        """Let the samples of each problem vote."""
        # Rewards beyond 30 differ from 30 by less than a vote can show, and weights of 0 have no majority.
        logistic = 1 / (1 + (-pl.col("reward").clip(-30, 30)).exp())
        all_scored = pl.col("reward").is_not_null().all().over("problem_id")
        weight = pl.when(~pl.col("votes")).then(0.0).when(all_scored).then(logistic).otherwise(1.0)
        voted = with_votes(sketches, weight)
        has_majority = pl.col("majority").is_not_null() & (pl.col("share") >= self.min_share)
        has_majority &= pl.col("lead") >= self.min_lead
        abstains = {
            "not_applicable": pl.col("has_reference") & ~pl.lit(self.vote_despite_reference),
            "too_few_samples": pl.col("samples") < self.min_samples,
            "no_majority": ~has_majority,
        }
        rejects = {
            "no_answer": pl.col("answer").is_null(),
            "minority_answer": pl.col("answer") != pl.col("majority"),
        }
        verdict = verdict_where(score=pl.col("share"), rejects=rejects, abstains=abstains, evidence=pl.col("vote"))
        return voted.select(verdict).to_series()
