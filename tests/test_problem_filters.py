"""Majority, suspect gold and pass rate: what the samples of one problem say together."""

import math
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Chain, FilterError, Verdict, kept, load, load_entry, preference_pairs
from filters._verdict import verdict_series
from filters.majority import Majority
from filters.suspect_gold import SuspectGold


def outcomes(f, rows: pl.DataFrame) -> list[str]:
    return [v["reason"] or v["outcome"] for v in rows.select(f.verdict()).to_series()]


def samples(*answers: str | None, problem="p", reference=None, scores=None) -> pl.DataFrame:
    rows = [
        {"problem_id": problem, "response": f"A: {answer}" if answer else "?", "reference_answer": reference}
        for answer in answers
    ]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("problem_id", "response", "reference_answer"), pl.String))
    if scores:
        frame = frame.with_columns(verdict_reward_score=verdict_series(Verdict("keep", None, s) for s in scores))
    return frame


answers = st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=9)


def lead_of(votes: list[tuple[str, int]]) -> float:
    first, second = [count for _, count in [*votes, ("", 0)][:2]]
    return (first - second) / math.sqrt(first + second)


@given(answers, st.integers(1, 5), st.sampled_from([0.0, 0.5, 0.6, 1.0]), st.sampled_from([0.0, 1.0, 1.4]))
def test_the_majority_is_what_counting_says(given_answers, min_samples, min_share, min_lead):
    majority = Majority(min_samples=min_samples, min_share=min_share, min_lead=min_lead)
    found = outcomes(majority, samples(*given_answers))
    votes = Counter(answer for answer in given_answers if answer).most_common()
    tie = len(votes) > 1 and votes[0][1] == votes[1][1]
    if len(given_answers) < min_samples:
        expected = ["too_few_samples"] * len(given_answers)
    elif not votes or tie or votes[0][1] / len(given_answers) < min_share or lead_of(votes) < min_lead:
        expected = ["no_majority"] * len(given_answers)
    else:
        best = votes[0][0]
        expected = ["no_answer" if a is None else "keep" if a == best else "minority_answer" for a in given_answers]
    assert found == expected


@pytest.mark.parametrize(
    ("votes", "stable"),
    [((2, 1), False), ((3, 1), True), ((4, 3), False), ((5, 2), True), ((2, 1, 1), False), ((4, 2, 2), False)],
)
def test_a_close_vote_is_no_majority(votes, stable):
    rows = samples(*[str(answer) for answer, count in enumerate(votes, 1) for _ in range(count)])
    expected = {"keep", "minority_answer"} if stable else {"no_majority"}
    assert {*outcomes(Majority(min_samples=1), rows)} == expected


@given(st.permutations(range(6)))
def test_the_order_of_samples_and_other_problems_do_not_matter(order):
    rows = samples("1", "1", "2", "1", None, "1")
    alone = outcomes(Majority(), rows)
    assert alone == ["keep", "keep", "minority_answer", "keep", "no_answer", "keep"]
    among = pl.concat([samples("7", "7", "7", "7", problem="q"), rows[list(order)]])
    assert outcomes(Majority(), among)[4:] == [alone[i] for i in order]


def test_rewards_weigh_votes_where_all_samples_have_one():
    rows, close = samples("1", "1", "2", "2", scores=[0.0, 0.0, 3.0, 3.0]), Majority(min_lead=0)
    assert outcomes(close, rows) == ["minority_answer", "minority_answer", "keep", "keep"]
    share = rows.select(close.verdict()).to_series()[0]["score"]
    high, low = 1 / (1 + math.exp(-3)), 0.5
    assert share == pytest.approx(high / (high + low))
    assert outcomes(Majority(), rows) == ["no_majority"] * 4
    assert outcomes(close, samples("1", "1", "2", "2", scores=[0, 0, 3, None])) == ["no_majority"] * 4


@pytest.mark.parametrize("reward", [-1e300, -800.0, 800.0, math.nan, math.inf, -math.inf])
def test_rewards_of_any_size_leave_a_vote(reward):
    rows = samples("1", "1", "1", "2", scores=[reward] * 4)
    verdicts = rows.select(Majority().verdict()).to_series()
    assert outcomes(Majority(), rows) == ["keep", "keep", "keep", "minority_answer"]
    assert verdicts.struct.field("score").to_list() == pytest.approx([0.75] * 4)


