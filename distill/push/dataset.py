"""A dataset as a parcel: its configs, what LLaMA-Factory and people read beside them, and its card."""

import json
import re
from collections.abc import Collection
from pathlib import Path

from distill import dataset
from distill.dataset import card, layout
from distill.dataset.stats import Stats
from distill.hub.repo import File
from distill.push.parcel import Parcel, PushError, command, json_file, with_recipe
from distill.recipe import Dataset
from distill.store import Run

SHOWN = 10
"""Sources that an error names."""


def dataset_parcel(run: Run, repo_id: str, *, report: bool = True) -> Parcel:
    """The dataset of a run, which must be up to date. Raises PushError where the recipe leaves out what is needed."""
    manifest = run.manifest("dataset")
    if manifest is None or run.recipe.dataset is None:
        raise PushError(f"{run.folder} holds no finished dataset; make it with `distill dataset` first")
    folder = run.path("dataset")
    configs = sorted(path.parent.name for path in folder.glob("*/train-00000-of-*.parquet"))
    rows = {
        path.relative_to(folder).as_posix(): File(path)
        for config in configs
        for path in sorted((folder / config).glob("train-*.parquet"))
    }
    stats = json.loads((folder / "stats.json").read_text(encoding="utf-8"))
    check_licenses(run.recipe.dataset, stats)
    _check_configs(folder, stats["columns"], configs)
    facts = {**dataset.facts(run), "repository": repo_id, "command": command(run, "dataset", repo_id)}
    text = card.render(run.recipe, name=run.name, stats=stats, facts=facts)
    files = {
        **rows,
        "dataset_info.json": json_file(layout.llama_factory(run.name, repo_id)),
        "stats.json": File(folder / "stats.json"),
    }
    return Parcel(
        "dataset",
        with_recipe(run, files, text, report=report),
        text,
        f"{run.name}: {stats['rows']:,} rows, digest {manifest['digest']}",
        re.compile(rf"(?:{'|'.join(configs)})/.*\.parquet"),
    )


def check_licenses(section: Dataset, stats: Stats) -> None:
    """Others may only use what they know the terms of, and those can be declared, not found out."""
    sources = [group["name"] or "unknown" for group in stats["sources"]]
    missing = [name for name in sources if section.license_of(name) is None]
    wrong = [] if isinstance(section.source_licenses, str) else sorted(set(section.source_licenses) - set(sources))
    says = []
    if missing:
        named = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
        says.append(
            f"source_licenses: the licence of the problems of {named}; {{name: licence}}, or one licence of all"
        )
    if wrong:
        says.append(
            f"source_licenses: there are no rows of {', '.join(wrong[:SHOWN])}, but of {', '.join(sources[:SHOWN])}"
        )
    if section.teacher_license is None:
        says.append("teacher_license: the licence or terms of what the teacher writes")
    if says:
        lacks = "\n".join(f"  dataset.{line}" for line in says)
        raise PushError(
            f"the recipe does not declare what others may do with the rows, and nobody can guess it:\n{lacks}"
        )


def _check_configs(folder: Path, written: Collection[str], there: Collection[str]) -> None:
    if gone := sorted(set(written) - set(there)):
        raise PushError(f"{', '.join(gone)} is gone from {folder}; delete the folder and run `distill dataset` again")
