"""What is made of a sample as soon as it has finished."""

from dataclasses import dataclass

import polars as pl

from distill.vote import Ballot
from filters import verdict_columns


@dataclass(frozen=True, slots=True)
class Opinion:
    """Whether a sample is accepted."""

    accepted: bool
    complaint: str = ""
    """Why it is rejected, in words for who wrote it; empty where it is accepted or nobody could decide."""
    decided: bool = True
    """False where a filter abstained."""
    ballot: Ballot | None = None
    """What it answers, where the samples of a problem vote."""


def complaint(judged: pl.DataFrame) -> pl.Expr:
    """What a chain says to the teacher of each row that it rejects; null for others. Never holds the reference."""
    said = []
    for column in verdict_columns(judged):
        verdict, reference = pl.col(column).struct, pl.col("reference_answer").cast(pl.String).str.strip_chars()
        tells = verdict.field("evidence").str.contains(reference, literal=True).fill_null(False)
        evidence = pl.when(~tells).then(pl.format(" ({})", verdict.field("evidence"))).fill_null("")
        reason = verdict.field("reason").str.replace_all("_", " ", literal=True)
        words = pl.format(
            f"Your solution was checked and is not accepted. {column.removeprefix('verdict_')}: {{}}{{}}.",
            reason,
            evidence,
        )
        said.append(pl.when(verdict.field("outcome") == "reject").then(words))
    return pl.coalesce(said)
