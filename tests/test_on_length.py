"""A truncated sample is gone on with where it was cut, or kept out; its tokens are paid for and counted once."""

import html
import json

import polars as pl
import pytest
from test_sampler import PROBLEMS, Heard

from distill import trajectories
from distill.engines.scripted import ScriptedEngine
from distill.ledger import Ledger, LimitError
from distill.opinion import Opinion
from distill.recipe.limits import Limits
from distill.recipe.trajectories import Trajectories, Until
from distill.run import make, open_run
from distill.sampler import sample
from distill.store import RunError
from distill.trajectories import as_trajectories

WORDS = {"a": 3, "b": 9, "c": 30}
"""How many words a whole answer has."""


class Writing(ScriptedEngine):
    """Writes so many words, notes what it is asked, and is interrupted where it is told."""

    def __init__(self, stop_after=None):
        self.requests, self.stop_after = [], stop_after
        super().__init__(self.answer, name="writer", in_flight=2)

    def answer(self, request):
        if len(self.requests) == self.stop_after:
            raise KeyboardInterrupt
        self.requests.append(request)
        return " ".join(f"{request.request_id[:3]}-{n}" for n in range(WORDS[request.request_id[0]]))


def draw(folder, on_length, engine=None, **more):
    section = Trajectories(teacher="writer", samples_per_problem=2, max_tokens=5, on_length=on_length)
    ledger = more.setdefault("ledger", Ledger())
    with engine or Writing() as opened:
        table = sample(opened, PROBLEMS, section, folder, name="t", progress=Heard(), **more)
    return table, ledger, section


CONTINUE = {"continue": 10}


def test_a_cut_sample_is_one_row_that_ends_as_the_second_part_does(tmp_path):
    engine = Writing()
    table, ledger, _ = draw(tmp_path, CONTINUE, engine)
    rows = table.select("problem_id", "finish_reason", "completion_tokens", "continued_at").unique(maintain_order=True)
    assert rows.rows() == [("a", "stop", 3, None), ("b", "stop", 9, 5), ("c", "length", 15, 5)]
    assert table["text"].str.split(" ").list.eval(pl.element().str.split("-").list.get(1)).to_list() == [
        [str(n) for n in range(count)] for count in (3, 3, 9, 9, 15, 15)
    ]
    second = [request for request in engine.requests if request.prefix]
    assert len(engine.requests) == 6 + len(second) == 10
    assert {request.max_tokens for request in second} == {10}
    assert ledger.spent.completion_tokens == table["completion_tokens"].sum()


def test_it_goes_on_where_it_was_interrupted_and_asks_nothing_twice(tmp_path):
    undisturbed = draw(tmp_path / "undisturbed", CONTINUE)[0]
    asked = []
    for stop_after in (1, 4, 3):
        engine = Writing(stop_after)
        with pytest.raises(KeyboardInterrupt):
            draw(tmp_path / "run", CONTINUE, engine)
        asked += engine.requests
    last = Writing()
    table, ledger, _ = draw(tmp_path / "run", CONTINUE, last)
    assert table.equals(undisturbed)
    assert ledger.spent.completion_tokens == table["completion_tokens"].sum()
    nothing = Writing()
    assert draw(tmp_path / "run", CONTINUE, nothing)[0].equals(undisturbed)
    assert nothing.requests == []


def test_first_parts_of_a_run_that_did_not_continue_are_gone_on_with(tmp_path):
    before, engine = draw(tmp_path, "judge")[0], Writing()
    assert before["finish_reason"].to_list() == ["stop", "stop"] + ["length"] * 4
    assert draw(tmp_path, CONTINUE, engine)[0].equals(draw(tmp_path / "other", CONTINUE)[0])
    assert len(engine.requests) == 4
    assert all(request.prefix for request in engine.requests)
    assert draw(tmp_path, "judge")[0].equals(before)


def test_both_parts_are_drawn_from_another_run(tmp_path):
    whole = draw(tmp_path / "first" / "trajectories", CONTINUE)[0]
    engine = Writing()
    table, ledger, _ = draw(tmp_path / "second", CONTINUE, engine, draw_on=[str(tmp_path / "first")])
    assert table.equals(whole)
    assert (engine.requests, ledger.spent.samples) == ([], 0)


