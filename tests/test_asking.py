"""What a teacher is shown beyond the problem, and that no dataset row tells of it."""

import json
from pathlib import Path

import polars as pl
import pytest

from distill import trajectories
from distill.asking import effort, same_problems
from distill.engines.scripted import ScriptedEngine
from distill.progress import Silent
from distill.recipe.file import RecipeError
from distill.recipe.strategies import Example, Strategies
from distill.recipe.trajectories import Trajectories
from distill.run import make, open_run
from distill.sampler import sample
from distill.store import RunError

PROBLEMS = pl.DataFrame({"problem_id": ["a", "b"], "problem": ["1 + 1?", "2 + 2?"]})
EXAMPLE = {"problem": "Secret 5 + 5?", "reasoning": "Secret thoughts.", "response": "\\boxed{10}"}
EFFORT = {"short": {"max_tokens": 20, "instruction": "Think briefly."}, "long": {"max_tokens": 400}}
RECIPE = """\
problems: {path: problems.jsonl, held_out: 1}
trajectories:
  teacher: scripted
  samples_per_problem: 4
  instruction: Box it.
verdicts: [verify_math]
dataset: {license: mit}
"""


class Asked(ScriptedEngine):
    """Adds up, and keeps every request."""

    def __init__(self):
        self.requests = {}
        super().__init__(self.answer, name="adder")

    def answer(self, request):
        self.requests[request.request_id] = request
        a, b = request.messages[-1]["content"].partition("?")[0].split(" + ")
        return f"<think>\n{'so ' * 30}\n</think>\n\n\\boxed{{{int(a) + int(b)}}}"


def draw(folder, **settings):
    engine = Asked()
    section = Trajectories(teacher="adder", **{"samples_per_problem": 2, "instruction": "Box it."} | settings)
    table = sample(engine, PROBLEMS, section, folder, name="t", progress=Silent())
    return table, engine.requests


