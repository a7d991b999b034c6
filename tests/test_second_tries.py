"""Rejected samples are mended and unsolved problems get a hint: in a fixed order, paid for once, and never in a row."""

import json
import random
from pathlib import Path

import polars as pl
import pytest
from test_asking import RECIPE
from test_sampler import Heard

from distill import Run, trajectories
from distill.asking import attempt
from distill.engines import Completion
from distill.engines.scripted import ScriptedEngine
from distill.journal import Journal, read_rows
from distill.ledger import Ledger
from distill.lineage import HINTED, ROOM, said
from distill.opinion import complaint
from distill.progress import Silent
from distill.recipe.file import RecipeError
from distill.recipe.trajectories import Trajectories, Until
from distill.run import make, open_run
from distill.sampler import sample
from distill.samples import JOURNAL, JOURNALED
from distill.trajectories import accepted_by, as_trajectories
from filters import Chain
from filters.format import Format
from filters.verify_math import VerifyMath

ROOT = Path(__file__).parents[1]
ANSWERS = {"a": "11", "b": "22", "c": "33", "d": "44", "e": "55"}
PROBLEMS = pl.DataFrame(
    {
        "problem_id": list(ANSWERS),
        "problem": [f"What is {name}?" for name in ANSWERS],
        "reference_answer": ["11", "22", "33", None, "55"],
        **dict.fromkeys(("domain", "source", "split"), "x"),
    },
    schema_overrides={"reference_answer": pl.String},
)
TRIES = {"refine": {"rounds": 2}, "hint_unsolved": {"samples": 3}}
HINT = "The final answer is"
COMPLAINT = "Your solution was checked and is not accepted"


class Pupil(ScriptedEngine):
    """Knows a at once, b when it is told twice, c when it is told the answer a second time; d nobody can check."""

    def __init__(self, stop_after=None, in_flight=2):
        self.requests, self.stop_after = {}, stop_after
        super().__init__(self.answer, name="pupil", in_flight=in_flight)

    def answer(self, request):
        if len(self.requests) == self.stop_after:
            raise KeyboardInterrupt
        assert request.request_id not in self.requests
        self.requests[request.request_id] = request
        name, number = request.request_id[0], int(request.request_id.partition("#")[2].rstrip("+"))
        right = name == "a" or (name == "b" and number == 2 * ROOM + 1) or (name == "c" and number == HINTED + 1)
        words = " ".join(f"w{n}" for n in range(20))
        return f"<think>\n{words} {number}\n</think>\n\nSo \\boxed{{{ANSWERS[name] if right else -number}}}."


def draw(folder, engine=None, problems=PROBLEMS, failed=0, **settings):
    settings = {"samples_per_problem": 2, "max_tokens": 99, **TRIES} | settings
    if "until" in settings:
        del settings["samples_per_problem"]
    section = Trajectories(teacher="pupil", **settings)
    ledger = Ledger()
    accepts = accepted_by([Format(), VerifyMath()], problems, "pupil", section) if section.judges else None
    with engine or Pupil() as opened:
        table = sample(
            opened, problems, section, folder, name="t", progress=Heard(), ledger=ledger, until=section.until,
            accepts=accepts,
        )  # fmt: skip
    assert (ledger.counts.pending, ledger.counts.failed) == (0, failed)
    return as_trajectories(table, problems, "pupil", section)


def numbers(table, problem_id):
    return table.filter(problem_id=problem_id)["sample"].to_list()


def test_a_problem_gets_what_it_needs_and_no_more(tmp_path):
    table = draw(tmp_path, engine := Pupil())
    assert numbers(table, "a") == numbers(table, "d") == [0, 1]
    assert numbers(table, "b") == [0, 1, ROOM, ROOM + 1, 2 * ROOM, 2 * ROOM + 1]
    assert numbers(table, "c")[-2:] == [HINTED, HINTED + 1]
    assert numbers(table, "e")[-3:] == [HINTED, HINTED + 1, HINTED + 2]
    assert len(engine.requests) == table.height
    assert set(table["samples_drawn"]) == {2}
    last = table.filter(problem_id="b").select("method", "parent").rows()[1:]
    assert last == [(None, None), ("refine", 0), ("refine", 1), ("refine", ROOM), ("refine", ROOM + 1)]
    assert table.filter(pl.col("sample") >= HINTED).select("method", "parent").unique().rows() == [("hint", None)]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (3, "#3"),
        (ROOM + 3, "#3 mended"),
        (2 * ROOM, "#0 mended twice"),
        (9 * ROOM, "#0 mended 9 times"),
        (HINTED + 1, "#1 hinted"),
    ],
)
def test_people_read_no_long_numbers(number, shown):
    assert said(number) == shown


