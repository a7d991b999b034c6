"""Verdicts: what each filter of the chain said of each trajectory, the funnel, and the agreement with upstream labels.

Does not drop a row; the dataset takes those that every filter kept.
"""

from typing import Any

import polars as pl

from distill.progress import Progress
from distill.schema import TRAJECTORY, check
from distill.store import KEY, Run, write_parquet, write_text
from filters import VERDICT, Chain, Filter, funnel, kept


def make(run: Run, progress: Progress) -> dict[str, Any]:
    """Write `verdicts/verdicts.parquet` (key and verdict columns), `verdicts/funnel.csv` and, where the import has
    labels, `verdicts/disagreements.csv`.
    """
    chain = Chain(run.recipe.verdicts)
    trajectories = run.trajectories()
    judged = chain.judge(trajectories)
    columns = [filter.column() for filter in chain.filters]
    table = funnel(judged)
    verdicts = check(judged.select(*KEY, *columns), verdict_schema(columns), what="verdicts", key=KEY)
    write_parquet(verdicts, run.path("verdicts", "verdicts.parquet"))
    write_text(run.path("verdicts", "funnel.csv"), table.write_csv())
    survivors = kept(judged)
    facts: dict[str, Any] = {
        "rows": judged.height,
        "kept": survivors.height,
        "kept_tokens": int(survivors["completion_tokens"].sum() or 0),
        "problems": judged["problem_id"].n_unique(),
        "problems_kept": survivors["problem_id"].n_unique(),
        "filters": [filter.provenance() for filter in chain.filters],
    }
    labels = trajectories.get_column("upstream_correct", default=None)
    if run.recipe.verifier and labels is not None and labels.is_not_null().any():
        facts["agreement"] = _agreement(run, run.recipe.verifier, judged)
    return facts


def verdict_schema(columns: list[str]) -> pl.Schema:
    """The key of a trajectory and one verdict column per filter; a null verdict means that the row never got there."""
    return pl.Schema([*((name, TRAJECTORY[name]) for name in KEY), *((column, VERDICT) for column in columns)])


def _agreement(run: Run, verifier: Filter, judged: pl.DataFrame) -> dict[str, Any]:
    """Compare the verifier with upstream labels on every labelled row, those that fell before it included."""
    labelled = judged.filter(pl.col("upstream_correct").is_not_null())
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
    write_text(run.path("verdicts", "disagreements.csv"), _safe_csv(disagreements))
    return {
        "filter": verifier.name(),
        "labelled": labelled.height,
        "abstained": labelled.height - decided.height,
        "agreed": decided.height - disagreements.height,
        "share": (decided.height - disagreements.height) / decided.height if decided.height else None,
    }


def _safe_csv(table: pl.DataFrame) -> str:
    """CSV whose text cells no spreadsheet takes for a formula."""
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    return table.with_columns(pl.col(texts).str.replace(r"^([=+\-@\t\r])", "'$1")).write_csv()