def run_of(folder: Path, *overrides: str):
    return open_run(folder / "small.yaml", runs=folder / "runs", overrides=overrides)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    rows = [{"problem": f"{n} + {n}?", "reference_answer": str(2 * n)} for n in range(6)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(trajectories, "_open", lambda *arguments: Asked())
    return tmp_path


def test_examples_and_a_system_prompt_come_before_the_question(tmp_path):
    _, requests = draw(tmp_path, system="Reflect.", examples=[EXAMPLE])
    assert requests["b#1"].messages == (
        {"role": "system", "content": "Reflect."},
        {"role": "user", "content": "Secret 5 + 5?\n\nBox it."},
        {"role": "assistant", "content": "<think>\nSecret thoughts.\n</think>\n\n\\boxed{10}"},
        {"role": "user", "content": "2 + 2?\n\nBox it."},
    )


@pytest.mark.parametrize("change", [{"system": "Verify."}, {"examples": [EXAMPLE]}, {"effort": EFFORT}])
def test_what_a_teacher_is_shown_is_part_of_the_settings(tmp_path, change):
    draw(tmp_path)
    assert not {"system", "examples", "effort"} & json.loads((tmp_path / "sampling.json").read_text()).keys()
    with pytest.raises(RunError, match=next(iter(change))):
        draw(tmp_path, **change)


def test_the_samples_of_a_problem_take_the_levels_of_effort_in_turn(tmp_path):
    table, requests = draw(tmp_path, effort=EFFORT, samples_per_problem=4)
    for problem_id in "ab":
        budgets = [requests[f"{problem_id}#{n}"].max_tokens for n in range(4)]
        assert sorted(budgets) == [20, 20, 400, 400]
        assert budgets[:2] == budgets[2:]
    for request in requests.values():
        said = "Box it.\nThink briefly." if request.max_tokens == 20 else "Box it."
        assert request.messages[-1]["content"].endswith(f"?\n\n{said}")
        assert request.room_tokens == 400
    assert set(table["finish_reason"]) == {"stop", "length"}
    section = Trajectories(teacher="adder", effort=EFFORT)
    assert {effort(section, f"p{n}", 0) for n in range(20)} == {"short", "long"}


def test_dataset_rows_say_the_effort_and_never_what_else_the_teacher_was_shown(folder):
    (folder / "examples.jsonl").write_text(json.dumps(EXAMPLE) + "\n" + json.dumps({"problem": "Q", "response": "R"}))
    shown = ("trajectories.examples=examples.jsonl", "trajectories.system=Secret system")
    levels = "trajectories.effort={brief: {max_tokens: 90, instruction: Briefly.}, free: {max_tokens: 99}}"
    for said in ("true", "false"):
        run = run_of(folder, *shown, levels, f"dataset.effort_in_prompt={said}")
        make(run, Silent())
        rows = pl.read_parquet(run.path("dataset", "default"))
        assert rows.height == 20
        asked = rows["messages"].list.get(0).struct.field("content").str.split("\n\n").list.get(1)
        expected = {"brief": "Box it.\nBriefly." if said == "true" else "Box it.", "free": "Box it."}
        assert asked.to_list() == [expected[level] for level in rows["effort"]]
        assert set(rows["effort"]) == {"brief", "free"}
        for file in run.path("dataset").rglob("*.*"):
            text = str(pl.read_parquet(file).to_dicts()) if file.suffix == ".parquet" else file.read_text()
            assert "Secret" not in text, file
        chats = pl.read_parquet(run.path("dataset", "prompt_completion"))["prompt"].list.get(0).struct.field("content")
        assert chats.to_list() == rows["messages"].list.get(0).struct.field("content").to_list()
    card = run.path("dataset", "README.md").read_text()
    assert "| effort brief | 90 tokens, Briefly. |" in card
    assert "of the teacher only, not in the rows" in card


def test_a_changed_file_of_examples_is_noticed(folder):
    (folder / "examples.jsonl").write_text(json.dumps(EXAMPLE))
    make(run_of(folder, "trajectories.examples=examples.jsonl"), Silent())
    (folder / "examples.jsonl").write_text(json.dumps(EXAMPLE | {"response": "\\boxed{11}"}))
    with pytest.raises(RunError, match=r"examples: was .*boxed\{10}.*, is .*boxed\{11}"):
        make(run_of(folder, "trajectories.examples=examples.jsonl"), Silent())


def test_a_problem_that_is_an_example_is_not_sampled_and_a_held_out_one_is_refused(folder):
    def example(problem):
        return f"trajectories.examples=[{{problem: '{problem}', response: x}}]"

    make(run_of(folder), Silent(), until="problems")
    split = {s: run_of(folder).problems(s)["problem"].to_list() for s in ("train", "held_out")}
    make(run_of(folder, example(split["train"][0])), Silent())
    assert set(run_of(folder).trajectories()["problem"]) == set(split["train"][1:])
    with pytest.raises(RunError, match="1 of them are held-out problems"):
        make(run_of(folder, example(split["held_out"][0])), Silent())


def test_case_and_white_space_do_not_make_a_problem_another():
    problems = pl.DataFrame({"problem": ["what is\n1 + 1?", "What is 1 + 2?"]})
    examples = [Example(problem=" What  is 1 + 1? ", response="2")]
    assert same_problems(examples, problems).to_list() == [True, False]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trajectories.examples=no.jsonl", "no such file"),
        ("trajectories.examples=[{problem: p}]", "trajectories.examples[0].response: required"),
        ("trajectories.effort={short: {}}", "trajectories.effort.short.max_tokens: required"),
        ("trajectories.effort={short: {max_tokens: 0}}", "found 0"),
        ("trajectories={teacher: x, max_tokens: 9, effort: {short: {max_tokens: 9}}}", "one of max_tokens and effort"),
    ],
)
def test_wrong_keys_are_explained(folder, override, message):
    with pytest.raises(RecipeError) as error:
        run_of(folder, override)
    assert message in str(error.value)


def test_an_example_in_a_file_without_an_answer_is_told_with_its_place(folder):
    (folder / "examples.jsonl").write_text('{"problem": "p", "response": "r"}\n{"problem": "p"}\n')
    with pytest.raises(ValueError, match=r"examples.jsonl: example 2: response: .*expected problem, response"):
        make(run_of(folder, "trajectories.examples=examples.jsonl"), Silent())


def test_examples_must_be_read_before_they_are_shown():
    with pytest.raises(TypeError):
        _ = Strategies(examples="somewhere.jsonl").shown
