"""Verdicts: what each filter of the chain said of each trajectory, the funnel, and the agreement with upstream labels.

Does not drop a row; the dataset takes those that every filter kept. Trajectories are read a batch at a time, and what a
filter of row scope has said of an unchanged trajectory is not asked again.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import polars as pl

from distill.fates import keep_fates
from distill.progress import Progress
from distill.schema import TRAJECTORY, check
from distill.spared import ended_early, said
from distill.store import KEY, Run, RunError, safe_csv, write_parquet, write_text
from filters import VERDICT, Chain, Filter, funnel, kept

CONTENT = pl.struct(pl.exclude(*KEY, "samples_drawn")).hash().alias("content")
"""A number that changes with anything that a verdict on the row itself could depend on."""


def make(run: Run, progress: Progress) -> dict[str, Any]:
    """Write `verdicts/verdicts.parquet` (key and verdict columns) and `verdicts/fates.parquet` (what they come to),
    `verdicts/made_from.parquet` and `verdicts/filters.json` (what they depend on), `verdicts/funnel.csv` and, where the
    import has labels, `verdicts/disagreements.csv`.
    """
    chain = Chain(run.recipe.verdicts)
    made_from = run.trajectory_columns(*KEY, CONTENT)
    source = _watched(run, made_from.height, progress)
    judged = chain.judge_batches(source, known=known(run, made_from, chain.filters))
    verdicts = check(made_from.select(KEY).hstack(judged), verdict_schema(judged.columns), what="verdicts", key=KEY)
    run.path("verdicts", "filters.json").unlink(missing_ok=True)  # it vouches for the files beside it: written last
    write_parquet(verdicts, run.path("verdicts", "verdicts.parquet"))
    keep_fates(verdicts, run.path("verdicts"))
    write_parquet(made_from, run.path("verdicts", "made_from.parquet"))
    provenance = [filter.provenance() for filter in chain.filters]
    write_text(run.path("verdicts", "filters.json"), json.dumps(provenance, indent=2) + "\n")
    judged = run.trajectory_columns("problem_id", "completion_tokens").hstack(judged)
    write_text(run.path("verdicts", "funnel.csv"), funnel(judged, members=True).write_csv())
    survivors = kept(judged)
    facts: dict[str, Any] = {
        "rows": judged.height,
        "kept": survivors.height,
        "kept_tokens": int(survivors["completion_tokens"].sum() or 0),
        "problems": judged["problem_id"].n_unique(),
        "problems_kept": survivors["problem_id"].n_unique(),
        "filters": provenance,
    }
    if early := _ended_early(run, judged):
        facts["ended_early"] = early
        progress.say(f"  {said(early)}")
    if run.recipe.verifier and "upstream_correct" in next(run.trajectory_batches()).columns:
        labelled = run.judged().filter(pl.col("upstream_correct").is_not_null())
        if not labelled.is_empty():
            facts["agreement"] = _agreement(run, run.recipe.verifier, labelled)
    return facts


def _ended_early(run: Run, judged: pl.DataFrame) -> dict[str, Any] | None:
    """What ending samples has saved; those that were let run are accepted by the filters that `until` accepts by."""
    columns = [filter.column() for filter in run.recipe.head or run.recipe.verdicts]
    accepted = pl.all_horizontal(pl.col(c).struct.field("outcome").eq_missing(pl.lit("keep")) for c in columns)
    rows = run.trajectory_columns("finish_reason", "completion_tokens", "doomed", "doomed_at")
    return ended_early(rows.hstack(judged.select(accepted=accepted)))


def _watched(run: Run, rows: int, progress: Progress) -> Callable[[], Iterator[pl.DataFrame]]:
    """The trajectories, batch by batch, with a bar for each time that a filter has them read."""
    passes = count(1)

    def source() -> Iterator[pl.DataFrame]:
        with progress.task(f"judging, pass {next(passes)}", rows) as advance:
            for batch in run.trajectory_batches():
                yield batch
                advance(batch.height, "")

    return source


def verdict_schema(columns: list[str]) -> pl.Schema:
    """The key of a trajectory and one verdict column per filter; a null verdict means that the row never got there."""
    return pl.Schema([*((name, TRAJECTORY[name]) for name in KEY), *((column, VERDICT) for column in columns)])


def known(
    run: Run, rows: pl.DataFrame, filters: tuple[Filter, ...], *, abstentions: bool = False
) -> pl.DataFrame | None:
    """What row-scope filters said of the same trajectories before, aligned with `rows` (key and content).

    Null where a trajectory has changed or is new, and where the filter abstained, unless `abstentions` are wanted.
    """
    try:
        provenance = json.loads(run.path("verdicts", "filters.json").read_text())
        made_from = pl.read_parquet(run.path("verdicts", "made_from.parquet"))
        before = run.verdicts().join(made_from, on=KEY, how="inner", validate="1:1")
        digests = {facts["filter"]: facts["digest"] for facts in provenance}
    except (OSError, RunError, ValueError, KeyError, pl.exceptions.PolarsError):
        return None  # nothing, or nothing readable: everything is judged
    same = [f for f in filters if not f.wide and digests.get(f.name()) == f.provenance()["digest"]]
    columns = [c for f in same for c in before.columns if c == f.column() or c.startswith(f"{f.column()}.")]
    if not columns:
        return None
    aligned = rows.join(before, on=[*KEY, "content"], how="left", maintain_order="left").select(columns)
    if abstentions:
        return aligned
    decided = [(c, pl.col(c.partition(".")[0]).struct.field("outcome") != "abstain") for c in columns]
    return aligned.select(pl.when(is_decided).then(pl.col(c)).alias(c) for c, is_decided in decided)


def _agreement(run: Run, verifier: Filter, labelled: pl.DataFrame) -> dict[str, Any]:
    """Compare the verifier with upstream labels on every labelled row, those that fell before it included."""
    column = verifier.column()
    unseen = labelled.filter(pl.col(column).is_null()).drop(column).with_columns(verifier.verdict())
    labelled = pl.concat([labelled.filter(pl.col(column).is_not_null()), unseen.select(labelled.columns)])
    verdict = pl.col(column).struct
    labelled = labelled.with_columns(
        outcome=verdict.field("outcome").cast(pl.String),
        reason=verdict.field("reason"),
        evidence=verdict.field("evidence"),
    )
    decided = labelled.filter(pl.col("outcome") != "abstain")
    agrees = (pl.col("outcome") == "keep") == pl.col("upstream_correct")
    disagreements = decided.filter(~agrees).select(
        *KEY, "upstream_correct", "outcome", "reason", "evidence", "reference_answer", "problem", "response"
    )
    write_text(run.path("verdicts", "disagreements.csv"), safe_csv(disagreements))
    return {
        "filter": verifier.name(),
        "labelled": labelled.height,
        "abstained": labelled.height - decided.height,
        "agreed": decided.height - disagreements.height,
        "share": (decided.height - disagreements.height) / decided.height if decided.height else None,
    }
