"""What is told while a run samples: how far it is and what is left, foreseen by playing the rest of it."""

import json
import random
from concurrent.futures import Future

import polars as pl
import pytest

from distill import judging, outlook, sampler
from distill.engines.scripted import ScriptedEngine
from distill.lineage import ROOM
from distill.metrics import Estimate
from distill.opinion import Opinion
from distill.outlook import keep_plan
from distill.progress import Lines, Silent
from distill.recipe.trajectories import Generation, Trajectories, Until
from distill.vote import Ballot
from distill.watch import Watch

PROBLEMS = pl.DataFrame({"problem_id": [f"p{n}" for n in range(300)], "problem": ["?"] * 300})

SETTINGS = Generation(samples_per_problem=3, max_tokens=100)
MENDING = Trajectories(teacher="script", samples_per_problem=3, max_tokens=100, refine={"rounds": 2})


class Told(Silent):
    """Keeps what is told of the time left, and when, and the lines."""

    def __init__(self, clock):
        self.lines, self.left, self.clock = [], [], clock

    def say(self, line):
        self.lines.append(line)

    def task(self, name, total, *, done=0):
        from contextlib import nullcontext

        def advance(units, note="", left_s=None):
            self.left.append((self.clock(), left_s))
            self.note = note

        return nullcontext(advance)


class AtOnce:
    """Judges before it goes on, so that no forecast depends on how fast threads are."""

    def __init__(self, *_, **__):
        pass

    def submit(self, call, *args):
        done = Future()
        done.set_result(call(*args))
        return done

    def shutdown(self):
        pass


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Samples of problems from hopeless to easy; each takes a second for a token, one at a time."""
    now = [0.0]
    monkeypatch.setattr(sampler, "Watch", lambda: Watch(lambda: now[0]))
    monkeypatch.setattr(outlook, "FIRST_S", 7000.0)
    monkeypatch.setattr(judging, "APART_S", 0.0)  # of the real clock
    monkeypatch.setattr(judging, "ThreadPoolExecutor", AtOnce)

    def answer(request):
        problem = int(request.request_id[1:].partition("#")[0])
        chance = random.Random(request.seed)
        mends = len(request.messages) > 1
        right = chance.random() < (0.4 if mends else problem * 37 % 100 / 100)
        words = chance.randrange(5, 15) + (0 if right else 10) + 40 * mends
        now[0] += words
        return "word " * (words - 1) + ("right" if right else "wrong")

    def drawn(settings=SETTINGS, **takes):
        told = Told(lambda: now[0])
        with ScriptedEngine(answer, name="script") as engine:
            table = sampler.sample(engine, PROBLEMS, settings, tmp_path, name="t", progress=told, **takes)
        return told, table, now[0]

    return drawn


def accepts(completions: pl.DataFrame) -> list[Opinion]:
    right = [text.endswith("right") for text in completions["text"]]
    return [Opinion(each, complaint="" if each else "It is wrong.") for each in right]


def numbers(line: str) -> list[float]:
    words = line.replace(",", "").replace(" - ", " ").split()
    return [float(word) for word in words if word.isdigit()]


def test_what_is_left_is_foreseen_and_told_beside_the_plan(drawn, tmp_path):
    keep_plan(tmp_path, {"samples": Estimate(900.0, 700.0, 1100.0)})
    told, table, seconds = drawn(until=Until(accepted=2, max_samples=8), accepts=accepts)
    title, samples, tokens, accepted, solved, left = told.lines
    assert title.endswith("as planned")
    right = table.filter(pl.col("text").str.ends_with("right"))
    truth = (table.height, table["completion_tokens"].sum(), right.height, right["problem_id"].n_unique())
    for true, line in zip(truth, (samples, tokens, accepted, solved), strict=True):
        _, low, high, *planned = numbers(line)
        assert low <= true <= high, line
        assert planned == ([700, 1100] if line is samples else [])
    assert " h " in left
    assert max(map(len, told.lines)) <= 80
    assert told.left[0][1] is None, "nothing is foreseen from a sample or two"
    when, left_s = next(each for each in told.left if each[0] > seconds / 2)
    assert left_s == pytest.approx(seconds - when, rel=0.3)
    assert f"{right.height} accepted, {truth[3]} solved, " in told.note
    assert f"{1000 * right.height / truth[1]:.3g} accepted per 1k tokens, 1 tokens/s, {truth[1]:,} tokens" in told.note


def test_a_fixed_number_is_foreseen_too_and_a_plan_that_cannot_be_read_is_none(drawn, tmp_path):
    (tmp_path / "plan.json").write_text(json.dumps({"samples": "many"}))
    told, table, _ = drawn()
    title, samples, tokens, _ = told.lines
    assert "planned" not in title
    assert numbers(samples) == [900]
    _, low, high = numbers(tokens)
    assert low <= table["completion_tokens"].sum() <= high


@pytest.mark.parametrize("until", [None, Until(accepted=2, max_samples=4)])
def test_samples_that_mend_others_are_foreseen(drawn, monkeypatch, until):
    monkeypatch.setattr(outlook, "FIRST_S", 20000.0 if until else 12000.0)  # some have been by then
    told, table, _ = drawn(MENDING, until=until, accepts=accepts)
    _, *lines, _ = told.lines
    right = table.filter(pl.col("text").str.ends_with("right"))
    truth = (table.height, table["completion_tokens"].sum(), right.height, right["problem_id"].n_unique())
    assert [numbers(line)[0] for line in lines] == [pytest.approx(true, rel=0.15) for true in truth]
    plain = table.filter(pl.col("sample") < ROOM)
    assert plain.height < numbers(lines[0])[1]
    assert plain["completion_tokens"].sum() < numbers(lines[1])[1]


def test_where_none_was_mended_yet_it_says_that_they_come_on_top(drawn):
    told, _, _ = drawn(MENDING, accepts=lambda completions: [Opinion(True)] * completions.height)
    assert told.lines[-1].endswith("come on top: none has been judged yet")
    assert max(map(len, told.lines)) <= 80


def test_votes_that_disagree_are_foreseen(drawn):
    def accepts(completions):
        return [
            Opinion(True, ballot=Ballot(text[-5:] if text.endswith("right") else text)) for text in completions["text"]
        ]

    told, table, _ = drawn(until=Until(accepted=3, max_samples=8, vote={}), accepts=accepts)
    assert table.height > 1.3 * 3 * PROBLEMS.height
    assert numbers(told.lines[1])[0] == pytest.approx(table.height, rel=0.1)


def test_what_will_not_take_long_is_foreseen_in_silence(drawn, monkeypatch):
    monkeypatch.setattr(outlook, "LONG_S", 1e6)
    told, *_ = drawn()
    assert told.lines == []
    assert told.left[-1][1] is not None


@pytest.mark.parametrize(("played_s", "waits"), [(0.0, 7_000), (0.005, 20 * 900 * 0.005 / outlook.SHARE)])
def test_the_first_forecast_waits_until_it_takes_a_small_share_of_the_time(drawn, monkeypatch, played_s, waits):
    monkeypatch.setattr(outlook, "PLAYED_S", played_s)
    told, *_ = drawn()
    first = next(when for when, left_s in told.left if left_s is not None)
    assert waits <= first < waits + 100


def test_a_log_has_the_time_left_as_it_is_told():
    now, lines = [0.0], []
    with Lines(lines.append, clock=lambda: now[0]).task("t", 10) as advance:
        now[0] = 70.0
        advance(5, "x", 7200.0)
    assert lines[0] == "  t: 5/10, about 2 h 00 min left, x"
