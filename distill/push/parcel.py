"""What is published of a run: files, a card, and beside them the recipe and its lock.

`dataset.py` and `model.py` say which files and what card. Reads the run's folder and writes nothing. The lock names
versions and digests, and the files of the push, by which a later one knows which files are ours.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from distill import __version__, dataset
from distill.hub.repo import File
from distill.page import is_current, page_path
from distill.push.card import digests
from distill.push.leaks import washed
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
    rivals: re.Pattern[str]
    """Paths at which a file of somebody else's would be read as part of this."""


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


def with_recipe(run: Run, files: Mapping[str, File], card: str, *, report: bool) -> dict[str, File]:
    """The files with the recipe, the page of the run, where there is one and it is wanted, and the lock."""
    whole = {**files, RECIPE: text_file(public_recipe(run.recipe))}
    if report and is_current(run):
        whole["report.html"] = File(page_path(run))
    return {**whole, LOCK: json_file(_lock(run, whole, card))}


def command(run: Run, kind: Literal["dataset", "model"], repo_id: str) -> str:
    """What makes it again, from what is on the Hub."""
    where = " --repo-type dataset" if kind == "dataset" else ""
    return f"hf download {repo_id} {RECIPE}{where} --local-dir .\ndistill run {RECIPE} --name {run.name}"


def public_recipe(recipe: Recipe) -> str:
    """What was run, overrides included, as a recipe that runs: without defaults, folders of this machine and hosts."""
    plain = recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    plain["verdicts"] = [judge.entry() for judge in recipe.verdicts]
    head = f"# As it was run, written by distill {__version__}; {LOCK} has versions and digests.\n"
    return head + yaml.safe_dump(washed(plain), sort_keys=False, allow_unicode=True, width=100)


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
        "facts": washed(dataset.facts(run)),
        "files": {path: {"sha256": file.sha256, "bytes": file.size} for path, file in sorted(files.items())},
        "card": digests(text),
    }


def json_file(value: Any) -> File:
    """Plain data, to be read by people too."""
    return text_file(json.dumps(value, indent=2, ensure_ascii=False))


def text_file(text: str) -> File:
    """A text, with a line break at its end."""
    return File((text.rstrip("\n") + "\n").encode("utf-8", "replace"))
