"""Sampling stops at its limits, over all calls, and loses nothing by it."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import call

from distill import ledger as ledger_module
from distill.engines.scripted import ScriptedEngine
from distill.ledger import Ledger, LimitError, Spent
from distill.progress import Silent
from distill.recipe.limits import Limits, Price
from distill.recipe.trajectories import Generation, Trajectories
from distill.sampler import sample

PROBLEMS = pl.DataFrame({"problem_id": [f"p{n}" for n in range(10)], "problem": ["?"] * 10})
SETTINGS = Generation(samples_per_problem=4)


class Clock:
    """Goes on by an hour with every sample."""

    def __init__(self):
        self.hours = 0.0

    def __call__(self):
        return self.hours * 3600


def answer(request):
    return "word " * (1 + request.seed % 20)


def draw(folder, limits=None, *, in_flight=4, answer=answer, partial=False, gpus=1):
    clock, asked = Clock(), []
    ledger = Ledger(limits and Limits(**limits), gpus=gpus, clock=clock)

    def noted(request):
        asked.append(request.request_id)
        clock.hours += 1
        return answer(request)

    with ScriptedEngine(noted, name="script", in_flight=in_flight) as engine:
        try:
            table = sample(
                engine, PROBLEMS, SETTINGS, folder, name="t", progress=Silent(), ledger=ledger, partial=partial
            )
        except LimitError as error:
            return error, ledger, asked
    return table, ledger, asked


@settings(max_examples=12)
@given(steps=st.lists(st.integers(1, 500), min_size=1, max_size=4).map(sorted), in_flight=st.integers(1, 8))
def test_tokens_go_over_by_no_more_than_what_is_in_flight_and_a_raised_limit_goes_on(
    tmp_path_factory, steps, in_flight
):
    folder, asked = tmp_path_factory.mktemp("run"), []
    for limit in steps:
        result, ledger, now = draw(folder, {"max_tokens": limit}, in_flight=in_flight)
        asked += now
        assert ledger.spent.completion_tokens <= limit + 20 * in_flight or not now
        if isinstance(result, LimitError):
            assert ledger.counts.pending
            assert ledger.counts.requested == 40
        _, _, now = draw(folder, {"max_tokens": max(1, int(ledger.spent.completion_tokens) - 1)})
        assert not now, "beyond its limit a run asks nothing"
    table, ledger, now = draw(folder)
    assert sorted(asked + now) == sorted({*asked, *now})
    assert ledger.spent.completion_tokens == table["completion_tokens"].sum()
    assert table.equals(draw(tmp_path_factory.mktemp("undisturbed"))[0])


def test_no_more_is_asked_than_is_expected_to_fit(tmp_path):
    limits = {"max_tokens": 100}
    _, ledger, asked = draw(tmp_path, limits, answer=lambda request: "word " * 10, in_flight=4)
    assert (ledger.spent.completion_tokens, len(asked), ledger.stopped_at) == (100, 10, "max_tokens")


def test_gpu_hours_are_counted_over_calls_and_over_gpus(tmp_path):
    _, ledger, asked = draw(tmp_path, {"max_gpu_hours": 8.0}, gpus=2, in_flight=1)
    assert (ledger.spent.gpu_hours, len(asked)) == (10.0, 5)  # an hour a sample, on two GPUs: the fifth goes over
    assert json.loads((tmp_path / "spent.json").read_text()) == {"gpu_hours": 10.0}
    error, ledger, asked = draw(tmp_path, {"max_gpu_hours": 15.0}, in_flight=3)
    assert (ledger.spent.gpu_hours, len(asked)) == (
        18.0,
        8,
    )  # three in flight at the limit, an hour each
    assert "limits.max_gpu_hours: 18 of 15 GPU hours are spent" in str(error)


def test_hours_of_a_call_that_was_killed_are_remembered(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(ledger_module, "SAVE_S", 0.01)

    def waits_for_the_books(request):
        while request.request_id == "p0#2" and not saved:
            hours = json.loads((tmp_path / "spent.json").read_text()) if (tmp_path / "spent.json").exists() else {}
            saved.extend([hours["gpu_hours"]] if hours.get("gpu_hours", 0) >= 3 else [])
        return answer(request)

    draw(tmp_path, in_flight=1, answer=waits_for_the_books)
    assert saved == [3.0]


def test_money_is_counted_by_every_part_of_the_price(tmp_path):
    price = {"per_million_prompt_tokens": 1.0, "per_million_completion_tokens": 10.0, "per_gpu_hour": 100.0}
    assert Spent(9, 2e6, 3e6, 4.0).cost(Price(**price)) == 2 + 30 + 400
    limits = {"max_cost": 750.0, "price": price | {"currency": "EUR"}}
    error, ledger, asked = draw(tmp_path, limits, in_flight=1)
    assert len(asked) == 8
    assert "limits.max_cost: 800 of 750 EUR are spent" in str(error)
    assert ledger.facts()["spent"]["currency"] == "EUR"


def test_the_error_says_how_to_go_on_and_following_it_is_enough(tmp_path):
    error, _, _ = draw(tmp_path, {"max_tokens": 150})
    assert "requested 40 = " in str(error)
    assert "--partial" in str(error)
    advised = int(str(error).split("limits.max_tokens=")[1].split()[0])
    same = draw(tmp_path, {"max_tokens": advised + 80})[0]  # by the mean so far: samples differ
    assert isinstance(same, pl.DataFrame)


@pytest.mark.parametrize(
    ("value", "whole", "text"),
    [
        (6.7e6 + 1, True, "6800000"),
        (3.2, True, "4"),
        (0.00655, False, "0.0066"),
        (41.0, False, "41"),
        (9.95, False, "10"),
    ],
)
def test_advice_is_a_short_number_that_is_not_too_low(value, whole, text):
    assert ledger_module._round_up(value, whole=whole) == text


def test_a_partial_table_has_what_is_there_and_asks_nothing(tmp_path):
    draw(tmp_path, {"max_tokens": 150})
    table, ledger, asked = draw(tmp_path, partial=True)
    assert asked == []
    assert table.height == ledger.counts.ok > 0
    whole = draw(tmp_path)[0]
    assert table.equals(whole.join(table, on=["problem_id", "sample"], how="semi", maintain_order="left"))


@pytest.mark.parametrize(
    ("engine_args", "limits", "gpus"),
    [({}, None, 1), ({"tensor_parallel_size": 4, "data_parallel_size": 2}, None, 8), ({}, {"gpus": 3}, 3)],
)
def test_gpus_are_those_of_the_engine_unless_named(engine_args, limits, gpus):
    section = Trajectories(teacher="t", engine_args=engine_args, limits=limits and Limits(**limits))
    assert section.gpus == gpus


RECIPE = """\
problems:
  arithmetic: {count: 30, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic}
  limits: {max_tokens: 2000}