def test_until_judges_the_whole(tmp_path):
    accepts = lambda rows: [Opinion(reason == "stop") for reason in rows["finish_reason"]]  # noqa: E731
    until = Until(accepted=1, max_samples=3)
    table = draw(tmp_path, CONTINUE, until=until, accepts=accepts)[0]
    assert table["problem_id"].to_list() == ["a", "b", "c", "c", "c"]


@pytest.mark.parametrize(("on_length", "left"), [("judge", "aabbcc"), ("keep_out", "aa"), (CONTINUE, "aabbcc")])
def test_what_is_kept_out_is_no_trajectory(tmp_path, on_length, left):
    table, _, section = draw(tmp_path, on_length)
    problems = PROBLEMS.with_columns(pl.lit(None).alias(n) for n in ("reference_answer", "domain", "source", "split"))
    rows = as_trajectories(table, problems, "t", section)
    assert "".join(rows["problem_id"]) == left
    then = on_length | {"then": "keep_out"} if on_length == CONTINUE else on_length
    rows = as_trajectories(
        table,
        problems,
        "t",
        section.model_validate(section.model_dump(by_alias=True, exclude_unset=True) | {"on_length": then}),
    )
    assert "".join(rows["problem_id"]) == left.removesuffix("cc" if then != "judge" else "")


def test_an_engine_that_cannot_go_on_is_refused_before_anything_is_asked(tmp_path):
    class Unable(Writing):
        def check_continues(self):
            raise RunError("the server does not continue")

    engine = Unable()
    with pytest.raises(RunError, match="does not continue"):
        draw(tmp_path, CONTINUE, engine)
    assert engine.requests == []


@pytest.mark.parametrize("limit", [1, 20, 35, 43])
def test_a_limit_stops_between_the_parts_and_a_raised_one_goes_on(tmp_path, limit):
    undisturbed = draw(tmp_path / "undisturbed", CONTINUE)[0]
    engine, ledger = Writing(), Ledger(Limits(max_tokens=limit))
    with pytest.raises(LimitError, match="max_tokens"):
        draw(tmp_path / "run", CONTINUE, engine, ledger=ledger)
    assert ledger.spent.completion_tokens <= limit + 10  # the first sample is asked for before any is known
    assert ledger.counts.ok + ledger.counts.pending == ledger.counts.requested
    last = Writing()
    table, ledger, _ = draw(tmp_path / "run", CONTINUE, last, ledger=Ledger(Limits(max_tokens=1000)))
    assert table.equals(undisturbed)
    assert len(engine.requests) + len(last.requests) == 10
    assert ledger.spent.completion_tokens == table["completion_tokens"].sum()


@pytest.mark.parametrize(
    ("on_length", "finished", "judged", "kept_out"),
    [
        ("{continue: 40}", 10, 0, 0),
        ("{continue: 5, then: keep_out}", 0, 0, 10),
        ("{continue: 5}", 0, 10, 0),
        ("keep_out", 0, 0, 10),
    ],
)
def test_the_card_says_what_became_of_cut_samples(tmp_path, monkeypatch, on_length, finished, judged, kept_out):
    def answer(request):
        a, b = request.messages[-1]["content"].partition("?")[0].split(" + ")
        thought = "so " * (30 if request.request_id.rstrip("+")[-1] in "13" else 3)
        return f"<think>\n{thought}\n</think>\n\n\\boxed{{{int(a) + int(b)}}}"

    monkeypatch.setattr(trajectories, "_open", lambda *arguments: ScriptedEngine(answer, name="adder"))
    (tmp_path / "sums.jsonl").write_text(
        "".join(json.dumps({"problem": f"{n} + 1?", "reference_answer": str(n + 1)}) + "\n" for n in range(5))
    )
    (tmp_path / "sums.yaml").write_text(
        f"problems: {{path: {tmp_path}/sums.jsonl}}\n"
        f"trajectories: {{teacher: adder, max_tokens: 20, on_length: {on_length}}}\n"
        "verdicts: [verify_math]\ndataset: {license: mit}\n"
    )
    run = open_run(tmp_path / "sums.yaml", runs=tmp_path)
    make(run, Heard())
    card = html.unescape(run.path("dataset", "README.md").read_text())
    for what, count in {"continued to their end": finished, "judged": judged, "kept out": kept_out}.items():
        assert f"| trajectories.truncated.{what} | {count} |" in card
