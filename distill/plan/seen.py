"""What a plan goes by: the samples of a probe or of another run, judged, and what has been paid for already."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from distill import samples, trajectories
from distill.evidence import Try
from distill.journal import read_rows
from distill.ledger import Spent
from distill.lineage import HINTED, is_follow_up
from distill.opinion import complaint
from distill.progress import Progress
from distill.samples import JOURNAL, JOURNALED, Pace
from distill.store import KEY, Run, RunError
from filters import Chain, kept
from filters._votes import stated_answers


@dataclass(frozen=True)
class Seen:
    """What a plan is made from."""

    table: pl.DataFrame
    """Trajectories of the plain question, with the column `accepted`."""
    tries: list[Try]
    mendable: float
    """Share of the rejected samples that may be mended."""
    votes: list[list[int]]
    """Of problems whose samples vote, how many gave each answer."""
    pace: Pace | None
    says: str


def by_probe(run: Run, progress: Progress, teacher: str | None, probed: int) -> Seen:
    """Sample so many problems of the run."""
    table = trajectories.probe(run, progress, teacher=teacher, problems=probed)
    pace = samples.pace(read_rows(run.path("trajectories", JOURNAL), JOURNALED))
    says = f"From {table.height:,} samples of {table['problem_id'].n_unique()} problems of this run; it keeps them."
    return Seen(*_judged(table, run), pace, says)


def by_earlier(run: Run, folder: Path) -> Seen:
    """Take the samples of another run. Raises RunError where it has none, or does not know their tokens."""
    path = folder / "trajectories" / "trajectories.parquet"
    if not path.is_file():
        raise RunError(f"--from {folder}: there is no {path}, so it has no finished trajectories")
    table = pl.read_parquet(path)
    if table["completion_tokens"].null_count():
        raise RunError(f"--from {folder}: its trajectories are imported, and do not say how many tokens they took")
    journal = folder / "trajectories" / JOURNAL
    pace = samples.pace(read_rows(journal, JOURNALED)) if journal.is_file() else None
    says = f"From {table.height:,} samples of {table['problem_id'].n_unique():,} problems of {folder}, by its teacher."
    judged, tries, mendable, votes = _judged(table, run)
    if journal.is_file():
        judged = pl.concat([judged, _kept_out(judged, journal)], how="diagonal")
    return Seen(judged, tries, mendable, votes, pace, says)


def _kept_out(table: pl.DataFrame, journal: Path) -> pl.DataFrame:
    """Samples that were cut, and of which there is no trajectory: nothing is accepted of them."""
    rows = read_rows(journal, JOURNALED).filter(samples.CUT & (pl.col("sample") >= 0)).unique(KEY, keep="last")
    columns = (*KEY, "prompt_tokens", "completion_tokens", "finish_reason")
    return rows.select(*columns, accepted=False).collect().join(table, on=KEY, how="anti")


def _judged(table: pl.DataFrame, run: Run) -> tuple[pl.DataFrame, list[Try], float, list[list[int]]]:
    """The first fields of `Seen`."""
    head, keeps_out = run.recipe.head, run.recipe.trajectories.keeps_out
    table = table.filter(~samples.FAILED).with_row_index("row")
    judged = Chain(head).judge(table) if head else table
    accepted = kept(judged)["row"] if head else pl.Series([], dtype=pl.UInt32)
    whole = ~samples.ENDED & ~(pl.lit(keeps_out) & samples.CUT)
    table = table.with_columns(accepted=pl.col("row").is_in(accepted.implode()) & whole)
    follows = is_follow_up(pl.col("sample"))
    plain = table.filter(~follows)
    tried = table.filter(follows).select(pl.col("sample") >= HINTED, "completion_tokens", "accepted")
    rejected = plain.filter(~pl.col("accepted"))
    complaints = judged.filter(complaint(judged).is_not_null())["row"] if head else accepted
    mendable = rejected.filter(pl.col("row").is_in(complaints.implode()), pl.col("finish_reason") == "stop").height
    votes: list[list[int]] = []
    if run.recipe.trajectories.until and run.recipe.trajectories.until.vote:
        passed = plain.filter("accepted")
        ballots = passed.select("problem_id", answer=stated_answers(passed["response"]))
        counts = ballots.group_by("problem_id", "answer", maintain_order=True).len()
        votes = counts.group_by("problem_id", maintain_order=True).agg("len")["len"].to_list()
    return plain.drop("row"), [Try(*row) for row in tried.iter_rows()], mendable / max(1, rejected.height), votes


def paid_by_run(run: Run) -> Spent:
    """What this run has paid for."""
    journal = run.path("trajectories", JOURNAL)
    return _spent(samples.paid(read_rows(journal, JOURNALED))) if journal.is_file() else Spent()


def paid_by_others(run: Run, most: int) -> Spent:
    """What other runs have paid for: of a problem no more than are asked for at most."""
    journal = run.path("trajectories", JOURNAL)
    if not journal.is_file():
        return Spent()
    rows = read_rows(journal, JOURNALED).filter(pl.col("drawn_from").is_not_null() & (pl.col("sample") < most))
    rows = rows.filter(pl.col("problem_id").is_in(run.problems("train")["problem_id"].implode()))
    columns = (*KEY, "prompt_tokens", "completion_tokens")
    return _spent(rows.select(columns).unique(KEY).collect())


def _spent(rows: pl.DataFrame) -> Spent:
    return Spent(rows.height, int(rows["prompt_tokens"].sum()), int(rows["completion_tokens"].sum()))
