"""Like make: what is there and up to date is not made again, and a change re-makes what depends on it and no more."""

import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from distill import run as run_module
from distill.run import make, open_run
from distill.store import Run, RunError

RECIPE = """\
problems:
  arithmetic: {count: 12, steps: [1, 2]}
  held_out: 3
trajectories:
  teacher: {program: arithmetic, mistake_share: 0.5}
  samples_per_problem: 2
verdicts:
  - format
  - length: {min_tokens: 1, max_tokens: 300}
  - verify_math
  - dedup_exact
  - rejection_sampling: {keep: 1}
dataset:
  license: apache-2.0
"""


class Log:
    """Remembers which stages were made."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def task(self, name, total, *, done=0):
        from distill.progress import Silent

        return Silent().task(name, total, done=done)

    @property
    def made(self):
        return [line.split()[1].rstrip(":") for line in self.lines if ": done in" in line]


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def made(recipe: Path, *overrides: str, until: str | None = None) -> list[str]:
    log = Log()
    make(open_run(recipe, runs=recipe.parent / "runs", overrides=overrides), log, until=until)
    return log.made


def the_run(recipe: Path) -> Run:
    return open_run(recipe, runs=recipe.parent / "runs")


def test_the_second_run_makes_nothing(recipe):
    assert made(recipe) == ["problems", "trajectories", "verdicts", "dataset"]
    assert made(recipe) == []


def test_a_stage_makes_what_comes_before_it_and_no_more(recipe):
    assert made(recipe, until="trajectories") == ["problems", "trajectories"]
    assert made(recipe) == ["verdicts", "dataset"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("verdicts.length.max_tokens=40", ["verdicts", "dataset"]),
        ("trajectories.samples_per_problem=3", ["trajectories", "verdicts", "dataset"]),
        ("dataset.title=Sums", ["dataset"]),
        ("problems.arithmetic.count=13", ["problems", "trajectories", "verdicts", "dataset"]),
        ("trajectories.engine=vllm", ["trajectories"]),
    ],
)
def test_a_change_remakes_what_depends_on_it(recipe, override, expected):
    made(recipe)
    assert made(recipe, override) == expected


def test_more_samples_keep_those_that_are_there(recipe):
    made(recipe)
    before = the_run(recipe).trajectories()
    made(recipe, "trajectories.samples_per_problem=5")
    after = the_run(recipe).trajectories()
    columns = pl.exclude("samples_drawn")
    assert after.filter(pl.col("sample") < 2).select(columns).equals(before.select(columns))
    assert after["samples_drawn"].unique().to_list() == [5]


def test_a_changed_sampling_section_is_an_error_that_keeps_the_samples(recipe):
    made(recipe)
    with pytest.raises(RunError, match=r"temperature: was 0\.6, is 1\.0"):
        made(recipe, "trajectories.temperature=1.0")
    assert made(recipe) == []


def test_a_deleted_or_damaged_artifact_is_made_again(recipe):
    made(recipe)
    the_run(recipe).path("verdicts", "verdicts.parquet").unlink()
    assert made(recipe) == ["verdicts"]
    the_run(recipe).path("problems.parquet").write_bytes(b"")
    assert made(recipe) == ["problems"]


def test_every_row_is_accounted_for(recipe):
    made(recipe)
    run = the_run(recipe)
    judged = run.judged()
    funnel = pl.read_csv(run.path("verdicts", "funnel.csv"))
    fallen = funnel.filter(pl.col("outcome") != "keep")["rows"].sum()
    kept = pl.read_parquet(run.path("dataset", "default"))
    assert judged.height == 24 == fallen + kept.height
    assert run.manifest("verdicts")["facts"]["kept"] == kept.height
    assert not set(run.problems("train")["problem"]) & set(run.problems("held_out")["problem"])


def hold(folder, started, finish):
    with Run("small", folder, None).lock():
        started.set()
        finish.wait()


def test_a_second_writer_is_told_who_the_first_is(recipe):
    context = multiprocessing.get_context("spawn")
    started, finish = context.Event(), context.Event()
    other = context.Process(target=hold, args=(recipe.parent / "runs" / "small", started, finish))
    other.start()
    try:
        assert started.wait(20)
        with pytest.raises(RunError, match=f"is being written by process {other.pid} on "):
            made(recipe)
    finally:
        finish.set()
        other.join()
    assert made(recipe) != []


def test_an_interrupt_leaves_a_run_that_resumes(recipe, monkeypatch):
    import distill.verdicts

    def interrupt(run, progress):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(distill.verdicts, "make", interrupt)
        with pytest.raises(KeyboardInterrupt):
            made(recipe)
    assert made(recipe) == ["verdicts", "dataset"]


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "x" * 65])
def test_a_run_cannot_be_named_out_of_its_folder(recipe, name):
    with pytest.raises(RunError, match="cannot name a run"):
        Run(name, recipe.parent, None)


def test_stages_are_the_sections_of_a_recipe_in_order():
    from distill.recipe import Recipe

    assert [stage.name for stage in run_module.STAGES] == list(Recipe.model_fields)
