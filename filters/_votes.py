"""What the samples of one problem answer: stated answers in their canonical form, and the vote among them.

Answers are grouped by spelling after `canonical_answer`, so ``1/2`` and ``0.5`` vote together and ``(x+1)^2`` and
``x^2+2x+1`` do not: to ask a symbolic library about every pair would cost more than it decides.
"""

import polars as pl

from filters._answers import canonical_answer, extract_answer


def stated_answers(responses: pl.Series) -> pl.Series:
    """The canonical final answer of each response, null where none is stated."""
    distinct = responses.cast(pl.String).unique().drop_nulls()
    answers = [None if (stated := extract_answer(text)) is None else canonical_answer(stated) for text in distinct]
    found = pl.DataFrame({"response": distinct, "answer": pl.Series(answers, dtype=pl.String)})
    rows = pl.DataFrame({"response": responses.cast(pl.String)})
    return rows.join(found, on="response", how="left", maintain_order="left")["answer"]


def with_votes(sketches: pl.DataFrame, weight: pl.Expr) -> pl.DataFrame:
    """The rows (columns problem_id, answer) with what their problem voted.

    Adds ``samples`` (of the problem), ``share`` (0..1, of the weight of all its samples, for its most frequent answer),
    ``majority`` (that answer; null where two are as frequent, or none is stated) and ``vote`` (for people).
    """
    weighed = sketches.with_columns(weight=weight, place=pl.int_range(pl.len()))
    totals = weighed.group_by("problem_id").agg(samples=pl.len(), total=pl.col("weight").sum())
    counts = (
        weighed.drop_nulls("answer")
        .group_by("problem_id", "answer")
        .agg(votes=pl.col("weight").sum(), count=pl.len())
        .sort("problem_id", "votes", "answer", descending=[False, True, False])
        .join(totals, on="problem_id", how="left")
        .with_columns(line=pl.format("{}: {} of {}", pl.col("answer").str.head(60), "count", "samples"))
        .group_by("problem_id", maintain_order=True)
        .agg(
            majority=pl.col("answer").first(),
            share=(pl.col("votes").first() / pl.col("total").first()),
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
        .with_columns(pl.col("share").fill_null(0.0), pl.col("vote").fill_null("no answer is stated"))
    )
