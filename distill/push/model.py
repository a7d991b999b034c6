"""A student as a parcel: weights, configuration and tokenizer, and a card that links the dataset it was made from."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import dataset
from distill.dataset import card
from distill.engines._local import files_digest
from distill.hub.repo import ID, File, Repo
from distill.push.dataset import check_licenses
from distill.push.leaks import washed
from distill.push.parcel import LOCK, Parcel, PushError, command, with_recipe
from distill.recipe.methods import Method
from distill.recipe.student import Arm
from distill.report.words import title as title_of
from distill.run import check_made
from distill.store import Run, RunError

FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "*.jinja"),
    *("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
)
"""What a model is. No optimizer, no log, nothing pickled: a trainer leaves these beside it."""


LEARNS: dict[Method, tuple[str, str]] = {
    "sft": (
        "problems with a teacher's answers, each with its reasoning inside `<think>` tags where there was some",
        "",
    ),
    "dpo": ("pairs of a right and a wrong answer to a problem", "what was kept, and what the verifier rejected"),
    "grpo": ("problems, by rewards of its own answers to them", "problems; filters rewarded its own answers"),
    "on_policy": (
        "problems, by what a teacher would have said in its own answers",
        "problems; it answered them itself",
    ),
}
"""What a method learns from: what `rows` counts, and which they were; the arm's `rows` say that of imitation."""


@dataclass(frozen=True)
class Origin:
    """The dataset that the student was made from, as it is on the Hub."""

    id: str
    commit: str


def published(run: Run, repo_id: str) -> Origin:
    """The dataset's repository. Raises PushError where it does not hold this run's."""
    repo = Repo("dataset", repo_id)
    head = repo.head()
    lock = repo.read(LOCK, head) if head else None
    if head is None or _digest_in(lock) != _digest(run):
        found = "holds another dataset" if lock else "holds no dataset that distill pushed, or cannot be seen"
        raise PushError(f"{repo_id} {found}, so the card cannot link it; push the dataset of {run.name} there first")
    return Origin(repo_id, head.commit)


def model_parcel(run: Run, arm: str, repo_id: str, *, origin: Origin | None, report: bool = True) -> Parcel:
    """A student of a run, which must be up to date; `origin` is where its dataset is published.

    Raises PushError where the recipe leaves out what is needed.
    """
    section = run.recipe.student
    if section is None or arm not in section.arms:
        names = ", ".join(section.arms) if section else "none"
        raise PushError(f"the recipe of {run.name} has no student {arm!r}; it has {names}")
    if section.arms[arm].license is None:
        raise PushError(
            f"the recipe does not declare what others may do with the student, and nobody can guess it:\n"
            f"  student.arms.{arm}.license: a licence that those of its base and of the rows allow"
        )
    if run.recipe.dataset is None:
        raise PushError(
            f"the recipe of {run.name} has no `dataset` section, and so declares no licence of what the student "
            "learned from; add one, and run `distill run` again"
        )
    check_licenses(run.recipe.dataset, json.loads(run.path("dataset", "stats.json").read_text(encoding="utf-8")))
    folder = run.path("student", arm)
    weights = {path.name: File(path) for pattern in FILES for path in sorted(folder.glob(pattern))}
    made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    revision = files_digest({name: file.sha256 for name, file in weights.items()})
    text = _card(run, arm, repo_id, origin, {**made, "revision": revision})
    return Parcel(
        "model",
        with_recipe(run, weights, text, report=report),
        text,
        f"{run.name}: {arm}, {made['rows']:,} rows, key {made['key']}",
        re.compile(r"[^/]+\.(?:safetensors|bin|safetensors\.index\.json|jinja)|(?:tokenizer|vocab|merges)[^/]*"),
    )


def metadata(arm: Arm, origin: Origin | None, title: str) -> dict[str, Any]:
    """The YAML head of the card, as the Hub documents it."""
    return {
        "model_name": card.one_line(title),
        "license": card.one_line(arm.license or ""),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **({"base_model": arm.base} if _on_hub(arm.base) else {}),
        **({"datasets": [origin.id]} if origin else {}),
        "tags": ["reasoning", "chain-of-thought", "distillation", "distill"],
    }


def _card(run: Run, name: str, repo_id: str, origin: Origin | None, made: Mapping[str, Any]) -> str:
    section, recipe = run.recipe.student, run.recipe
    assert section is not None
    assert recipe.dataset is not None
    arm = section.arms[name]
    title = f"{recipe.dataset.title or run.name}: {name}"
    facts = dataset.facts(run)
    apart = ("key", "base", "base_name", "seconds", "revision")
    trained = {key: value for key, value in made.items() if key not in apart}
    settings = section.of(arm).model_dump(mode="json", exclude={"arms", "save_steps", "launch"})
    if settings["optimizer"] != "muon":
        del settings["muon_learning_rate"]
    licenses = recipe.dataset.source_licenses
    shape = arm.model_dump(mode="json", exclude={"license", "rows", "base", "own"})
    versions = (run.manifest("student") or {}).get("versions") or {}
    budget = None if recipe.trajectories.import_ else recipe.trajectories.max_tokens
    return card.fill(
        "model.md.j2",
        metadata(arm, origin, title),
        title=title,
        name=name,
        arm=arm,
        learns=(LEARNS[arm.method][0], LEARNS[arm.method][1] or _which(arm.rows)),
        base=arm.base if _on_hub(arm.base) else made["base_name"],
        where=repo_id,
        made=made,
        trained=card.flatten(trained),
        settings=card.flatten(washed({**settings, **shape})),
        versions={package: version for package, version in versions.items() if version != "absent"},
        teachers=_teachers(facts),
        origin=origin,
        digest=_digest(run),
        named=f"{run.name}:{name}@{made['revision']}",
        sets=[{**asked, "title": title_of(asked)} for asked in _scores(run)],
        question=json.dumps(
            "…" + (f"\n\n{recipe.instructions[None]}" if recipe.instructions[None] else ""), ensure_ascii=False
        ),
        budget=budget,
        dataset=recipe.dataset,
        licenses=[("", licenses)] if isinstance(licenses, str) else list(licenses.items()),
        command=command(run, "model", repo_id),
    )


def _which(rows: str) -> str:
    named = {"kept": "rows of the dataset", "sampled": "all trajectories, unfiltered"}
    return named.get(rows, f"what passed the filters up to {rows}")


def _teachers(facts: Mapping[str, Any]) -> list[str]:
    teacher = (facts["trajectories"] or {}).get("teacher") or {}
    named = (teacher.get("model"), teacher.get("revision"))
    return [washed(" ".join(filter(None, named)))] if teacher else []


def _scores(run: Run) -> list[dict[str, Any]]:
    """What the report measured on each set of problems, where it is up to date."""
    if run.recipe.report is None:
        return []
    try:
        check_made(run, "report")
    except RunError:
        return []
    return list(json.loads(run.path("report", "report.json").read_text(encoding="utf-8"))["sets"])


def _digest(run: Run) -> str | None:
    return (run.manifest("dataset") or {}).get("digest")


def _digest_in(lock: str | None) -> str | None:
    """Of the dataset that a lock on the Hub tells of; anybody can have written it."""
    try:
        return str(json.loads(lock or "")["stages"]["dataset"]["digest"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _on_hub(base: object) -> bool:
    """Whether a base is a model of the Hub and no folder here."""
    return isinstance(base, str) and bool(ID.fullmatch(base)) and not Path(base).exists()