def test_what_the_teacher_is_told(tmp_path):
    draw(tmp_path, engine := Pupil())
    plain, mended = engine.requests["b#1"].messages, engine.requests[f"b#{ROOM + 1}"].messages
    assert mended[:2] == (*plain, {"role": "assistant", "content": "So \\boxed{-1}."})
    assert mended[2]["content"].startswith(f"{COMPLAINT}. verify_math: wrong answer")
    assert mended[2]["content"].endswith("within \\boxed{}.")
    assert "22" not in mended[2]["content"]
    [hinted] = engine.requests[f"c#{HINTED}"].messages
    assert hinted["content"].startswith(f"What is c?\n\n{HINT} 33. ")
    draw(tmp_path / "itself", engine := Pupil(), refine={"by": "itself", "instruction": "Doubt."})
    assert engine.requests[f"b#{ROOM}"].messages[2]["content"].startswith("Doubt.\n\nPlease")


def test_until_counts_what_was_mended(tmp_path):
    table = draw(tmp_path, until=Until(accepted=2, max_samples=3))
    assert numbers(table, "a") == [0, 1]
    assert numbers(table, "b") == [0, 1, 2] + [ROOM + n for n in range(3)] + [2 * ROOM + n for n in range(3)]


@pytest.mark.parametrize("settings", [{}, {"max_tokens": 9, "on_length": {"continue": 60}}])
def test_what_is_sampled_depends_on_neither_order_nor_interruptions(tmp_path, settings):
    undisturbed = draw(tmp_path / "undisturbed", **settings)
    chance = random.Random(0)
    for in_flight in (1, 3, 7):
        folder, asked = tmp_path / f"run{in_flight}", []
        for _ in range(60):
            engine = Pupil(chance.randrange(9), in_flight)
            try:
                table = draw(folder, engine, **settings)
            except KeyboardInterrupt:
                asked += engine.requests
            else:
                asked += engine.requests
                break
        assert table.equals(undisturbed)
        assert len(asked) == len(set(asked))


def test_plain_samples_of_an_earlier_run_are_gone_on_from(tmp_path):
    before = draw(tmp_path, refine=None, hint_unsolved=None)
    table = draw(tmp_path, engine := Pupil())
    assert table.equals(draw(tmp_path / "other"))
    assert len(engine.requests) == table.height - before.height
    assert draw(tmp_path, Pupil(0), refine=None, hint_unsolved=None).equals(before)


def test_a_sample_damaged_on_disk_is_asked_again_and_what_follows_it_is_not(tmp_path):
    whole = draw(tmp_path / "whole")
    rows = read_rows(tmp_path / "whole" / JOURNAL, JOURNALED).collect()
    with Journal(tmp_path / JOURNAL, JOURNALED) as left:
        for row in rows.filter((pl.col("problem_id") != "b") | (pl.col("sample") != 1)).iter_rows(named=True):
            left.append(row)
    table = draw(tmp_path, engine := Pupil())
    assert table.equals(whole)
    assert [*engine.requests] == ["b#1"]


@pytest.mark.parametrize(("why", "again"), [("prompt_too_long", 0), ("server_gone", 7)])
def test_only_a_failure_that_can_get_better_is_asked_again(tmp_path, why, again):
    class Failing(Pupil):
        def answer(self, request):
            answered = super().answer(request)
            failed = Completion(request.request_id, "", f"failed:{why}", 9, 0)
            return answered if request.request_id in ("a#0", "a#1", "b#0", "c#0", "d#0", "e#0") else failed

    settings = {"refine": {}, "hint_unsolved": None}
    before = draw(tmp_path, Failing(), failed=7, **settings)
    assert numbers(before, "b") == [0, 1, ROOM]  # what has failed is not mended
    again_there = draw(tmp_path, engine := Failing(), failed=7, **settings)
    assert again_there.equals(before)
    assert len(engine.requests) == again


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>\nHm.\n</think>\n\n\\boxed{1}", "\\boxed{1}"),
        ("<think>\nHm.", None),  # it never came to an answer
        ("It is 1.", "It is 1."),
        ("<think>\nHm.\n</think>\n\n 1 </think><think> 2", "1  2"),
        ("<think>\nHm.\n</think>\n\n", None),
    ],
)
def test_of_a_solution_only_the_response_is_shown(text, shown):
    assert attempt(text) == shown


@pytest.mark.parametrize(
    ("response", "reference", "said"),
    [
        ("\\boxed{7}", "8", "verify_math: wrong answer (7)."),
        ("\\boxed{78}", "8", "verify_math: wrong answer."),  # the evidence holds the reference
        ("I give up.", "8", "verify_math: no answer."),
        ("\\boxed{8}", "8", None),
        ("\\boxed{8}", None, None),
        ("\\boxed{8}", "???", None),
    ],
)
def test_a_complaint_says_why_and_never_tells_the_reference(response, reference, said):
    row = {"problem": "p", "response": response, "reference_answer": reference, "reasoning": "r", "domain": "math"}
    table = pl.DataFrame([row], schema_overrides={"reference_answer": pl.String})
    judged = Chain([VerifyMath()]).judge(table)
    found = judged.select(complaint(judged)).item()
    assert found == (said and f"{COMPLAINT}. {said}")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(RECIPE)
    rows = [{"problem_id": n, "problem": f"What is {n}?", "reference_answer": a} for n, a in ANSWERS.items()]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(trajectories, "_open", lambda *arguments: Pupil())
    return tmp_path


