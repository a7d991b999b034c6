"""Loops are found wherever they sit; formulas, tables and step-by-step digit work are not loops."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters._text import grams, tokens
from filters.repetition import Repetition

STEP = "Step {0}: multiply by {1}. {2} times {1}. ones: {3} times {1} is {4}, write {5} carry {6}. so {7}.\n"


def judge(reasoning, response=r"\boxed{4}"):
    frame = pl.DataFrame({"reasoning": [reasoning], "response": [response]}, schema_overrides={"reasoning": pl.String})
    return frame.select(Repetition().verdict()).item()


def digit_work(steps: int) -> str:
    work, value = "", 59
    for step in range(1, steps + 1):
        factor, ones = step % 8 + 2, value % 10
        product = ones * factor
        work += STEP.format(step, factor, value, ones, product, product % 10, product // 10, value * factor)
        value = value * factor % 1000
    return work


ENGLISH = (
    "Let me set up the equation first and then look at what the question asks for, since the wording is unusual. "
    "The train leaves at nine and the second one an hour later, so the distance between them is sixty at that time. "
)


@pytest.mark.parametrize("where", ["start", "middle", "end"])
@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("no ", 200),
        ("Wait, let me reconsider. ", 30),
        ("&= \\frac{1}{2} |x_1y_2 - y_1x_2| \\\\\n", 20),
        ("18", 300),
        ("\n", 2000),
        ("因此答案是四十二。", 30),
        (ENGLISH, 6),
    ],
)
def test_loops_of_any_unit_anywhere(unit, times, where):
    before, after = {
        "start": ("", digit_work(40)),
        "middle": (digit_work(20), digit_work(20)),
        "end": (digit_work(40), ""),
    }[where]
    verdict = judge(before + unit * times + after)
    assert verdict["reason"] == "loop"
    assert " x " in verdict["evidence"]


@pytest.mark.parametrize(
    "text",
    [
        digit_work(4),
        digit_work(60),
        ENGLISH,
        ENGLISH * 2,
        "0." + "3" * 40,
        "| n | f(n) |\n" + "".join(f"| {n} | {n * n + n + 41} |\n" for n in range(80)),
        r"\begin{pmatrix} 1 & 0 & 0 & 0 \\ 0 & 1 & 0 & 0 \\ 0 & 0 & 1 & 0 \\ 0 & 0 & 0 & 1 \end{pmatrix}",
        "",
    ],
)
def test_formulaic_text_is_kept(text):
    assert judge(text)["outcome"] == "keep"


def test_a_response_that_repeats_the_reasoning_once_is_kept():
    assert judge(digit_work(10), digit_work(10))["outcome"] == "reject"
    assert judge(digit_work(20), digit_work(12)[:900])["outcome"] == "keep"


words = st.lists(st.sampled_from(["a", "b", "7", "42", "\\frac", "é", "数"]), max_size=30).map(" ".join)


@given(st.lists(words, max_size=6), st.integers(1, 5))
def test_grams_equal_the_slow_version(texts, n):
    series = pl.Series(texts, dtype=pl.String)
    fast = grams(tokens(series), n)
    split = (
        series.str.to_lowercase().str.extract_all(r"\p{Han}|\p{N}|[\p{L}\p{M}]{1,12}|[^\p{L}\p{M}\p{N}\s]").to_list()
    )
    slow = [(row, place, tuple(t[place : place + n])) for row, t in enumerate(split) for place in range(len(t) - n + 1)]
    assert fast.select("row", "place").rows() == [(row, place) for row, place, _ in slow]
    hashes = dict(zip(fast["gram"], (gram for _, _, gram in slow), strict=True))
    assert Counter(hashes[h] for h in fast["gram"]) == Counter(gram for _, _, gram in slow)


def test_real_loops_are_found_and_good_solutions_kept(shared_data):
    rows = pl.read_ndjson(shared_data / "trajectories/zeroeval.jsonl").with_columns(reasoning=pl.lit(None, pl.String))
    rejected = rows.select(Repetition().verdict()).unnest("verdict_repetition")["outcome"] == "reject"
    assert 0.03 < rejected.mean() < 0.05
    strong = rows["model"].is_in(["claude-3-5-sonnet-20241022", "o1-preview-2024-09-12"])
    assert rejected.filter(strong).mean() < 0.005
