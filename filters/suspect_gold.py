"""Suspect gold: a teacher that stably answers something else than the reference may be right.

Such problems are set apart with their evidence instead of being dropped as hard: in published datasets many of the
"hardest" problems have wrong references (NVIDIA-NeMo/Skills#1092, zwhe99/DeepMath#1). Who is right is for a person.
"""

from typing import Annotated, Any

import polars as pl
from pydantic import Field, PositiveInt

from filters import Filter, verdict_where
from filters._filter import digested
from filters._votes import MinLead, stated_answers, with_votes


class SuspectGold(Filter):
    """Set apart problems whose samples agree with each other against the reference.

    All samples of such a problem are rejected, and the evidence is what a person needs to look at. Place it before the
    verifier, as in ``[format, suspect_gold, verify_math]``: behind it, only samples that agree with the reference are
    left. Problems without a reference are kept, and so are those without a stable majority. Samples that mend others or
    were given the answer (``method``) do not vote.

    Score: share (0..1) of the problem's samples that give its most frequent answer.
    Rejects: suspect_gold.
    Abstains: missing_input, undecidable (whether majority and reference are equal could not be decided).
    """

    min_samples: PositiveInt = 4
    """Fewest samples of a problem whose agreement means anything."""
    min_share: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Least share of the samples that agree."""
    min_lead: MinLead = 1.4
    """Least lead over the second most frequent answer, in standard errors of a toss between the two. 1.4 accepts 3
    votes against none and 6 against 2, but not 3 against 1; 2 accepts 4 against none and 7 against 1; 0 asks for
    none."""

    reads = ("problem_id", "response", "reference_answer", "method")
    nullable = ("reference_answer", "method")
    scope = "problem"
    examples = tuple(
        (
            {
                "problem_id": problem,
                "response": response,
                "reference_answer": reference,
                "method": "hint" if problem == "f" else None,
            },
            expected,
        )
        for problem, response, reference, expected in (
            ("a", "A: 42", "41", "suspect_gold"),
            ("a", "A: 42", "41", "suspect_gold"),
            ("a", "A: 42.0", "41", "suspect_gold"),
            ("a", "It is \\boxed{42}.", "41", "suspect_gold"),
            ("a", "A: 42", "41", "suspect_gold"),
            ("a", "A: 42", "41", "suspect_gold"),
            ("a", "A: 41", "41", "suspect_gold"),
            ("b", "A: 1/2", "0.5", "keep"),
            ("b", "A: 1/2", "0.5", "keep"),
            ("b", "A: 1/2", "0.5", "keep"),
            ("b", "A: 1/2", "0.5", "keep"),
            ("c", "A: 42", "41", "keep"),
            ("d", "A: 42", None, "keep"),
            ("e", None, "41", "missing_input"),
            *(("f", "A: 42", "41", "keep") for _ in range(4)),
        )
    )

    def provenance(self) -> dict[str, Any]:
        """What `verify_math` depends on is what decides here as well."""
        from filters.verify_math import VerifyMath

        facts = super().provenance()
        facts.pop("digest")
        return digested(facts | {"compares_by": VerifyMath().provenance()})

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Each sample's answer beside the reference."""
        return rows.select(
            "problem_id",
            pl.col("reference_answer").cast(pl.String),
            votes=pl.col("method").is_null().cast(pl.Float64),
            answer=stated_answers(rows["response"]),
        )

    def judge_sketches(self, sketches: pl.DataFrame, rows_at: object) -> pl.Series:
        """Compare each stable majority with the reference, once a problem."""
        voted = with_votes(sketches, pl.col("votes"))
        stable = (pl.col("samples") >= self.min_samples) & (pl.col("share") >= self.min_share)
        stable &= pl.col("lead") >= self.min_lead
        voted = voted.with_columns(majority=pl.when(stable).then("majority"))
        compared = self._compared(voted.select("reference_answer", "majority").unique().drop_nulls())
        voted = voted.join(compared, on=["reference_answer", "majority"], how="left", maintain_order="left")
        against = pl.col("comparison").fill_null("equal")
        evidence = pl.format("reference {}, but the samples say {}", pl.col("reference_answer").str.head(100), "vote")
        verdict = verdict_where(
            score=pl.col("share"),
            rejects={"suspect_gold": against == "different"},
            abstains={"undecidable": ~against.is_in(["equal", "different"])},
            evidence=pl.when(against != "equal").then(evidence),
        )
        return voted.select(verdict).to_series()

    def _compared(self, pairs: pl.DataFrame) -> pl.DataFrame:
        from filters.verify_math import VerifyMath

        compared = VerifyMath().compare(list(pairs.iter_rows()))
        comparison = pl.Series([compared[pair] for pair in pairs.iter_rows()], dtype=pl.String)
        return pairs.with_columns(comparison=comparison)
