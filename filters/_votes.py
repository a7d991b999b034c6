"""What the samples of one problem answer: stated answers in their canonical form, and the vote among them.

Answers are grouped by spelling after `canonical_answer`, so ``1/2`` and ``0.5`` vote together and ``(x+1)^2`` and
``x^2+2x+1`` do not: to ask a symbolic library about every pair would cost more than it decides.
"""

import hashlib
from typing import Annotated

import polars as pl
from pydantic import Field

from filters._answers import canonical_answer, extract_answer

MinLead = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Type of the parameter that `with_votes` explains as ``lead``."""

MAX_ANSWER_CHARS = 2_000
"""Of a longer answer, votes know its beginning and a digest: what is remembered of a row stays small."""


def stated_answers(responses: pl.Series) -> pl.Series:
    """The canonical final answer of each response, null where none is stated."""
    distinct = responses.cast(pl.String).unique().drop_nulls()
    answers = [_canonical(extract_answer(text)) for text in distinct]
    found = pl.DataFrame({"response": distinct, "answer": pl.Series(answers, dtype=pl.String)})
    rows = pl.DataFrame({"response": responses.cast(pl.String)})
    return rows.join(found, on="response", how="left", maintain_order="left")["answer"]


def _canonical(stated: str | None) -> str | None:
    answer = None if stated is None else canonical_answer(stated)
    if answer is None or len(answer) <= MAX_ANSWER_CHARS:
        return answer
    return answer[:MAX_ANSWER_CHARS] + hashlib.blake2b(answer.encode("utf-8", "replace"), digest_size=16).hexdigest()


def with_votes(sketches: pl.DataFrame, weight: pl.Expr) -> pl.DataFrame:
    """The rows (columns problem_id, answer) with what their problem voted; those of weight 0 have no vote.

    Adds ``samples`` (of the problem), ``share`` (0..1, of the weight of all its samples, for its most frequent answer),
    ``majority`` (that answer; null where two are as frequent, or none is stated), ``vote`` (for people) and ``lead``.

    The lead says how far the vote is from a toss between its two most frequent answers, in standard errors: with a and
    b votes it is (a - b) / sqrt(a + b), and Wilson's interval at that z-score ends at one half. It is 1 for 3 votes
    against 1, 1.13 for 5 against 2, 1.41 for 6 against 2, 2 for 4 against none and 2.12 for 7 against 1.
    """
    weighed = sketches.with_columns(weight=weight, place=pl.int_range(pl.len()))
    first = pl.col("votes").first()
    second = pl.col("votes").get(1, null_on_oob=True).fill_null(0.0)
    to_samples = pl.col("samples").first() / pl.col("total").first()
    totals = weighed.group_by("problem_id").agg(samples=(pl.col("weight") > 0).sum(), total=pl.col("weight").sum())
    counts = (
        weighed.filter(pl.col("answer").is_not_null() & (pl.col("weight") > 0))
        .group_by("problem_id", "answer")
        .agg(votes=pl.col("weight").sum(), count=pl.len())
        .sort("problem_id", "votes", "answer", descending=[False, True, False])
        .join(totals, on="problem_id", how="left")
        .with_columns(line=pl.format("{}: {} of {}", pl.col("answer").str.head(60), "count", "samples"))
        .group_by("problem_id", maintain_order=True)
        .agg(
            majority=pl.col("answer").first(),
            share=(pl.col("votes").first() / pl.col("total").first()),
            lead=((first - second) / (first + second).sqrt() * to_samples.sqrt()).round(9),
            # Sums of weights that are equal but for rounding are a tie.
            tied=(pl.col("votes") >= pl.col("votes").first() * (1 - 1e-9)).sum() > 1,
            vote=pl.col("line").head(5).str.join(", "),
        )
        .with_columns(majority=pl.when(~pl.col("tied")).then("majority"))
        .drop("tied")
    )
    voted = totals.drop("total").join(counts, on="problem_id", how="left")
    return (
        weighed.join(voted, on="problem_id", how="left", maintain_order="left")
        .sort("place")
        .drop("place", "weight")
        .with_columns(pl.col("share", "lead").fill_null(0.0), pl.col("vote").fill_null("no answer is stated"))
    )
