"""Scores equal the slow obvious computation, and intervals behave as intervals do."""

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.metrics import Estimate, mean_score, paired_difference, pass_at_k, per_problem, sentence, signed, wilson

FLAGS = st.lists(st.booleans(), min_size=1, max_size=8)


def enumerated(flags: list[bool], k: int) -> float:
    draws = list(combinations(flags, k))
    return float(Fraction(sum(any(draw) for draw in draws), len(draws)))


@given(FLAGS, st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_correct_sample(flags, data):
    k = data.draw(st.integers(1, len(flags)))
    assert pass_at_k([len(flags)], [sum(flags)], k)[0] == pytest.approx(enumerated(flags, k), abs=1e-12)


@given(FLAGS)
def test_pass_at_k_rises_with_k_from_the_pass_rate(flags):
    n, c = len(flags), sum(flags)
    curve = [pass_at_k([n], [c], k)[0] for k in range(1, n + 1)]
    assert curve[0] == pytest.approx(c / n)
    assert curve[-1] == float(c > 0)
    assert all(low <= high + 1e-12 for low, high in pairwise(curve))
    assert all(0 <= value <= 1 for value in curve)


def test_pass_at_k_of_ragged_problems_and_large_counts():
    assert pass_at_k([4, 2, 8], [1, 0, 8], 2) == pytest.approx([0.5, 0.0, 1.0])
    assert pass_at_k([10_000], [1], 64)[0] == pytest.approx(0.0064)


@pytest.mark.parametrize(
    ("samples", "correct", "k"), [([2], [1], 3), ([2], [1], 0), ([2], [3], 1), ([2, 2], [1], 1), ([2], [-1], 1)]
)
def test_pass_at_k_refuses_what_it_cannot_answer(samples, correct, k):
    with pytest.raises(ValueError, match=r"expected|needs"):
        pass_at_k(samples, correct, k)


# --- majority ---------------------------------------------------------------------------------------------------------


def frame(*samples: tuple[str, str | None, bool | None]) -> pl.DataFrame:
    return pl.DataFrame(
        samples, schema={"problem_id": pl.String, "answer": pl.String, "correct": pl.Boolean}, orient="row"
    )


def slow_majority(samples: list[tuple[str | None, bool]]) -> float:
    answers = [answer for answer, _ in samples if answer is not None]
    if not answers:
        return 0.0
    most = max(answers.count(answer) for answer in answers)
    winners = [answer for answer in sorted(set(answers)) if answers.count(answer) == most]
    right = {answer: [correct for mine, correct in samples if mine == answer] for answer in winners}
    return sum(sum(flags) / len(flags) for flags in right.values()) / len(winners)


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3", None]), st.booleans()), min_size=1, max_size=12))
def test_majority_equals_the_slow_count_in_any_order(samples):
    [row] = per_problem(frame(*(("p", *sample) for sample in samples))).to_dicts()
    [back] = per_problem(frame(*(("p", *sample) for sample in reversed(samples)))).to_dicts()
    assert row["majority"] == pytest.approx(slow_majority(samples))
    assert row["majority"] == pytest.approx(back["majority"])
    assert row["pass_rate"] == sum(correct for _, correct in samples) / len(samples)


def test_undecided_samples_are_neither_right_nor_wrong():
    rows = per_problem(
        frame(("b", "1", True), ("b", "2", None), ("b", "2", None), ("a", None, False), ("c", "1", None))
    ).to_dicts()
    assert rows == [
        {"problem_id": "b", "samples": 1, "correct": 1, "undecided": 2, "majority": 1.0, "pass_rate": 1.0},
        {"problem_id": "a", "samples": 1, "correct": 0, "undecided": 0, "majority": 0.0, "pass_rate": 0.0},
        {"problem_id": "c", "samples": 0, "correct": 0, "undecided": 1, "majority": None, "pass_rate": None},
    ]


def test_a_tie_scores_what_a_random_choice_would():
    [row] = per_problem(frame(("p", "1", True), ("p", "2", False), ("p", None, False))).to_dicts()
    assert row["majority"] == 0.5


# --- intervals --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(0, 300))
def test_wilson_holds_its_share(successes, misses):
    low_to_high = wilson(successes, successes + misses)
    assert 0 <= low_to_high.low <= low_to_high.value <= low_to_high.high <= 1


def test_wilson_is_the_published_interval():
    assert wilson(0, 20) == pytest.approx((0.0, 0.0, 0.1611), abs=1e-4)
    assert wilson(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == Estimate(0.5, 0.0, 1.0)
    with pytest.raises(ValueError, match="3 of 2"):
        wilson(3, 2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms())
def test_mean_score_holds_its_value_and_ignores_the_order(scores, random):
    estimate = mean_score(scores)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.value == pytest.approx(np.mean(scores), abs=1e-12)
    shuffled = scores.copy()
    random.shuffle(shuffled)
    assert mean_score(shuffled) == estimate


def test_all_right_on_few_problems_is_not_certainty():
    assert mean_score([1.0] * 20).low < 0.9
    assert mean_score([0.0] * 20).high > 0.1
    assert mean_score([0.5] * 20) == Estimate(0.5, 0.5, 0.5)


def test_bootstrap_covers_as_often_as_it_says():
    random = np.random.default_rng(1)
    hits = sum(low <= 0.3 <= high for _, low, high in (mean_score(random.random(80) < 0.3) for _ in range(100)))
    assert hits >= 88


def test_many_problems_are_resampled_in_chunks():
    scores = np.linspace(0, 1, 3_000)
    estimate = mean_score(scores)
    half = 1.96 * scores.std() / np.sqrt(scores.size)
    assert estimate == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=2e-3)


def test_pairing_sees_a_difference_that_separate_intervals_do_not():
    hardness = np.linspace(0, 0.9, 50)
    difference = paired_difference(hardness + 0.05, hardness)
    assert difference.low > 0.04
    assert mean_score(hardness + 0.05).low < mean_score(hardness).high
    back = paired_difference(hardness, hardness + 0.05)
    assert (back.value, back.low) == pytest.approx((-difference.value, -difference.high), abs=1e-9)


@pytest.mark.parametrize("values", [[], [[0.5]], [float("nan")], [0.5, None]])
def test_scores_that_are_none_are_refused(values):
    with pytest.raises((ValueError, TypeError)):
        mean_score(values)


def test_a_score_beyond_one_and_unequal_problems_are_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        mean_score([0.5, 1.5])
    with pytest.raises(ValueError, match="same problems"):
        paired_difference([0.5], [0.5, 0.5])


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (Estimate(0.01, -0.03, 0.05), "filtering bought nothing measurable: +0.01 [−0.03, +0.05]"),
        (Estimate(0.12, 0.08, 0.16), "filtering helped: +0.12 [+0.08, +0.16]"),
        (Estimate(-0.12, -0.16, -0.08), "filtering hurt: −0.12 [−0.16, −0.08]"),
        (Estimate(0.041, -0.004, 0.085), "filtering bought nothing measurable: +0.041 [−0.004, +0.085]"),
        (Estimate(0.0, 0.0, 0.0), "filtering bought nothing measurable: 0.00 [0.00, 0.00]"),
    ],
)
def test_a_sentence_claims_what_its_interval_does(difference, says):
    assert sentence("filtering", difference) == says


def test_what_rounds_to_zero_has_no_sign():
    assert [signed(value) for value in (-0.001, 0.001, -0.006)] == ["0.00", "0.00", "−0.01"]
