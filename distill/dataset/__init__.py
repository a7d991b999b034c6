"""The kept rows as a dataset folder: Parquet in the layout that trainers and the Hub viewer expect, statistics, a card.

Does not judge, and does not push. `layout.py` has the columns of each config, `parquet.py` writes them, `stats.py` has
the numbers and `card.py` the card.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

import filters
from distill import schema
from distill.audit import recorded_audit
from distill.dataset import card, layout, parquet
from distill.dataset.layout import LOCAL_FOLDER
from distill.dataset.stats import FunnelStep, Stats, statistics
from distill.progress import Progress
from distill.recipe import Recipe
from distill.store import Run

__all__ = ["DatasetError", "facts", "make", "write_dataset"]


class DatasetError(ValueError):
    """There is nothing to publish, or no section that says how."""


def make(run: Run, progress: Progress) -> dict[str, Any]:
    """Write `dataset/`: the rows that every filter kept, and the card that says where they are from."""
    stats = write_dataset(run.judged(), recipe=run.recipe, name=run.name, folder=run.path("dataset"), facts=facts(run))
    progress.say(f"  {stats['rows']:,} rows in {run.path('dataset')}")
    return {"rows": stats["rows"], "problems": stats["problems"], "kept_share": stats["kept_share"]}


def facts(run: Run) -> dict[str, Any]:
    """What earlier stages recorded of where the rows are from; no times, so that equal runs give equal cards."""
    manifests = {stage: run.manifest(stage) or {} for stage in ("problems", "trajectories", "verdicts")}
    recorded = {stage: manifest.get("facts", {}) for stage, manifest in manifests.items()}
    agreement = recorded["verdicts"].get("agreement") or {}
    versions = manifests["trajectories"].get("versions") or {}
    return {
        "command": f"distill run {run.name}.yaml",
        "problems": {"source": recorded["problems"].get("source")},
        "trajectories": {
            name: recorded["trajectories"].get(name) for name in ("teacher", "source", "counts", "truncated")
        },
        "ended_early": recorded["verdicts"].get("ended_early"),
        "agreement": agreement if agreement.get("labelled") else None,
        "audit": recorded_audit(run),
        "filters": {judge["filter"]: judge["digest"] for judge in recorded["verdicts"].get("filters", [])},
        "versions": {name: version for name, version in versions.items() if version != "absent"},
    }


def write_dataset(judged: pl.DataFrame, *, recipe: Recipe, name: str, folder: Path, facts: Mapping[str, Any]) -> Stats:
    """Write the dataset of a run into `folder`, replacing what is there, and return what its `stats.json` holds.

    The folder appears whole or not at all. The same input gives the same bytes.

    Args:
        judged: Trajectories with one verdict column per filter, as `filters.Chain.judge` returns them.
        recipe: What was sampled and how; its `dataset` section names the licence and the title.
        name: The recipe's name: the title if there is none, and the key in `dataset_info.json`.
        folder: Where to write.
        facts: Provenance for the card: JSON values, nested as you like. `command` makes the dataset again,
            `repository` is its Hub id, if it has one, and `agreement` and `audit` tell how far the verifier can be
            trusted; all other keys are listed as they are.

    Raises:
        DatasetError: No row was kept, or the recipe has no dataset section.
    """
    if recipe.dataset is None:
        raise DatasetError("the recipe has no `dataset` section; add one with the licence of the rows: `license: …`")
    schema.check(judged, schema.TRAJECTORY, what="the judged trajectories", key=("problem_id", "sample"))
    judged = judged.with_columns(card.public_names(judged["teacher"]), pl.col("source").str.replace(LOCAL_FOLDER, ""))
    kept = filters.kept(judged)
    stats = statistics(judged, kept, recipe.verifier.name() if recipe.verifier else None)
    if kept.is_empty():
        raise DatasetError(_nothing_kept(stats["funnel"]))
    with _replacing(folder) as draft:
        for config, table in layout.tables(judged, kept, recipe):
            parquet.write(table, draft / config)
            stats["columns"][config] = table.columns
        _write(draft / "stats.json", json.dumps(stats, indent=2, ensure_ascii=False))
        _write(draft / "dataset_info.json", json.dumps(layout.llama_factory(name, facts.get("repository")), indent=2))
        _write(draft / "README.md", card.render(recipe, name=name, stats=stats, facts=facts))
    return stats


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8", newline="\n")


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place at the end, or vanishes if something goes wrong."""
    draft, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("draft", "old"))
    for leftover in (draft, old):
        shutil.rmtree(leftover, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
    except BaseException:
        shutil.rmtree(draft)
        raise
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _nothing_kept(funnel: list[FunnelStep]) -> str:
    if not funnel or not funnel[0]["reached"]:
        return "there are no trajectories to make a dataset of; sample or import some first"
    worst = max(funnel, key=lambda step: step["reached"] - step["kept"])
    steps = "\n".join(
        f"  {step['filter']}: kept {step['kept']:,} of {step['reached']:,}"
        + "".join(f", {reason['rows']:,} {reason['reason']}" for reason in step["reasons"])
        for step in funnel
    )
    return (
        f"no trajectory was kept, so there is no dataset to write; {worst['filter']} removed most of them:\n{steps}\n"
        "Look at the evidence in its verdict column, then change its parameters in the recipe's `verdicts` section."
    )
