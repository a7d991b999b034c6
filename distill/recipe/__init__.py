"""A recipe: what a run does, one section per stage. Every field is a key of the YAML, and nothing else is.

A file here per section. Does not read files: `file.py` turns a YAML file into a `Recipe`, or into errors with their
line and column. Relative paths are relative to the folder in which the command is run, as in a Makefile.
"""

import difflib
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Annotated, Self

from pydantic import Field, model_validator

import filters
from distill.recipe.problems import Problems
from distill.recipe.section import MisfitError, Place, Section
from distill.recipe.student import Arm, Student
from distill.recipe.trajectories import Generation, Trajectories


class Dataset(Section):
    """The published form of the kept rows."""

    license: str
    """Licence of the rows: an identifier that the Hub knows, or `other`. Never guessed."""
    title: str | None = None
    """Name on the card; the recipe's name if not given."""
    effort_in_prompt: bool = True
    """The prompt of a row ends with the instruction of its level of effort, as the teacher's did, so that a student
    learns to obey it. False leaves it out: then a student cannot be told how long to reason."""


class Report(Generation):
    """What the students have learned, on the held-out problems, judged by the recipe's own verifier."""

    bases: bool = True
    """Also measure what the students started from."""


class Recipe(Section):
    """Sections in the order in which they run; a run ends where the recipe does."""

    problems: Problems | None = None
    """Left out where trajectories are imported."""
    trajectories: Trajectories
    verdicts: Annotated[list[filters.FilterEntry], Field(min_length=1)]
    """Filters in order; each sees only what those before it kept."""
    dataset: Dataset | None = None
    student: Student | None = None
    report: Report | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if misfits := list(_misfits(self)):
            raise MisfitError(misfits)
        return self

    @property
    def instructions(self) -> dict[str | None, str]:
        """What follows the problem in the prompt of a dataset row, for each level of effort and for none."""
        trajectories = self.trajectories
        plain = "" if trajectories.import_ else trajectories.instruction  # what an import was asked is not known
        said = self.dataset is None or self.dataset.effort_in_prompt
        levels = (None, *trajectories.effort)
        return {level: trajectories.instruction_at(level if said else None, plain) for level in levels}

    @property
    def verifier(self) -> filters.Filter | None:
        """The chain's first verify_* filter, or the any_of or by_domain that holds it.

        It labels samples right or wrong, in verdicts and in the report.
        """
        for filter in self.verdicts:
            if any(leaf.name().startswith("verify_") for leaf in filter.leaves):
                return filter
        return None

    @property
    def head(self) -> list[filters.Filter]:
        """The filters of row scope that the chain begins with: they can judge a sample as soon as it has finished."""
        return list(takewhile(lambda filter: not filter.wide, self.verdicts))


def _misfits(recipe: Recipe) -> Iterator[tuple[Place, str]]:
    names = [filter.name() for filter in recipe.verdicts]
    for position, name in enumerate(names):
        if name in names[:position]:
            yield ("verdicts", position), f"{name} stands in the chain already; each filter may stand there once"
    if recipe.problems is None and recipe.trajectories.import_ is None:
        yield ("problems",), "required, but not there: a teacher needs problems; only an import brings its own"
    if recipe.problems is not None and recipe.trajectories.import_ is not None:
        yield ("problems",), "an import brings its own problems; leave one of problems and trajectories.import out"
    if recipe.trajectories.until and not recipe.head:
        yield ("trajectories", "until"), "needs a filter of row scope at the head of verdicts, to accept samples by"
    if recipe.student and not recipe.dataset:
        yield ("student",), "needs a dataset section, since students are trained on the dataset"
    if recipe.report and not (recipe.problems and recipe.problems.held_out):
        yield ("report",), "needs problems.held_out of at least 1: the problems that it measures on"
    if recipe.report and not recipe.verifier:
        yield ("report",), "needs a verify_* filter in verdicts, to judge answers with"
    for name, arm in (recipe.student.arms if recipe.student else {}).items():
        yield from _arm_misfits(name, arm, names)


def _arm_misfits(name: str, arm: Arm, filter_names: list[str]) -> Iterator[tuple[Place, str]]:
    place: Place = ("student", "arms", name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield place, "an arm's name is a folder's: up to 64 letters, digits, '.', '_' and '-'"
    choices = ["kept", "sampled", *filter_names]
    if arm.rows not in choices:
        close = difflib.get_close_matches(arm.rows, choices, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(choices)}"
        yield (*place, "rows"), f"{arm.rows!r} names neither rows nor a filter of the chain; {hint}"