def shown_in(dataset, *texts):
    """Which of the texts the rows of a dataset have anywhere."""
    rows = "".join(str(pl.read_parquet(file).to_dicts()) for file in dataset.rglob("*.parquet"))
    assert "What is " in rows
    return [text for text in texts if text in rows]


SET = ("problems.held_out=0", "trajectories.refine={rounds: 2}", "trajectories.hint_unsolved={samples: 3}")


def test_rows_ask_the_plain_question_and_say_how_they_came_to_be(folder):
    run = open_run("small.yaml", runs=folder / "runs", overrides=(*SET, "trajectories.samples_per_problem=2"))
    make(run, progress := Heard())
    assert "  method hint: 8 samples of 3 problems" in progress.lines
    assert repr(Run(run.folder).problem("b")).count(f"b #{2 * ROOM + 1} (refine of #{ROOM + 1})") == 1
    assert not shown_in(run.path("dataset"), HINT, COMPLAINT)
    rows = pl.read_parquet(run.path("dataset", "default"))
    for row in rows.iter_rows(named=True):
        assert row["messages"][0]["content"] == f"{row['problem']}\n\nBox it."
    assert rows.filter(pl.col("method").is_not_null()).select("id", "method", "parent").rows() == [
        (f"b-{2 * ROOM + 1}", "refine", ROOM + 1),
        (f"c-{HINTED + 1}", "hint", None),
    ]
    card = run.path("dataset", "README.md").read_text()
    assert "| samples by mending rejected ones (`refine`) | 16 of 34, 1 kept; the first solution" in card
    assert "(`hint`) | 8 of 34, 1 kept; the hint is not in the rows |" in card
    assert "`refine` for what mends a rejected sample (`parent` is its number)" in card
    rates = json.loads(run.path("dataset", "stats.json").read_text())["difficulty"]
    assert {rate["pass_rate"]: rate["problems"] for rate in rates} == {"0": 4, "1": 1}


def test_a_table_of_an_older_run_is_made_again_from_its_samples(folder, monkeypatch):
    run = open_run("small.yaml", runs=folder / "runs", overrides=("problems.held_out=0",))
    make(run, Silent())
    path = run.path("trajectories", "trajectories.parquet")
    now = run.trajectories()
    now.drop("method", "parent").write_parquet(path)
    monkeypatch.setattr(trajectories, "_open", lambda *arguments: Pupil(stop_after=0))
    make(run, Silent())
    assert run.trajectories().equals(now)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trajectories.hint_unsolved={instruction: Try.}"], "without {answer} there is no hint"),
        (["trajectories.refine={rounds: 0}"], "found 0"),
        (["trajectories.refine={}", "verdicts=[dedup_exact]"], "needs a filter of row scope"),
        (["trajectories.refine={}", "trajectories.teacher={program: arithmetic}"], "a program does not listen"),
        (["trajectories={import: {path: x.jsonl}, refine: {}}"], "an import has what it has"),
    ],
)
def test_wrong_keys_are_explained(folder, overrides, message):
    with pytest.raises(RecipeError) as error:
        open_run("small.yaml", runs=folder / "runs", overrides=tuple(overrides))
    assert message in str(error.value)


def test_a_cold_start_has_summaries_and_nothing_of_what_the_teacher_was_shown(folder, monkeypatch):
    def answer(request):
        text = next(m["content"] for m in reversed(request.messages) if m["content"].startswith("What is "))
        name, first = text[8], "#0" in request.request_id
        wrong = (name == "b" and first) or (name in "ce" and HINT not in text)  # one of them may be held out
        thoughts = "\n\n".join(f"Is {name}{n} {ord(name) * n}? {name * n}." for n in range(40))
        return f"<think>\n{thoughts}\n</think>\n\nIn short, it is \\boxed{{{0 if wrong else ANSWERS[name]}}}."

    monkeypatch.setattr(trajectories, "_open", lambda *arguments: ScriptedEngine(answer, name="chat"))
    overrides = ("problems={path: problems.jsonl, held_out: 1}", "trajectories.max_tokens=4096")
    run = open_run(ROOT / "recipes" / "cold_start.yaml", runs=folder / "runs", overrides=overrides)
    make(run, Silent(), until="dataset")
    rows = pl.read_parquet(run.path("dataset", "default"))
    assert rows["messages"].list.get(1).struct.field("content").str.contains("</think>\n\nIn short, it is").all()
    asked = rows["messages"].list.get(0).struct.field("content").to_list()
    assert asked == [f"{problem}\n\n{run.recipe.trajectories.instruction}" for problem in rows["problem"]]
    assert set(rows["method"]) == {None, "hint"}
    assert not shown_in(run.path("dataset"), run.recipe.trajectories.system[:40], "average speed", HINT, COMPLAINT)
