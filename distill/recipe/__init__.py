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
from distill.recipe.methods import Grpo
from distill.recipe.problems import Problems
from distill.recipe.report import Report
from distill.recipe.section import MisfitError, Place, Section
from distill.recipe.student import Arm, Student
from distill.recipe.trajectories import Program, RecipeStudent, Trajectories


class Dataset(Section):
    """The published form of the kept rows."""

    license: str
    """Licence of the rows: an identifier that the Hub knows, or `other`. Never guessed."""
    title: str | None = None
    """Name on the card; the recipe's name if not given."""
    source_licenses: str | dict[str, str] = Field(default={})
    """Licence of the problems, of each source by its name: {openai/gsm8k: mit}, or one of all of them. Never guessed,
    and needed to push."""
    teacher_license: str | None = None
    """Licence or terms of the teacher's outputs. Never guessed, and needed to push."""
    rejected: bool = False
    """Also write a config `rejected`: what was not kept, each row with filter, reason and evidence."""
    effort_in_prompt: bool = True
    """The prompt of a row ends with the instruction of its level of effort, as the teacher's did, so that a student
    learns to obey it. False leaves it out: then a student cannot be told how long to reason."""

    def license_of(self, source: str) -> str | None:
        """The declared licence of a source's problems."""
        licenses = self.source_licenses
        return licenses if isinstance(licenses, str) else licenses.get(source)


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

    def pair_verifier(self, arm: Arm) -> str | None:
        """The filter, by name, whose rejections are the wrong answers of an arm's preference pairs."""
        names = [filter.name() for filter in self.verdicts]
        named = arm.dpo.verifier if arm.dpo else None
        if named is not None:
            return named if named.partition(".")[0] in names else None
        return self.verifier.name() if self.verifier else None

    def teacher_of(self, arm: Arm) -> str | RecipeStudent | None:
        """The model whose probabilities an arm of method on_policy learns."""
        if arm.method != "on_policy":
            return None
        if arm.on_policy and arm.on_policy.teacher:
            return arm.on_policy.teacher
        teacher = self.trajectories.teacher
        return None if isinstance(teacher, Program) else teacher

    def others_of(self, arm: Arm) -> list[RecipeStudent]:
        """The students of other recipes that an arm needs."""
        return [model for model in (arm.base, self.teacher_of(arm)) if isinstance(model, RecipeStudent)]

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
    for name in ("refine", "hint_unsolved"):
        if getattr(recipe.trajectories, name) and not recipe.head:
            yield ("trajectories", name), "needs a filter of row scope at the head of verdicts, to say what is accepted"
    if recipe.trajectories.abort and not any(f.name() == "format" for f in recipe.verdicts):
        yield ("trajectories", "abort"), "needs the filter format in verdicts: it rejects samples that were ended"
    arms = recipe.student.arms if recipe.student else {}
    if not recipe.dataset and any(arm.method == "sft" and arm.rows == "kept" for arm in arms.values()):
        yield ("student",), "needs a dataset section, since students are trained on the dataset"
    held_out = recipe.problems is not None and recipe.problems.held_out > 0
    if recipe.report and not (held_out or recipe.report.benchmarks):
        yield ("report",), "needs problems.held_out of at least 1, or benchmarks: the problems that it measures on"
    if recipe.report and held_out and not recipe.verifier:
        yield ("report",), "needs a verify_* filter in verdicts, to judge answers with"
    for name, arm in arms.items():
        yield from _arm_misfits(name, arm, names)
        if recipe.student:
            yield from ((("student", "arms", name, "own"), misfit) for misfit in recipe.student.of(arm).misfits())
        yield from _method_misfits(recipe, ("student", "arms", name), arm)


def _arm_misfits(name: str, arm: Arm, filter_names: list[str]) -> Iterator[tuple[Place, str]]:
    place: Place = ("student", "arms", name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield place, "an arm's name is a folder's: up to 64 letters, digits, '.', '_' and '-'"
    choices = ["kept", "sampled", *(["problems"] if arm.method in ("grpo", "on_policy") else []), *filter_names]
    if arm.rows not in choices:
        close = difflib.get_close_matches(arm.rows, choices, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(choices)}"
        yield (*place, "rows"), f"{arm.rows!r} names neither rows nor a filter of the chain; {hint}"


def _method_misfits(recipe: Recipe, place: Place, arm: Arm) -> Iterator[tuple[Place, str]]:
    if arm.method == "dpo" and arm.rows != "kept":
        yield (*place, "rows"), "dpo takes its pairs from what the whole chain keeps; leave rows out"
    if arm.method == "dpo" and not recipe.pair_verifier(arm):
        yield (*place, "dpo"), "needs a verify_* filter in verdicts, or the name of another as its verifier"
    if arm.method == "on_policy" and not recipe.teacher_of(arm):
        yield place, "the trajectories have no model as their teacher; name one: on_policy: {teacher: …}"
    if arm.rows == "problems" and recipe.problems is None:
        yield (*place, "rows"), "an import has no problems of its own; name rows, such as sampled"
    if arm.grpo and recipe.student:
        yield from _grpo_misfits(recipe, place, arm, arm.grpo, recipe.student.of(arm))
    launch = recipe.student.launch if recipe.student else None
    if launch and launch.context_parallel > 1 and arm.method != "sft":
        yield (*place, "method"), f"{arm.method} goes without student.launch.context_parallel"
    if launch and launch.shard == "zero3" and arm.method in ("grpo", "on_policy"):
        yield (*place, "method"), f"{arm.method} goes with student.launch.shard: fsdp2 or none"


def _grpo_misfits(recipe: Recipe, place: Place, arm: Arm, grpo: Grpo, settings: Student) -> Iterator[tuple[Place, str]]:
    rows, at_once = settings.batch_rows, settings.batches_at_once
    if rows % (grpo.samples_per_prompt * at_once):  # each process compares whole groups
        processes = f" times the {at_once} processes of launch" if at_once > 1 else ""
        yield place, f"batch_rows {rows} is no multiple of samples_per_prompt {grpo.samples_per_prompt}{processes}"
    if arm.rope and grpo.beta:
        yield (*place, "rope"), "the reference of grpo's beta is the base as it is; set grpo.beta: 0, or leave rope out"
    try:
        rewards = grpo.reward_filters(recipe.verdicts)
    except filters.FilterError as error:
        yield (*place, "grpo", "rewards"), str(error)
        return
    for name, (filter, _) in rewards.items():
        if filter.wide:
            what = f"{filter.name()} compares rows, so it has no verdict on a single answer"
            yield (*place, "grpo", "rewards", name), what
