"""The policy decides, ties go to the lower sample, and chance is a hash of the row's own key."""

import polars as pl
import pytest

from filters.rejection_sampling import RejectionSampling

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
