"""The policy decides, ties go to the lower sample, and chance is a hash of the row's own key."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import Verdict
from filters._draw import shares
from filters._verdict import verdict_series
from filters.rejection_sampling import RejectionSampling, compare_policies

ROWS = pl.DataFrame(
    {
        "problem_id": ["a", "a", "a", "b", "b"],
        "sample": [3, 1, 2, 0, 1],
        "completion_tokens": [10, 30, 10, 5, 4],
        "reasoning": ["same length"] * 5,
        "response": ["\\boxed{4}"] * 5,
    }
)


def kept(rows=ROWS, **parameters):
    verdict = rows.select(RejectionSampling(**parameters).verdict()).to_series().struct.field("outcome") == "keep"
    return rows.filter(verdict).select("problem_id", "sample").rows()


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("shortest", [("a", 2), ("b", 1)]),
        ("longest", [("a", 1), ("b", 0)]),
        ("first", [("a", 1), ("b", 0)]),
    ],
)
def test_policies(by, expected):
    assert kept(by=by) == expected


def test_keep_more_than_there_are():
    assert len(kept(keep=9)) == len(ROWS)


def test_random_depends_on_the_seed_and_on_nothing_else():
    columns = {"problem_id": ["a"] * 50, "sample": range(50), "completion_tokens": [1] * 50}
    many = pl.DataFrame(columns).with_columns(reasoning=pl.lit("so"), response=pl.lit("4"))
    choice = kept(many, by="random", keep=5)
    assert sorted(kept(many.reverse(), by="random", keep=5)) == choice
    assert kept(many, by="random", keep=5, seed=1) != choice


def test_evidence_records_the_policy():
    verdicts = ROWS.select(RejectionSampling().verdict()).to_series()
    assert verdicts[2]["evidence"] == "shortest: 1 of 3"


@pytest.mark.parametrize(("by", "expected"), [("shortest", [("a", 2), ("b", 1)]), ("longest", [("a", 1), ("b", 0)])])
def test_characters_stand_in_where_tokens_are_unknown(by, expected):
    texts = pl.Series([" " * tokens + "x" for tokens in ROWS["completion_tokens"]])
    unknown = ROWS.with_columns(completion_tokens=pl.lit(None, pl.Int32), reasoning=texts)
    assert kept(unknown, by=by) == expected


POLICIES = ["shortest", "longest", "first", "random", "best_score", "most_different", "length_mix"]
samples = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(1, 50), st.sampled_from(["one two three four", "one two", "six 7 ate 9"])
    ),
    max_size=10,
)


@given(samples, st.sampled_from(POLICIES), st.integers(1, 4), st.randoms())
def test_every_policy_keeps_its_quota_in_any_order(rows, by, keep, chance):
    table = pl.DataFrame(rows, schema=["problem_id", "completion_tokens", "reasoning"], orient="row").with_columns(
        sample=pl.int_range(pl.len()),
        response=pl.lit("4"),
        verdict_reward_score=verdict_series(Verdict("keep", None, float(row[1] % 5)) for row in rows),
    )
    table = table.cast({"problem_id": pl.String, "completion_tokens": pl.Int64, "reasoning": pl.String})
    chosen = kept(table, by=by, keep=keep)
    for problem in "ab":
        available = table.filter(pl.col("problem_id") == problem).height
        assert sum(problem_id == problem for problem_id, _ in chosen) == min(keep, available)
    order = list(range(len(rows)))
    chance.shuffle(order)
    assert sorted(kept(table[order], by=by, keep=keep)) == sorted(chosen)
    alone = kept(table.filter(pl.col("problem_id") == "a"), by=by, keep=keep)
    assert alone == [key for key in chosen if key[0] == "a"]


def test_best_score_abstains_where_there_is_none():
    scores = [Verdict("keep", None, s) for s in (0.1, 0.9, None, -3.0, -4.0)]
    scored = ROWS.with_columns(verdict_reward_score=verdict_series(scores))
    assert kept(scored, by="best_score") == [("a", 1), ("b", 0)]
    verdicts = ROWS.select(RejectionSampling(by="best_score").verdict()).to_series()
    assert [v["reason"] for v in verdicts] == ["missing_score"] * 5


def test_most_different_takes_another_way_of_thinking():
    ways = ["we add the numbers from left to right and get four", "we add the numbers from left to right and see four"]
    table = pl.DataFrame(
        {
            "problem_id": ["a"] * 4,
            "sample": range(4),
            "completion_tokens": [12, 10, 11, 40],
            "reasoning": [
                *ways,
                ways[0] + " again",
                "a square is the sum of odd numbers so one plus three is what we want",
            ],
            "response": ["4"] * 4,
        }
    )
    assert kept(table, keep=2, by="most_different") == [("a", 1), ("a", 3)]
    assert kept(table, keep=2, by="shortest") == [("a", 1), ("a", 2)]
    policies = [RejectionSampling(keep=2, by=by) for by in ("shortest", "most_different")]
    compared = compare_policies(table, policies)
    assert compared.select("policy", "rows", "problems", "tokens").rows() == [
        ("shortest", 2, 1, 21),
        ("most_different", 2, 1, 50),
    ]
    assert compared["similarity"][0] > 0.3 > compared["similarity"][1]


def test_length_mix_follows_its_shares_where_it_can():
    lengths = [100, 1000, 5000]
    table = pl.DataFrame(
        {
            "problem_id": [f"p{number // 3}" for number in range(1500)],
            "sample": [number % 3 for number in range(1500)],
            "completion_tokens": [lengths[number % 3] for number in range(1500)],
            "reasoning": [None] * 1500,
            "response": ["4"] * 1500,
        },
        schema_overrides={"reasoning": pl.String},
    )
    shares = {500: 0.2, 2000: 0.5, 9000: 0.3}
    counts = Counter(sample for _, sample in kept(table, by="length_mix", length_shares=shares))
    assert [counts[sample] / 500 for sample in range(3)] == pytest.approx([0.2, 0.5, 0.3], abs=0.06)
    only_short = table.filter(pl.col("sample") == 0)
    assert len(kept(only_short, by="length_mix", length_shares=shares)) == 500
    with pytest.raises(ValueError, match="must add up to 1"):
        RejectionSampling(by="length_mix", length_shares={500: 0.2})


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_draw_falls_into_one_part_of_the_whole(number, parts):
    whole = sum(parts)
    [part] = shares(pl.Series([number], dtype=pl.UInt64), [p / whole for p in parts])
    assert sum(parts[:part]) / whole <= number / 2**64 + 1e-12
    assert number / 2**64 <= sum(parts[: part + 1]) / whole + 1e-12