def test_long_answers_vote_and_are_remembered_by_their_beginning():
    proof = "x" * 5000
    rows = samples(*[proof] * 5, proof[:-1] + "y", reference="41")
    found = outcomes(Majority(vote_despite_reference=True), rows)
    assert found == ["keep"] * 5 + ["minority_answer"]
    sketched = Majority().sketch(rows.with_columns(verdict_reward_score=None, method=None))
    assert sketched["answer"].str.len_chars().max() < 2100
    assert outcomes(SuspectGold(), rows) == ["undecidable"] * 6


def test_problems_on_which_majority_can_only_abstain_are_known_before_sampling():
    problems = pl.DataFrame({"problem": ["?", "?"], "reference_answer": ["1", None]})
    assert Majority().unverifiable(problems).to_list() == ["not_applicable", None]
    assert Majority(vote_despite_reference=True).unverifiable(problems).to_list() == [None, None]
    assert Majority().unverifiable(problems.drop("reference_answer")).to_list() == [None, None]


def test_what_can_be_verified_is_verified_and_the_rest_votes():
    rows = pl.concat([samples("42", "41", reference="42"), samples("7", "7", "7", "8", problem="q")])
    judged = Chain([load_entry({"any_of": ["verify_math", "majority"]})]).judge(rows)
    assert [v["reason"] or v["outcome"] for v in judged["verdict_any_of"]] == [
        "keep", "wrong_answer", "keep", "keep", "keep", "minority_answer",
    ]  # fmt: skip
    assert (
        outcomes(Majority(vote_despite_reference=True, min_samples=2, min_share=0.1), rows[:2]) == ["no_majority"] * 2
    )


@settings(deadline=None)
@given(answers, st.sampled_from(["1", "2", None]))
def test_gold_is_suspect_where_a_stable_majority_says_otherwise(given_answers, reference):
    suspect_gold = SuspectGold(min_samples=3, min_share=0.6, min_lead=1.0)
    found = outcomes(suspect_gold, samples(*given_answers, reference=reference))
    votes = Counter(answer for answer in given_answers if answer).most_common()
    stable = votes and len(given_answers) >= 3 and votes[0][1] / len(given_answers) >= 0.6 and lead_of(votes) >= 1
    suspect = stable and reference is not None and votes[0][0] != reference
    assert found == ["suspect_gold" if suspect else "keep"] * len(given_answers)


def test_suspect_gold_knows_mathematics_and_what_it_does_not():
    assert outcomes(SuspectGold(), samples(*["$x+1$"] * 4, reference="1+x")) == ["keep"] * 4
    assert outcomes(SuspectGold(), samples(*["7"] * 4, reference=r"\ref{} ???")) == ["undecidable"] * 4
    verdict = samples(*["42"] * 7, "41", reference="41").select(SuspectGold().verdict()).to_series()[7]
    assert verdict["evidence"] == "reference 41, but the samples say 42: 7 of 8, 41: 1 of 8"
    assert verdict["score"] == 0.875
    assert outcomes(SuspectGold(), samples("42", "42", "42", "41", reference="41")) == ["keep"] * 4


def test_what_compares_is_part_of_the_provenance():
    compares_by = SuspectGold().provenance()["compares_by"]
    assert compares_by == load("verify_math").provenance()
    assert SuspectGold().provenance()["digest"] != SuspectGold(min_lead=0).provenance()["digest"]


def test_rows_that_disagree_on_what_was_drawn_have_no_pass_rate():
    rows = pl.DataFrame({"problem_id": ["p", "p", "q"], "samples_drawn": [4, 8, 8]})
    assert outcomes(load("pass_rate"), rows) == ["inconsistent_counts"] * 2 + ["keep"]


