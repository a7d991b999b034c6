"""Loops are found wherever they sit; formulas, tables and step-by-step digit work are not loops."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters._repeats import repeated_shares
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


def open_r1_share(words: list[int], n: int) -> float:
    """The scaling of open-r1's `get_repetition_penalty_reward` (Appendix C.2 of arXiv:2502.03373)."""
    grams = list(zip(*[words[i:] for i in range(n)], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


tokens = st.lists(st.lists(st.integers(0, 3), max_size=60), max_size=6)


@given(tokens, st.integers(1, 5))
@settings(deadline=None)
def test_repeated_share_is_that_of_open_r1(texts, n):
    words = pl.Series(texts, dtype=pl.List(pl.UInt64))
    assert repeated_shares(words, n)[1] == pytest.approx([open_r1_share(text, n) for text in texts])


def test_real_loops_are_found_and_good_solutions_kept(shared_data):
    rows = pl.read_ndjson(shared_data / "trajectories/zeroeval.jsonl").with_columns(reasoning=pl.lit(None, pl.String))
    rejected = rows.select(Repetition().verdict()).unnest("verdict_repetition")["outcome"] == "reject"
    assert 0.03 < rejected.mean() < 0.05
    strong = rows["model"].is_in(["claude-3-5-sonnet-20241022", "o1-preview-2024-09-12"])
    assert rejected.filter(strong).mean() < 0.005
