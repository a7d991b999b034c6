"""Charts of judged rows: what is drawn is what was judged, and no text of a row is in it."""

import importlib.util
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.look import Judged
from distill.look.plots import kept_rows
from distill.look.rates import by_source, rates
from distill.look.threshold import thresholds
from filters import Chain, FilterError, load

pytest.importorskip("altair")
SECRET = "</script><b>text of a row</b>"
ROWS = pl.DataFrame(
    {
        "problem_id": [f"p{number // 3}" for number in range(60)],
        "sample": [number % 3 for number in range(60)],
        "source": ["a\x1b[31m" if number < 30 else "b" for number in range(60)],
        "response": [SECRET + str(number % 50) for number in range(60)],
        "completion_tokens": [1 + 7 * number % 61 for number in range(60)],
    }
)
CHAIN = Chain([load("length", min_tokens=8, max_tokens=40), load("dedup_exact")])


@pytest.fixture(scope="module")
def judged():
    return Judged(CHAIN.judge(ROWS), CHAIN)


def drawn(chart) -> list[list[dict]]:
    """The rows of every data set that a chart draws."""
    return list(chart.to_dict()["datasets"].values())


def bars(chart) -> list[list[dict]]:
    """Of every histogram of a chart, its bars."""
    return [rows for rows in drawn(chart) if "low" in rows[0]]


def test_histograms_count_every_row(judged):
    lengths = bars(judged.plots.lengths())
    assert sum(bar["rows"] for bars_ in lengths for bar in bars_) == ROWS.height
    kept, rejected = bars(judged.plots.scores("length"))
    assert sum(bar["rows"] for bar in rejected) == len(judged.rejected("length"))
    assert sum(bar["rows"] for bar in kept) == ROWS["completion_tokens"].is_between(8, 40).sum()
    assert all(bar["low"] >= 7 and bar["high"] <= 41 for bar in kept if bar["rows"]), "no bar is on both sides"
    text = json.dumps(judged.plots.scores("length").to_dict())
    assert "too_long: max_tokens 40" in text


def test_charts_hold_no_text_of_a_row_and_no_escape(judged):
    plots = judged.plots
    for chart in (plots.lengths(), plots.scores("length"), plots.kept_against("length"), plots.pass_rates()):
        text = json.dumps(chart.to_dict(), ensure_ascii=False)
        assert "text of a row" not in text
        assert "\x1b" not in text
        assert len(text) < 30_000


@settings(max_examples=25)
@given(tokens=st.lists(st.integers(1, 40), min_size=3, max_size=30), reason=st.sampled_from(["too_long", "too_short"]))
def test_the_curve_is_what_the_filter_keeps_there(tokens, reason):
    rows = pl.DataFrame({"completion_tokens": tokens})
    filter = load("length", min_tokens=10, max_tokens=30)
    scores = Judged(Chain([filter]).judge(rows)).scores("length", "completion_tokens")
    threshold = next((t for t in thresholds(scores, filter) if t.reason == reason), None)
    if threshold is None:
        return
    for row in kept_rows(scores, threshold).iter_rows(named=True):
        changed = {"max_tokens" if reason == "too_long" else "min_tokens": int(row["threshold"])}
        if changed.get("max_tokens", 30) < 10 or changed.get("min_tokens", 10) > 30:
            continue
        kept = Judged(Chain([load("length", **{"min_tokens": 10, "max_tokens": 30} | changed)]).judge(rows)).kept
        assert (row["rows"], row["tokens"]) == (len(kept), kept.frame["completion_tokens"].sum())


def test_pass_rates_are_those_of_each_source(judged):
    every, *sources = by_source(rates(judged.solved("length")))
    assert every["problems"] == 20
    assert {row["name"] for row in sources} == {"a\x1b[31m", "b"}
    right = ROWS["completion_tokens"].is_between(8, 40)
    assert every["value"] == pytest.approx(right.mean())
    assert every["low"] <= every["value"] <= every["high"]
    [shown] = drawn(judged.plots.pass_rates("length"))
    assert [row["name"] for row in shown] == ["all problems", "a␛[31m", "b"]


def test_what_was_not_decided_counts_neither_way():
    samples = {"problem_id": ["p"] * 5, "sample": [0, 1, 2, 3, 1_000_002]}
    rows = pl.DataFrame(samples | {"solved": [True, None, False, None, True], "source": [None] * 5})
    assert rates(rows).row(0) == ("p", "unknown", 2, 1, 0.5)
    assert rates(rows.filter(pl.col("solved").is_null())).is_empty()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda plots: plots.scores("lenght"), "Did you mean 'length'"),
        (lambda plots: plots.kept_against("length", "too_wide"), "scores decide for: too_long, too_short"),
        (lambda plots: plots.pass_rates("x"), "no verdicts of 'x'"),
    ],
)
def test_what_cannot_be_drawn_is_said(judged, ask, message):
    with pytest.raises(FilterError, match=message):
        ask(judged.plots)


def test_without_altair_the_extra_is_named(judged, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FilterError, match=r"distill\[plots\]"):
        _ = judged.plots
