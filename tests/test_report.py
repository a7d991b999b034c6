"""The report: benchmarks as their authors publish them, every sample judged, scores with intervals, examples."""

import io
import json
import runpy
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import CliRunner

from distill import hub, problems, report, sampler
from distill.cli import app
from distill.engines.scripted import ScriptedEngine
from distill.hub.repo import HubError
from distill.metrics import pass_at_k
from distill.progress import Silent
from distill.recipe import Recipe
from distill.recipe.report import Report
from distill.report import scores
from distill.report.benchmarks import KNOWN, problem_sets, samples_for
from distill.report.words import show_scores
from distill.store import Run, RunError, write_text

BASE = {
    "problems": {"arithmetic": {"count": 2}},
    "trajectories": {"teacher": {"program": "arithmetic"}},
    "verdicts": ["format", "verify_math"],
}


def run_of(tmp_path, **sections) -> Run:
    return Run("r", tmp_path / "runs/r", Recipe.model_validate({**BASE, **sections}))


def write_rows(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


# --- benchmarks -------------------------------------------------------------------------------------------------------

GPQA = {
    "Question": "Which is red?",
    "Correct Answer": "blood",
    "Incorrect Answer 1": "sky",
    "Incorrect Answer 2": "grass",
    "Incorrect Answer 3": "snow",
}
HUMANEVAL = {
    "prompt": 'def add(a, b):\n    """The sum."""\n',
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(2, 2) == 4",
}
IFEVAL = {
    "prompt": "Say it without commas.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{"num_words": None}],
}


@pytest.mark.parametrize(
    ("name", "row", "right", "wrong"),
    [
        ("gsm8k", {"question": "2 + 2?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"}, r"\boxed{4}", r"\boxed{5}"),
        ("math500", {"problem": "Half?", "answer": "\\frac{1}{2}", "level": 3}, r"\boxed{0.5}", r"\boxed{2}"),
        ("aime24", {"problem": "1 + 1?", "answer": "002"}, r"\boxed{2}", "I do not know."),
        ("aime25", {"problem": "1 + 1?", "answer": 2}, r"\boxed{2}", r"\boxed{20}"),
        ("gpqa_diamond", GPQA, "The answer is blood.", "The answer is sky."),
        (
            "humaneval",
            HUMANEVAL,
            "```python\ndef add(a, b):\n    return a + b\n```",
            "```python\ndef add(a, b): 1\n```",
        ),
        ("ifeval", IFEVAL, "It is said.", "It, is said."),
    ],
)
def test_each_named_benchmark_is_judged_by_its_verifier(tmp_path, monkeypatch, name, row, right, wrong):
    read = []

    def from_hub(table, where):
        read.append(table)
        return pl.DataFrame([row]), {"dataset": table.dataset, "commit": "c"}

    monkeypatch.setattr(hub, "_read_hub", from_hub)
    [asked] = problem_sets(run_of(tmp_path, report={"benchmarks": [name]}))
    assert read == [KNOWN[name].table]
    assert (asked.name, asked.source["commit"]) == (name, "c")
    assert asked.verifier.unverifiable(asked.problems).to_list() == [None]
    rows = pl.concat([asked.problems] * 2).with_columns(
        response=pl.Series([right, wrong]), reasoning=pl.lit(None, pl.String)
    )
    verdicts = rows.select(asked.verifier.verdict().struct.field("outcome").cast(pl.String)).to_series().to_list()
    assert verdicts == ["keep", "reject"]


@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("gsm8k", "problems/gsm8k_test", 1319),
        ("math500", "problems/math500", 500),
        ("aime24", "problems/aime24_qwen2.5math", 30),
        ("aime25", "problems/aime25_nemo", 30),
        ("ifeval", "problems/ifeval", 541),
        ("humaneval", "code/humaneval", 164),
    ],
)
def test_real_files_are_read_whole_and_can_be_judged(shared_data, tmp_path, name, file, rows):
    benchmark = {"name": name, "path": str(shared_data / f"{file}.jsonl")}
    [asked] = problem_sets(run_of(tmp_path, report={"benchmarks": [benchmark]}))
    assert asked.problems.height == rows
    assert asked.settings.samples_per_problem == samples_for(rows)
    assert asked.verifier.unverifiable(asked.problems).null_count() == rows


def test_a_gated_benchmark_names_the_cure(tmp_path, monkeypatch):
    def refused(table, where):
        raise HubError(f"{where}: cannot load {table.dataset}: it is gated.")

    monkeypatch.setattr(hub, "_read_hub", refused)
    with pytest.raises(HubError, match=r"gpqa_diamond.*accept its terms on its page, log in with `hf auth login`"):
        list(problem_sets(run_of(tmp_path, report={"benchmarks": ["gpqa_diamond"]})))
    with pytest.raises(HubError, match=r"it is gated\.$"):
        list(problem_sets(run_of(tmp_path, report={"benchmarks": ["aime24"]})))


