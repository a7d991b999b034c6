"""Students: models fine-tuned on the run's rows. This file chooses base and rows, and records what was made of them.

`examples.py` finds what an arm learns from, `rows.py` tokenises and checks it, and a file per method trains by TRL with
what `training.py` has for all of them: `sft.py`, `dpo.py`, `grpo.py`,
`on_policy.py`. `muon.py` is an optimizer.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distill import scratch
from distill.chat import join_completion
from distill.progress import Progress, quiet_transformers
from distill.recipe.methods import Method
from distill.recipe.student import Arm, Scratch, Student
from distill.recipe.trajectories import RecipeStudent
from distill.store import Run, digest, write_text
from distill.student import dpo, examples, grpo, on_policy, sft

Others = dict[RecipeStudent, str]
"""Folders of the students of other recipes."""


def make(run: Run, progress: Progress, *, others: Others) -> dict[str, Any]:
    """Write `student/<arm>/` for every arm that is missing or out of date: model, tokenizer and `made.json`."""
    section = run.recipe.student
    assert section is not None
    return {name: _make_arm(run, section, name, arm, others, progress) for name, arm in section.arms.items()}


def _make_arm(run: Run, section: Student, name: str, arm: Arm, others: Others, progress: Progress) -> dict[str, Any]:
    folder = run.path("student", name)
    own = section.of(arm)
    settings = own.model_dump(mode="json", exclude={"arms", "save_steps"})
    from_dataset = arm.method == "sft" and arm.rows == "kept"
    stages = ("problems",) if arm.rows == "problems" else ("dataset",) if from_dataset else ("trajectories", "verdicts")
    rewards = arm.grpo.reward_filters(run.recipe.verdicts).values() if arm.grpo else ()
    base, base_name = where_base(run, section, arm, others)
    key = digest(
        [
            settings,
            arm.model_dump(mode="json", exclude={"license", "own"}),
            base.name if isinstance(base, Path) else base,
            *((run.manifest(stage) or {}).get("digest") for stage in stages),
            *(filter.provenance()["digest"] for filter, _ in rewards),
            *(_made_key(others[other]) for other in run.recipe.others_of(arm)),
        ]
    )
    finished = folder / "made.json"
    if finished.is_file() and (made := json.loads(finished.read_text()))["key"] == key:
        progress.say(f"  {name}: up to date")
        return dict(made)
    finished.unlink(missing_ok=True)
    if isinstance(arm.base, Scratch):
        build_base(run, section, arm.base, Path(base))
    method, rows = METHODS[arm.method]
    common: dict[str, Any] = {"name": name, "key": key, "base": str(base), "arm": arm, "settings": own, "out": folder}
    if from_dataset:
        common["dataset"] = run.path("dataset")
    if (teacher := run.recipe.teacher_of(arm)) is not None:
        common["teacher"] = others[teacher] if isinstance(teacher, RecipeStudent) else teacher
    facts = method(rows(run, arm), **common, progress=progress)
    made = {"key": key, "method": arm.method, "base": str(base), "base_name": base_name, **facts}
    write_text(finished, json.dumps(made, indent=2) + "\n")
    return made


def _made_key(folder: str) -> str:
    return str(json.loads((Path(folder) / "made.json").read_text())["key"])


METHODS: dict[Method, tuple[Callable[..., dict[str, Any]], Callable[[Run, Arm], Any]]] = {
    "sft": (sft.train, examples.chats),
    "dpo": (dpo.train, examples.pairs),
    "grpo": (grpo.train, examples.asked),
    "on_policy": (on_policy.train, examples.asked),
}
"""What trains an arm of a method, and what finds the rows for it."""


def where_base(run: Run, section: Student, arm: Arm, others: Others) -> tuple[str | Path, str]:
    """Where the base is, and what to call it. One from scratch is shared by the arms that name it."""
    if isinstance(arm.base, str):
        return arm.base, arm.base
    if isinstance(arm.base, RecipeStudent):
        return Path(others[arm.base]), Path(others[arm.base]).name
    made_from = digest([arm.base, section.seed, (run.manifest("trajectories") or {}).get("digest")])
    return run.path("bases", f"{arm.base.architecture}-{made_from[:8]}"), arm.base.architecture


def build_base(run: Run, section: Student, shape: Scratch, folder: Path) -> None:
    """Make a base from scratch, whole or not at all.

    Its tokenizer is trained on every trajectory of the run, so that arms with other rows differ in nothing else.
    """
    if (folder / "config.json").is_file():
        return
    quiet_transformers()
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    scratch.build(draft, texts=_texts(run), seed=section.seed, **shape.model_dump())
    draft.rename(folder)


def _texts(run: Run) -> Iterator[str]:
    for problem, reasoning, response in run.trajectories().select("problem", "reasoning", "response").iter_rows():
        yield problem
        yield join_completion(reasoning, response)
