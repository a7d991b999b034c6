"""any_of and by_domain: small chains within a chain, which explain themselves in columns behind their own."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import VERDICT, Chain, Filter, FilterError, Verdict, abstain, funnel, kept, load_entry, reject

OUTCOMES = {
    "k": Verdict("keep", None, 1.0, "seen"),
    "r": reject("wrong"),
    "a": abstain("unsure"),
    "n": abstain("not_applicable"),
}


class Says(Filter):
    """Says what a column of the row says."""

    reads = ("a",)

    def judge_row(self, **row):
        return OUTCOMES[row["a"]]


class Repeats(Filter):
    """The same, seen together with all rows."""

    reads = ("b",)
    scope = "dataset"

    def judge_batch(self, rows):
        return [OUTCOMES[said] for said in rows["b"]]


class Insists(Says):
    """A second opinion in row scope."""

    reads = ("c",)

    def judge_row(self, **row):
        return OUTCOMES[row["c"]]


def either(said: list[str | None]) -> str:
    """What any_of promises, in Python."""
    for letter, meaning in (("k", "keep"), ("a", "unsure"), ("r", "wrong")):
        if letter in said:
            return meaning
    return "missing_input" if said[0] is None else "not_applicable"


letters = st.sampled_from(["k", "r", "a", "n", None])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(letters, letters, letters), max_size=12),
    st.permutations([Says(), Repeats(), Insists()]),
    st.integers(1, 3),
)
def test_any_of_is_what_it_promises_in_any_order_scope_and_batch(rows, members, batch):
    from filters.any_of import AnyOf

    frame = pl.DataFrame(rows, schema=dict.fromkeys("abc", pl.String), orient="row")
    chain = Chain([AnyOf(filters=tuple(members))])
    batches = [frame[start : start + batch] for start in range(0, len(frame), batch)] or [frame]
    judged = chain.judge_batches(lambda: batches)
    assert judged.columns[0] == "verdict_any_of"
    told = [v["reason"] or v["outcome"] for v in judged["verdict_any_of"]]
    assert told == [either([row[member.reads[0]] for member in members]) for row in frame.iter_rows(named=True)]
    # A member is shown only what those before it did not keep.
    still = pl.repeat(True, len(frame), dtype=pl.Boolean, eager=True)
    for member in members:
        column = judged[f"verdict_any_of.{member.name()}"]
        assert column.dtype == VERDICT
        assert column.is_not_null().to_list() == still.to_list()
        still &= ~column.struct.field("outcome").eq_missing("keep")


ROWS = pl.DataFrame(
    {
        "domain": ["math", "math", "code", "general", "law"],
        "completion_tokens": [300, 300, 300, 3, 3],
        "response": ["A: 42", "A: 41", "A: 41", "hello", "?"],
        "reference_answer": ["42", "42", None, None, None],
    }
)


def test_a_chain_in_each_domain():
    entry = {"by_domain": {"math": ["length", {"any_of": ["verify_math"]}], "code": "length", "general": []}}
    judged = Chain([load_entry(entry)]).judge(ROWS)
    assert [v["reason"] or v["outcome"] for v in judged["verdict_by_domain"]] == [
        "keep",
        "wrong_answer",
        "keep",
        "keep",
        "unnamed_domain",
    ]
    assert judged["verdict_by_domain"][1]["evidence"].endswith("41")
    assert judged["verdict_by_domain.math.any_of.verify_math"].is_not_null().to_list() == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert len(kept(judged)) == 3
    assert kept(judged).columns == ROWS.columns
    assert funnel(judged)["filter"].unique().to_list() == ["by_domain"]


def test_other_domains():
    judged = Chain([load_entry({"by_domain": {"math": "verify_math", "other": "length"}})]).judge(ROWS)
    assert [v["reason"] or v["outcome"] for v in judged["verdict_by_domain"]][2:] == ["keep", "too_short", "too_short"]


def test_a_frame_without_programs_needs_no_tests_of_programs():
    f = load_entry({"by_domain": {"math": "length", "code": "verify_math"}})
    judged = Chain([f]).judge(ROWS.drop("reference_answer"))
    assert [v["reason"] or v["outcome"] for v in judged["verdict_by_domain"]][:3] == ["keep", "keep", "missing_input"]


def test_provenance_follows_the_members():
    short, long = (load_entry({"any_of": [{"length": {"min_tokens": n}}, "verify_math"]}) for n in (1, 2))
    assert short.provenance()["digest"] != long.provenance()["digest"]
    assert [m["filter"] for m in short.provenance()["members"]] == ["length", "verify_math"]
    assert [leaf.name() for leaf in short.leaves] == ["length", "verify_math"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("any_of", r"any_of takes a list of filters.*found None"),
        ({"any_of": []}, "any_of takes a list"),
        ({"any_of": {"length": None}}, "any_of takes a list"),
        ({"any_of": ["length", "length"]}, "'length' more than once"),
        ({"any_of": ["lenght"]}, "Did you mean 'length'"),
        ({"any_of": [{"length": {"max": 3}}]}, "unknown parameter 'max'"),
        ({"by_domain": "length"}, "by_domain takes filters by domain"),
        ({"by_domain": {"math": ["length", "length"]}}, "'length' more than once"),
        ({"by_domain": {"math": "dedup_near"}}, "math: 'dedup_near' compares rows"),
    ],
)
def test_a_wrong_entry_is_named(entry, message):
    with pytest.raises(FilterError, match=message):
        load_entry(entry)