@given(st.integers(1, 9), st.integers(1, 9))
def test_pass_rate_counts_survivors_by_what_was_drawn(passed, drawn):
    rows = pl.DataFrame({"problem_id": ["p"] * passed, "samples_drawn": [drawn] * passed})
    expected = "keep"
    if passed > drawn:
        expected = "inconsistent_counts"
    elif passed / drawn < 0.3 or passed / drawn > 0.8:
        expected = "too_hard" if passed / drawn < 0.3 else "too_easy"
    assert outcomes(load("pass_rate", min_rate=0.3, max_rate=0.8), rows) == [expected] * passed


JUDGED = Chain([load("length", min_tokens=1), load("verify_math"), load("rejection_sampling", keep=2)]).judge(
    pl.DataFrame(
        {
            "problem_id": ["a"] * 6 + ["b"] * 2 + ["c"],
            "problem": ["?"] * 9,
            "sample": [0, 1, 2, 3, 4, 5, 0, 1, 0],
            "reasoning": [None] * 9,
            "response": [f"A: {a}" for a in ("1", "1", "1", "2", "2", "?")] + ["A: 2", "nothing", "A: 1"],
            "reference_answer": ["1"] * 5 + [r"\ref{} ???"] + ["1"] * 3,
            "completion_tokens": [10, 20, 30, 21, 12, 11, 10, 10, 10],
        }
    )
)


def test_pairs_are_of_one_problem_and_near_in_length():
    pairs = preference_pairs(JUDGED, per_problem=2)
    rows = pairs.select("problem_id", "chosen_sample", "rejected_sample", "chosen_tokens", "rejected_tokens").rows()
    assert sorted(rows) == [("a", 0, 4, 10, 12), ("a", 1, 3, 20, 21)]
    assert len(preference_pairs(JUDGED)) == 1
    assert preference_pairs(JUDGED)["chosen_response"].to_list() == ["A: 1"]
    assert preference_pairs(JUDGED)["rejected_response"].to_list() == ["A: 2"]
    assert preference_pairs(JUDGED.reverse(), per_problem=2).sort("chosen_sample").equals(pairs.sort("chosen_sample"))
    assert {*pairs["chosen_sample"]} <= {*kept(JUDGED)["sample"]}


def test_pairs_need_a_verifier():
    with pytest.raises(FilterError, match=r"no verdicts of 'judge' in the frame\. Filters that judged it: length"):
        preference_pairs(JUDGED, verifier="judge")
    assert preference_pairs(JUDGED.clear()).is_empty()


def trajectories(*rows: tuple[str, str | None, int | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"problem_id": "a", "problem": "?", "sample": number, "reasoning": "so", "response": response,
             "finish_reason": finish, "completion_tokens": tokens, "reference_answer": "1"}
            for number, (response, finish, tokens) in enumerate(rows)
        ],
        schema_overrides={"completion_tokens": pl.Int32, "finish_reason": pl.String},
    )  # fmt: skip


def test_what_never_finished_is_no_wrong_answer():
    rows = trajectories(
        ("A: 1", "stop", 10), ("A: 2 and so", "length", 10), ("no answer", "stop", 10), ("A: 3", None, 900)
    )
    judged = Chain([load("verify_math")]).judge(rows)
    assert preference_pairs(judged, per_problem=9)["rejected_sample"].to_list() == [3]
    assert preference_pairs(judged.drop("finish_reason"))["rejected_sample"].to_list() == [1]
    assert preference_pairs(judged, unfinished=True)["rejected_sample"][0] in (1, 2)
    unknown = preference_pairs(judged.drop("completion_tokens"))
    assert unknown.select("chosen_tokens", "rejected_tokens").row(0) == (1, 1)


def test_what_a_member_rejects_and_another_keeps_is_not_wrong():
    rows = trajectories(("A: 1", "stop", 10), ("A: 2", "stop", 500), ("A: 2", "stop", 11))
    judged = Chain([load_entry({"any_of": ["verify_math", {"length": {"min_tokens": 100}}]})]).judge(rows)
    assert kept(judged)["sample"].to_list() == [0, 1]
    for verifier in ("any_of", "any_of.verify_math"):
        assert preference_pairs(judged, verifier=verifier, per_problem=3)["rejected_sample"].to_list() == [2]