verdicts: [format, verify_math]
dataset: {license: apache-2.0}
"""


def test_a_run_at_its_limit_is_exit_code_3_and_goes_on_only_when_told_how(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    stopped = call("run", "r.yaml")
    assert stopped.exit_code == 3
    assert "requested 120 = " in stopped.stdout
    assert "LimitError: stopped at" in stopped.stderr
    assert not (tmp_path / "runs/r/verdicts").exists()
    assert call("verdicts", "r.yaml").exit_code == 3
    partial = call("run", "r.yaml", "--partial")
    assert partial.exit_code == 0
    assert (tmp_path / "runs/r/dataset").exists()
    card = (tmp_path / "runs/r/dataset/README.md").read_text()
    assert "counts.pending" in card
    assert "trajectories: up to date" in call("run", "r.yaml", "--partial").stdout
    assert call("run", "r.yaml").exit_code == 3, "a partial run is not taken for a whole one"
    whole = call("run", "r.yaml", "--set", "trajectories.limits.max_tokens=100000")
    assert whole.exit_code == 0
    assert "= 120 ok + 0 failed + 0 pending" in whole.stdout


def test_a_limit_of_money_needs_a_price(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("max_tokens: 2000", "max_cost: 10"))
    result = call("check", "r.yaml")
    assert result.exit_code == 2
    assert "max_cost needs a price" in result.stderr