def test_options_of_gpqa_are_in_an_order_that_does_not_tell_the_right_one(tmp_path):
    rows = [{**GPQA, "Question": f"Which is red, {number}?"} for number in range(40)]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    [asked] = problem_sets(run_of(tmp_path, report={"benchmarks": [{"name": "gpqa_diamond", "path": path}]}))
    letters = asked.problems["reference_answer"].value_counts()
    assert letters.height == 4
    assert letters["count"].max() < 20


def test_a_file_of_ones_own_needs_columns_that_are_there(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [{"frage": "1 + 1?", "antwort": "2"}])
    with pytest.raises(
        RunError, match=r"no column 'problem' among frage, antwort; name theirs with columns: \{problem"
    ):
        list(problem_sets(run_of(tmp_path, report={"benchmarks": [{"name": "own", "path": path}]})))
    columns = {"problem": "frage", "reference_answer": "antwort"}
    own = {"name": "own", "path": path, "columns": columns, "verifier": {"verify_math": {"units": "require"}}}
    [asked] = problem_sets(run_of(tmp_path, report={"benchmarks": [own]}))
    assert asked.verifier.units == "require"
    assert asked.settings.samples_per_problem == 64


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ({"benchmarks": ["aime24", "aime24"]}, "aime24 stands there already"),
        ({"benchmarks": [{"name": "own"}]}, "give exactly one of path, dataset"),
        ({"benchmarks": ["aime26"]}, "aime24"),
        ({"benchmarks": ["aime24"], "published": [{"name": "x", "scores": {"aime25": {"pass@1": 0.1}}}]}, "none of"),
        ({"benchmarks": ["aime24"], "published": [{"name": "x", "scores": {"aime24": {"cons@64": 0.1}}}]}, "pass@1"),
        ({"benchmarks": ["aime24"], "published": [{"name": "x", "scores": {"aime24": {"pass@1": 28.9}}}]}, "less"),
    ],
)
def test_a_wrong_section_is_told(report, message):
    with pytest.raises(ValueError, match=message):
        Report.model_validate(report)


# --- the stage --------------------------------------------------------------------------------------------------------

SECTIONS = {
    "problems": {"arithmetic": {"count": 2, "steps": [1, 2]}, "held_out": 30},
    "dataset": {"license": "mit", "source_licenses": "mit", "teacher_license": "mit"},
    "student": {
        "arms": {"good": {"base": "the/base", "license": "mit"}, "poor": {"base": "the/base", "rows": "sampled"}}
    },
    "report": {
        "samples_per_problem": 4,
        "instruction": "",
        "published": [{"name": "Theirs", "source": "a paper", "scores": {"held_out": {"pass@1": 0.1, "cons@4": 0.2}}}],
    },
}
RIGHT = {"base": 0, "poor": 1, "good": 3, "teacher": 4}
"""Of every 4 samples of a problem."""


