"""What is published of a run: the files of its dataset or of a student, with the recipe and a lock beside them.

Reads the run's folder and writes nothing. The lock names versions and digests, and the files of the push, by which a
later one knows which files are ours.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from distill import __version__, dataset
from distill.dataset import card, layout
from distill.hub.repo import File
from distill.push.card import digests
from distill.push.leaks import wash
from distill.recipe import Recipe
from distill.store import Run, digest

LOCK = "recipe.lock.json"
RECIPE = "recipe.yaml"


class PushError(RuntimeError):
    """What was asked for must not be published, or not there. Nothing was sent; says what to do."""


@dataclass(frozen=True)
class Parcel:
    """All that a repository is to hold."""

    kind: Literal["dataset", "model"]
    files: Mapping[str, File]
    """By path in the repository; the card is apart, because it meets theirs."""
    card: str
    message: str
    """Of the commit."""
    folders: tuple[str, ...] = ()
    """In which a file of somebody else's would be read as part of this."""


@dataclass(frozen=True)
class Lock:
    """What the last push of ours wrote, as far as its lock says so."""

    files: frozenset[str] = frozenset()
    sections: Mapping[str, str] = field(default_factory=dict)


def locked(text: str | None) -> Lock:
    """A lock that lies on the Hub, where anybody who may write can have changed it; empty if it is none of ours."""
    try:
        lock = json.loads(text or "{}")
        sections = {str(heading): str(value) for heading, value in lock["card"].items()}
        return Lock(frozenset(map(str, lock["files"])) | {LOCK}, sections)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Lock()


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
    facts = {**dataset.facts(run), "repository": repo_id}
    text = card.render(run.recipe, name=run.name, stats=stats, facts=facts)
    files = {
        **rows,
        "dataset_info.json": _json(layout.llama_factory(run.name, repo_id)),
        "stats.json": File(folder / "stats.json"),
        RECIPE: _text(public_recipe(run.recipe)),
    }
    page = run.path("report", "report.html")
    if report and run.manifest("report") and page.is_file():
        files["report.html"] = File(page)
    files[LOCK] = _json(_lock(run, files, text))
    message = f"{run.name}: {stats['rows']:,} rows, digest {manifest['digest']}"
    return Parcel("dataset", files, text, message, tuple(configs))


def public_recipe(recipe: Recipe) -> str:
    """What was run, overrides included, as a recipe that runs: without defaults, folders of this machine and hosts."""
    plain = recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    plain["verdicts"] = [judge.entry() for judge in recipe.verdicts]
    head = f"# As it was run, written by distill {__version__}; {LOCK} has versions and digests.\n"
    return head + yaml.safe_dump(_washed(plain), sort_keys=False, allow_unicode=True, width=100)


def _lock(run: Run, files: Mapping[str, File], text: str) -> dict[str, Any]:
    """What made the files, without times and places: a second push of the same run has the same lock."""
    manifests = {stage: run.manifest(stage) for stage in Recipe.model_fields}
    stages = {
        stage: {
            "digest": manifest.get("digest"),
            "distill": manifest.get("distill"),
            "versions": {name: v for name, v in (manifest.get("versions") or {}).items() if v != "absent"},
        }
        for stage, manifest in manifests.items()
        if manifest
    }
    return {
        "recipe": digest(run.recipe),
        "stages": stages,
        "facts": _washed(dataset.facts(run)),
        "files": {path: {"sha256": file.sha256, "bytes": file.size} for path, file in sorted(files.items())},
        "card": digests(text),
    }


def _washed(value: Any) -> Any:
    """Plain data whose texts name no place on this machine."""
    if isinstance(value, Mapping):
        return {wash(str(key)): _washed(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_washed(part) for part in value]
    return wash(value) if isinstance(value, str) else value


def _json(value: Any) -> File:
    return _text(json.dumps(value, indent=2, ensure_ascii=False))


def _text(text: str) -> File:
    return File((text.rstrip("\n") + "\n").encode("utf-8", "replace"))
