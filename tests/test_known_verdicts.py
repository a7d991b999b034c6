"""A run that goes on judges nothing again that it has judged, and everything that its verdicts no longer fit."""

import random

import polars as pl
import pytest

from distill import sampler
from distill.engines.scripted import ScriptedEngine
from distill.known_verdicts import FILE, judged_by
from distill.lineage import ROOM
from distill.opinion import Opinion
from distill.progress import Silent
from distill.recipe.trajectories import Trajectories, Until
from distill.sampler import sample
from distill.vote import Ballot

PROBLEMS = pl.DataFrame({"problem_id": [*"abcdef"], "problem": ["?"] * 6, "reference_answer": ["1"] * 6})
UNTIL = Until(accepted=2, max_samples=9)


def answer(request) -> str:
    return f"{request.seed}\n" + random.Random(request.seed).choice(["right", "wrong", "perhaps"])


class Judge:
    """Accepts what is right, cannot decide on what is perhaps right, and counts what it is asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, completions):
        self.asked += completions.select("problem_id", "sample").rows()
        ends = completions["text"].str.split("\n").list.last()
        complaints = {"wrong": "It is wrong."}
        return [Opinion(end == "right", complaints.get(end, ""), end != "perhaps", Ballot(end)) for end in ends]


def draw(folder, judge, *, problems=PROBLEMS, by="filters", stop_after=1000, in_flight=4, until=UNTIL, **settings):
    asked = []

    def answered(request):
        asked.append(request)
        if len(asked) > stop_after:
            raise KeyboardInterrupt
        return answer(request)

    with ScriptedEngine(answered, name="script", in_flight=in_flight) as engine:
        return sample(
            engine,
            problems,
            Trajectories(teacher="script", **settings),
            folder,
            name="t",
            progress=Silent(),
            until=until,
            accepts=judge,
            judged_by=judged_by(problems, by),
        )


def undecided(table):
    return table.filter(pl.col("text").str.ends_with("perhaps")).select("problem_id", "sample").rows()


def test_only_what_was_not_decided_is_judged_again(tmp_path):
    first, rest, again = Judge(), Judge(), Judge()
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path, first, stop_after=20)
    table = draw(tmp_path, rest)
    assert table.equals(draw(tmp_path / "undisturbed", Judge()))
    assert set(first.asked) & set(rest.asked) <= set(undecided(table))
    assert set(first.asked) | set(rest.asked) == set(table.select("problem_id", "sample").rows())
    assert draw(tmp_path, again).equals(table)
    assert sorted(again.asked) == undecided(table)


MENDING = {"until": Until(accepted=3, max_samples=3), "refine": {"rounds": 3}}


@pytest.mark.parametrize("takes", [MENDING, {"until": Until(accepted=3, max_samples=9, vote={})}])
def test_what_was_said_for_second_tries_and_votes_is_remembered_too(tmp_path, monkeypatch, takes):
    monkeypatch.setattr(sampler, "BATCH_ROWS", 7)
    judges = [Judge() for _ in range(3)]
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path, judges[0], stop_after=20, **takes)
    table = draw(tmp_path, judges[1], **takes)
    assert table.equals(draw(tmp_path / "undisturbed", Judge(), **takes))
    assert table["sample"].max() > (ROOM if "refine" in takes else 3)
    assert set(judges[0].asked) & set(judges[1].asked) <= set(undecided(table))
    assert draw(tmp_path, judges[2], **takes).equals(table)
    assert sorted(judges[2].asked) == undecided(table)


@pytest.mark.parametrize("change", ["filters", "reference", "file", "gone"])
def test_what_a_verdict_no_longer_fits_is_judged_again(tmp_path, change):
    table, judge = draw(tmp_path, Judge()), Judge()
    every = table.select("problem_id", "sample").rows()
    problems, by, judged_again = PROBLEMS, "filters", every
    match change:
        case "filters":
            by = "others"
        case "reference":
            problems = PROBLEMS.with_columns(reference_answer=pl.Series(["2", *"11111"]))
            judged_again = sorted({*undecided(table), *(key for key in every if key[0] == "a")})
        case "file":
            (tmp_path / FILE).write_bytes(b"PAR1")
        case "gone":
            (tmp_path / FILE).unlink()
    assert draw(tmp_path, judge, problems=problems, by=by).equals(table)
    assert sorted(judge.asked) == sorted(judged_again)
