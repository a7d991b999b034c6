"""The policy decides, ties go to the lower sample, and chance is a hash of the row's own key."""

from collections import Counter
from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import Verdict
from filters._signatures import signatures, similarities
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
    assert {*chosen} <= {*kept(table, by=by, keep=keep + 1)}
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


def mixed(problems, lengths):
    rows = problems * len(lengths)
    return pl.DataFrame(
        {
            "problem_id": [f"p{number // len(lengths)}" for number in range(rows)],
            "sample": [number % len(lengths) for number in range(rows)],
            "completion_tokens": lengths * problems,
            "reasoning": [None] * rows,
            "response": ["4"] * rows,
        },
        schema_overrides={"reasoning": pl.String},
    )


SHARES = {500: 0.2, 2000: 0.5, 9000: 0.3}


def test_length_mix_follows_its_shares_over_problems():
    table = mixed(500, [100, 1000, 5000])
    counts = Counter(sample for _, sample in kept(table, by="length_mix", length_shares=SHARES))
    assert [counts[sample] / 500 for sample in range(3)] == pytest.approx([0.2, 0.5, 0.3], abs=0.06)
    only_short = table.filter(pl.col("sample") == 0)
    assert len(kept(only_short, by="length_mix", length_shares=SHARES)) == 500
    assert kept(table, by="length_mix", length_shares=SHARES, seed=1) != kept(
        table, by="length_mix", length_shares=SHARES
    )


def test_length_mix_follows_its_shares_within_a_problem():
    table = mixed(1, [100] * 10 + [1000] * 10 + [5000] * 10)
    counts = Counter(sample // 10 for _, sample in kept(table, by="length_mix", keep=10, length_shares=SHARES))
    assert [counts[part] for part in range(3)] == pytest.approx([2, 5, 3], abs=1)
    [evidence] = {
        v["evidence"]
        for v in table.select(RejectionSampling(by="length_mix", length_shares={9000: 1.0}).verdict()).to_series()
        if v["outcome"] == "keep"
    }
    assert evidence == "length_mix: 1 of 30, for the class up to 9000 tokens"


@pytest.mark.parametrize("shares", [{}, {500: 0.2}, {500: 1.5, 900: -0.5}])
def test_shares_are_parts_of_a_whole(shares):
    with pytest.raises(ValueError, match=r"must add up to 1|greater than 0"):
        RejectionSampling(by="length_mix", length_shares=shares)


def test_lengths_are_compared_in_one_unit():
    some = ROWS.with_columns(
        completion_tokens=pl.Series([10, None, 30, 5, 4]), reasoning=pl.Series(["x", "xxx", "xx", "", ""])
    )
    assert kept(some, by="shortest") == [("a", 3), ("b", 1)]
    assert kept(some, by="longest") == [("a", 1), ("b", 0)]


TEXT = st.lists(st.sampled_from("abcdefgh"), max_size=30).map(" ".join)


@given(st.lists(TEXT, min_size=1, max_size=7), st.integers(1, 7))
def test_most_different_is_what_a_slow_search_finds(texts, keep):
    table = pl.DataFrame({"problem_id": "a", "sample": range(len(texts)), "completion_tokens": 1, "reasoning": texts})
    signed = signatures(pl.Series([f"{text}\n4" for text in texts])).to_numpy()
    order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), row))
    chosen = [order[0]]
    while len(chosen) < min(keep, len(texts)):
        closest = {row: max(similarities(signed[[row]], signed[c])[0] for c in chosen) for row in order}
        chosen.append(min((row for row in order if row not in chosen), key=lambda row: closest[row]))
    found = kept(table.with_columns(response=pl.lit("4")), by="most_different", keep=keep)
    assert sorted(sample for _, sample in found) == sorted(chosen)


@pytest.mark.parametrize("shared", [0.0, 0.3, 0.7, 0.95, 1.0])
def test_signatures_estimate_the_similarity_of_sets_of_3_grams(shared):
    vocabulary = [f"{a}{b}" for a in "bcdfghjklmnpqrstvwxz" for b in "aeiou"]
    errors = []
    for seed in range(40):
        random = Random(seed)
        first, second = (random.choices(vocabulary, k=600) for _ in range(2))
        second[: int(600 * shared)] = first[: int(600 * shared)]
        sets = [{*zip(text, text[1:], text[2:], strict=False)} for text in (first, second)]
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        one, other = signatures(pl.Series([" ".join(first), " ".join(second)])).to_numpy()
        errors.append(similarities(one[None], other)[0] - exact)
    assert abs(sum(errors) / 40) < 0.03
    assert max(map(abs, errors)) < 0.25


def test_signatures_of_next_to_nothing():
    nothing, one, two = signatures(pl.Series(["", "a", "b c"])).to_numpy()
    assert similarities(nothing[None], nothing)[0] == 1
    assert similarities(one[None], nothing)[0] == 0
    assert similarities(one[None], one)[0] == 1
    assert similarities(one[None], two)[0] == 0
