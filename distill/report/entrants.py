"""Who is measured: the teacher, what students started from, and the students."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from distill.store import Run


@dataclass(frozen=True)
class Entrant:
    """A model that is measured."""

    name: str
    kind: str
    """teacher, base or student"""
    model: str
    revision: str | None = None
    rows: int | None = None
    """Rows it was trained on."""
    trained_on: str = ""
    """Which rows these are, in the words of the recipe."""
    base: str = ""
    """The base of a student."""


def entrants(run: Run, teacher: str | None) -> Iterator[Entrant]:
    """The teacher where it is a model, and each student after what it started from."""
    assert run.recipe.report is not None
    if teacher is not None:
        yield Entrant("teacher", "teacher", teacher, run.recipe.trajectories.revision)
    seen = set()
    for name, arm in (run.recipe.student.arms if run.recipe.student else {}).items():
        made = json.loads(run.path("student", name, "made.json").read_text())
        base = made["base"]
        if run.recipe.report.bases and base not in seen:
            seen.add(base)
            yield Entrant(f"{made['base_name']} base", "base", base, arm.revision)
        folder = str(run.path("student", name))
        yield Entrant(
            name,
            "student",
            folder,
            rows=made["rows"],
            trained_on=arm.rows if arm.method == "sft" else arm.method,
            base=base,
        )