def answering(run):
    """In the place of `open_engine`: models that are right as often as `RIGHT` says."""
    gold = dict(run.problems().select("problem", "reference_answer").iter_rows())

    def opened(engine, model, **settings):
        name = model.rpartition("/")[2]

        def answer(request):
            number = int(request.request_id.partition("#")[2])
            right = number < RIGHT[name]
            problem = request.messages[-1]["content"]
            return f"<think>\nso\n</think>\n\n\\boxed{{{gold[problem] if right else 12345}}}"

        return ScriptedEngine(answer, name=model)

    return opened


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Iterator[tuple[Run, dict]]:
    """A run with its report."""
    run = run_of(tmp_path_factory.mktemp("report"), **SECTIONS)
    problems.make(run, Silent())
    for place, name in enumerate(("good", "poor")):
        facts = {"key": "k", "base": "the/base", "base_name": "base", "rows": 10 + place}
        write_text(run.path("student", name, "made.json"), json.dumps(facts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "open_engine", answering(run))
        report.make(run, Silent(), teacher="a/teacher")
        yield run, json.loads(run.path("report", "report.json").read_text())


def test_scores_are_those_of_the_samples(made):
    [held_out] = made[1]["sets"]
    rows = {row["name"]: row for row in held_out["models"]}
    assert {name: row["pass@1"]["value"] for name, row in rows.items()} == {
        "teacher": 1.0,
        "base base": 0.0,
        "good": 0.75,
        "poor": 0.25,
    }
    assert set(rows["poor"]["pass@k"]) == {"2", "4"}
    assert rows["poor"]["pass@k"]["2"]["value"] == pytest.approx(pass_at_k([4], [1], 2)[0])
    assert rows["good"]["cons@k"]["value"] == 1.0
    assert rows["poor"]["cons@k"]["value"] == 0.0
    assert rows["good"]["formatted_share"]["value"] == 1.0
    assert rows["good"]["truncated_share"]["value"] == rows["good"]["mixed_share"]["value"] == 0.0


def test_samples_that_are_judged_a_few_at_a_time_make_the_same_report(made, monkeypatch):
    run, heights = made[0], []

    def graded(samples, *others):
        heights.append(samples.height)
        return scores.graded(samples, *others)

    monkeypatch.setattr(report, "open_engine", answering(run))
    monkeypatch.setattr(report, "graded", graded)
    monkeypatch.setattr(sampler, "BATCH_ROWS", 40)
    files = [run.path("report", name) for name in ("report.json", "problems.parquet", "examples.jsonl")]
    before = [file.read_bytes() for file in files]
    report.make(run, Silent(), teacher="a/teacher")
    assert [file.read_bytes() for file in files] == before
    assert max(heights) <= 40
    assert sum(heights) == 4 * 4 * 30


def test_what_is_larger_than_chance_is_said(made):
    [held_out] = made[1]["sets"]
    says = [comparison["says"] for comparison in held_out["comparisons"]]
    assert says[0].startswith("distilling base base into good helped: +0.75")
    assert says[-1].startswith("training on the kept rows (10) rather than the unfiltered rows (11) helped: +0.50")
    [other] = held_out["published"]
    assert other["differences"][0]["says"].startswith("good is above the published Theirs on held_out: +0.65")


def test_difficulty_is_the_teachers_and_examples_are_of_different_problems(made):
    run, data = made
    [band] = data["sets"][0]["difficulty"]
    assert (band["name"], band["problems"]) == ("solves all", 30)
    assert [model["name"] for model in band["models"]] == ["base base", "good", "poor"]
    rows = [json.loads(line) for line in run.path("report", "examples.jsonl").read_text().splitlines()]
    for name in ("good", "poor"):
        for outcome in ("solved", "failed"):
            shown = [row for row in rows if (row["model"], row["outcome"]) == (name, outcome)]
            assert len({row["problem_id"] for row in shown}) == len(shown) == 20
            assert {row["verdict_verify_math"]["outcome"] == "keep" for row in shown} == {outcome == "solved"}


def test_the_task_file_asks_lighteval_the_same(made, monkeypatch):
    """With stand-ins for lighteval's classes, which is not installed here: what the file hands to them."""
    folder = made[0].path("report", "lighteval")
    metrics = SimpleNamespace(avg_at_n_math=lambda **given: given, pass_at_k_math=lambda **given: given)
    for module, named in (
        ("lighteval.metrics.metrics", {"Metrics": metrics}),
        ("lighteval.tasks.lighteval_task", {"LightevalTaskConfig": SimpleNamespace}),
        ("lighteval.tasks.requests", {"Doc": SimpleNamespace}),
    ):
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**named))
    [task] = runpy.run_path(str(folder / "tasks.py"))["TASKS_TABLE"]
    assert (task.name, task.hf_repo) == ("distill_held_out", str(folder / "held_out"))
    assert task.metrics[0] == {"sample_params": {"n": 4}}
    rows = [json.loads(line) for line in (folder / "held_out" / "test.jsonl").read_text().splitlines()]
    held_out = made[0].problems("held_out")
    docs = [task.prompt_function(row) for row in rows]
    assert [doc.query for doc in docs] == held_out["problem"].to_list()
    assert [doc.choices for doc in docs] == [[answer] for answer in held_out["reference_answer"]]


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (("r:good", "r:poor"), "A is better"),
        (("r:poor", "r:good"), "B is better"),
        (("r:good", "r:good"), "the difference may be chance. 30 problems show one of about 0.11 or more"),
        (("r:teacher", "r:base base"), "+1.000"),
        (("r", "r"), "which models? r has good, poor, and r has good, poor; name one of each, such as r:good r:poor"),
        (("r:god", "r:poor"), "has no model 'god'; it has teacher, base base, good, poor"),
        (("s:good", "r:good"), "no run 's'"),
    ],
)
def test_two_models_are_compared(made, sides, said):
    run = made[0]
    run.write_manifest("report", {})
    result = CliRunner().invoke(app, ["compare", *sides, "--runs", str(run.folder.parent)])
    assert said in " ".join(result.output.split())
    assert max(map(len, result.output.splitlines())) <= 80


def test_it_is_told_in_words(made):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    for part in show_scores(made[1]):
        console.print(part)
    text = console.export_text()
    assert "Held-out problems: 30, 4 samples of each" in text
    assert "Theirs (published)" in text
    assert "0.250 0.25-0.25" in text


def test_it_is_on_the_card_of_a_student(made, monkeypatch):
    from distill.push import model

    monkeypatch.setattr(model, "check_made", lambda run, stage: None)
    made[0].path("dataset").mkdir()
    made[0].path("dataset", "stats.json").write_text('{"sources": []}')
    text = model.model_parcel(made[0], "good", "me/good", origin=None).card
    for part in (
        "base_model: the/base\n",
        "### Held-out problems\n\n30 problems, 4 samples of each, none of which the students were trained on.",
        "| good | 10 | 0.750 | 0.750 to 0.750 | 1.000 | 1.000 |",
        "- distilling base base into good helped: +0.75",
        "- good is above the published Theirs on held_out",
    ):
        assert part in text, part
    assert "- distilling base base into poor" not in text
