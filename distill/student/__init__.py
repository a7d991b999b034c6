"""Students: models fine-tuned on the run's rows. This file chooses base and rows, and records what was made of them.

`rows.py` tokenises and checks the rows, `train.py` trains by TRL with what `training.py` has for every method, and
`muon.py` is an optimizer.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill import hub, scratch
from distill.chat import join_completion, user_message
from distill.progress import Progress, quiet_transformers
from distill.recipe.student import Arm, Scratch, Student
from distill.store import Run, digest, write_text
from distill.student.train import train
from filters import through


def make(run: Run, progress: Progress) -> dict[str, Any]:
    """Write `student/<arm>/` for every arm that is missing or out of date: model, tokenizer and `made.json`."""
    section = run.recipe.student
    assert section is not None
    return {name: _make_arm(run, section, name, arm, progress) for name, arm in section.arms.items()}


def _make_arm(run: Run, section: Student, name: str, arm: Arm, progress: Progress) -> dict[str, Any]:
    folder = run.path("student", name)
    settings = section.model_dump(mode="json", exclude={"arms", "save_steps"})
    rows_from = run.manifest("dataset" if arm.rows == "kept" else "verdicts") or {}
    base, base_name = _base(run, section, arm)
    key = digest([settings, arm, base.name if isinstance(base, Path) else base, rows_from.get("digest")])
    finished = folder / "made.json"
    if finished.is_file() and (made := json.loads(finished.read_text()))["key"] == key:
        progress.say(f"  {name}: up to date")
        return dict(made)
    finished.unlink(missing_ok=True)
    if isinstance(arm.base, Scratch):
        _build(run, section, arm.base, Path(base))
    rows = _chats(run, arm)
    facts = train(rows, name=name, key=key, base=str(base), arm=arm, settings=section, out=folder, progress=progress)
    made = {"key": key, "base": str(base), "base_name": base_name, **facts}
    write_text(finished, json.dumps(made, indent=2) + "\n")
    return made


def _chats(run: Run, arm: Arm) -> list[dict[str, Any]]:
    """Prompt and completion, as messages, of the rows that an arm is trained on."""
    if arm.rows == "kept":
        return list(hub.load_rows(run.path("dataset"), "prompt_completion"))
    judged = run.judged()
    table = judged if arm.rows == "sampled" else through(judged, arm.rows)
    instructions = run.recipe.instructions
    return [
        {
            "prompt": [user_message(problem, instructions[effort])],
            "completion": [{"role": "assistant", "content": join_completion(reasoning, response)}],
        }
        for problem, reasoning, response, effort in table.select(
            "problem", "reasoning", "response", "effort"
        ).iter_rows()
    ]


def _base(run: Run, section: Student, arm: Arm) -> tuple[str | Path, str]:
    """Where the base is, and what to call it. One from scratch is shared by the arms that name it."""
    if isinstance(arm.base, str):
        return arm.base, arm.base
    made_from = digest([arm.base, section.seed, (run.manifest("trajectories") or {}).get("digest")])
    return run.path("bases", f"{arm.base.architecture}-{made_from[:8]}"), arm.base.architecture


def _build(run: Run, section: Student, shape: Scratch, folder: Path) -> None:
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
