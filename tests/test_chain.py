"""A chain is a fold over survivors: pure, in order, and equal to the slow version that goes row by row."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from filters import Chain, Filter, FilterError, Verdict, funnel, kept, load, overlap, reject, through
from filters._verdict import verdict_series

TRAJECTORIES = pl.DataFrame(
    {
        "problem_id": ["a", "a", "a", "a", "b"],
        "sample": [0, 1, 2, 3, 0],
        "reasoning": ["6 times 7"] * 4 + [None],
        "response": ["A: 42", "A: 42", "A: 41", "So\nA: 42", "A: 7"],
        "reference_answer": ["42"] * 4 + [None],
        "completion_tokens": [10, 500, 500, 600, 500],
    }
)
CHAIN = Chain([load("length"), load("verify_math"), load("dedup_exact"), load("rejection_sampling")])


def reasons(judged, name):
    return judged[f"verdict_{name}"].struct.field("reason").to_list()


def test_judge_keeps_rows_order_and_columns():
    judged = CHAIN.judge(TRAJECTORIES)
    assert_frame_equal(judged.select(TRAJECTORIES.columns), TRAJECTORIES)
    assert judged.columns[len(TRAJECTORIES.columns) :] == [f.column() for f in CHAIN.filters]


def test_first_rejection_decides_and_later_verdicts_are_null():
    judged = CHAIN.judge(TRAJECTORIES)
    assert reasons(judged, "length") == ["too_short", None, None, None, None]
    assert judged["verdict_verify_math"].is_null().to_list() == [True, False, False, False, False]
    assert reasons(judged, "verify_math")[1:] == [None, "wrong_answer", None, "missing_input"]


def test_a_copy_of_a_rejected_row_is_not_a_duplicate():
    assert reasons(CHAIN.judge(TRAJECTORIES), "dedup_exact")[1] is None


def test_exhaustive_judges_every_row_by_every_filter():
    judged = CHAIN.judge(TRAJECTORIES, exhaustive=True)
    assert sum(judged.null_count().select(f.column() for f in CHAIN.filters).row(0)) == 0
    assert reasons(judged, "dedup_exact")[1] == "duplicate"


def test_kept_and_through():
    judged = CHAIN.judge(TRAJECTORIES)
    assert kept(judged)["completion_tokens"].to_list() == [500]
    assert through(judged, "length")["completion_tokens"].to_list() == [500, 500, 600, 500]
    assert through(judged, "rejection_sampling").equals(kept(judged))
    with pytest.raises(FilterError, match="Filters that judged it: length, verify_math"):
        through(judged, "format")


def test_funnel_accounts_for_every_row_and_token():
    table = funnel(CHAIN.judge(TRAJECTORIES))
    fallen = table.filter(pl.col("outcome") != "keep")
    assert fallen["rows"].sum() + 1 == len(TRAJECTORIES)
    assert fallen["tokens"].sum() + 500 == TRAJECTORIES["completion_tokens"].sum()
    assert table["filter"].unique(maintain_order=True).to_list() == [f.name() for f in CHAIN.filters]
    shares = table.group_by("filter").agg(pl.col("share").sum())["share"]
    assert shares.to_list() == pytest.approx([1.0] * len(shares))


def test_funnel_shows_filters_that_kept_or_saw_nothing():
    table = funnel(Chain([load("length", max_tokens=300), load("dedup_exact")]).judge(TRAJECTORIES))
    assert table.select("filter", "outcome", "rows").rows() == [
        ("length", "keep", 0),
        ("length", "reject", 4),
        ("length", "reject", 1),
        ("dedup_exact", "keep", 0),
    ]


def test_funnel_without_tokens():
    frame = TRAJECTORIES.drop("completion_tokens")
    assert "tokens" not in funnel(Chain([load("dedup_exact")]).judge(frame)).columns


def test_overlap_counts_pairs_and_what_only_one_filter_stops():
    table = overlap(CHAIN.judge(TRAJECTORIES, exhaustive=True))
    cell = {(row["filter"], row["other"]): (row["rows"], row["alone"]) for row in table.iter_rows(named=True)}
    assert cell["length", "length"] == (1, 1)
    assert cell["verify_math", "rejection_sampling"] == (1, 1)


def test_empty_chain_and_empty_frame():
    assert_frame_equal(Chain([]).judge(TRAJECTORIES), TRAJECTORIES)
    assert_frame_equal(kept(TRAJECTORIES), TRAJECTORIES)
    judged = CHAIN.judge(TRAJECTORIES.clear())
    assert len(judged) == 0
    assert funnel(judged)["rows"].to_list() == [0, 0, 0, 0]


def test_a_missing_column_is_named_before_anything_is_judged():
    with pytest.raises(
        FilterError, match=r"'verify_math' reads the column 'reference_answer'.*Columns present: problem_id"
    ):
        CHAIN.judge(TRAJECTORIES.drop("reference_answer"))


def test_a_wrong_type_is_named():
    with pytest.raises(FilterError, match=r"'length' could not judge the columns \(completion_tokens: String\)"):
        CHAIN.judge(TRAJECTORIES.with_columns(completion_tokens=pl.lit("many")))


def test_verdicts_are_not_judged_over():
    with pytest.raises(FilterError, match="already has the verdict column 'verdict_length'"):
        CHAIN.judge(CHAIN.judge(TRAJECTORIES))


def test_a_filter_stands_in_a_chain_once():
    with pytest.raises(FilterError, match="'length' more than once"):
        Chain([load("length"), load("length", max_tokens=512)])


rows = st.fixed_dictionaries(
    {
        "problem_id": st.sampled_from("abc"),
        "sample": st.integers(0, 3),
        "reasoning": st.none() | st.sampled_from(["6 times 7", "40 plus 2 is 42"]),
        "response": st.none() | st.sampled_from(["A: 42", "A: 41", "nothing"]),
        "reference_answer": st.none() | st.sampled_from(["42", "41"]),
        "completion_tokens": st.none() | st.integers(250, 260),
    }
)
SCHEMA = TRAJECTORIES.schema


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=12))
def test_the_chain_is_a_fold(data):
    frame = pl.DataFrame(data, schema=SCHEMA)
    judged = CHAIN.judge(frame)
    assert_frame_equal(judged.select(frame.columns), frame)
    alive = list(range(len(frame)))
    for f in CHAIN.filters:
        verdicts = frame[alive].select(f.verdict()).to_series().to_list() if alive else []
        expected = dict(zip(alive, verdicts, strict=True))
        assert judged[f.column()].to_list() == [expected.get(row) for row in range(len(frame))]
        alive = [row for row in alive if expected[row]["outcome"] == "keep"]
    assert_frame_equal(kept(judged), frame[alive])


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, max_size=12), st.integers(1, 5), st.integers(0, 4), st.data())
def test_batches_known_verdicts_and_a_head_start_change_nothing(data, batch, done, draw):
    frame = pl.DataFrame(data, schema=SCHEMA)
    whole = CHAIN.judge(frame).select("^verdict_.*$")
    batches = [frame[start : start + batch] for start in range(0, len(frame), batch)] or [frame]
    assert_frame_equal(CHAIN.judge_batches(lambda: batches), whole)
    after = Chain(CHAIN.filters[done:]).judge_batches(lambda: batches, after=whole.select(whole.columns[:done]))
    assert_frame_equal(after, whole)
    remembered = pl.Series(
        draw.draw(st.lists(st.booleans(), min_size=len(frame), max_size=len(frame))), dtype=pl.Boolean
    )
    known = whole.select(
        pl.when(remembered).then(pl.col(c)).alias(c) for c in ("verdict_length", "verdict_verify_math")
    )
    assert_frame_equal(CHAIN.judge_batches(lambda: batches, known=known), whole)


@pytest.mark.parametrize("missing", [0, 1, 4])
def test_a_batch_in_which_nothing_can_be_judged_is_no_fault(missing):
    rows = TRAJECTORIES[1:].with_columns(response=pl.lit("A: 42"))
    unread = rows[:1].with_columns(response=None).cast(rows.schema)
    batches = [rows[i : i + 1] for i in range(4)]
    batches.insert(missing, unread)
    judged = Chain([load("dedup_exact")]).judge_batches(lambda: batches)
    assert sorted(v["reason"] or "keep" for v in judged["verdict_dedup_exact"]) == [
        *("duplicate", "duplicate", "keep", "keep", "missing_input")
    ]


class Once(Filter):
    """Remembers the length of a text, and looks at the text again only of rows as long as an earlier one."""

    reads = ("response",)
    scope = "dataset"

    def sketch(self, rows):
        return rows.select(pl.col("response").str.len_chars())

    def judge_sketches(self, sketches, rows_at):
        seen: set[str] = set()
        verdicts = [Verdict("keep")] * len(sketches)
        for again in rows_at(sketches["response"].is_duplicated().arg_true()):
            for place, response in again.select("place", "response").iter_rows():
                if response in seen:
                    verdicts[place] = reject("again")
                seen.add(response)
        return verdict_series(verdicts)


@given(st.lists(st.sampled_from(["a", "b", "aa", "", None]), max_size=12), st.integers(1, 4))
def test_a_wide_filter_may_look_at_some_rows_again(responses, batch):
    frame = pl.DataFrame({"response": responses}, schema={"response": pl.String})
    batches = [frame[start : start + batch] for start in range(0, len(frame), batch)] or [frame]
    expected = [
        "missing_input" if text is None else "again" if text in responses[:place] else "keep"
        for place, text in enumerate(responses)
    ]
    for judged in (Chain([Once()]).judge_batches(lambda: batches), frame.select(Once().verdict())):
        assert [v["reason"] or v["outcome"] for v in judged["verdict_once"]] == expected


class Echo(Filter):
    """Wide, and looks at what another wide filter said."""

    reads = ("verdict_once",)
    nullable = ("verdict_once",)
    scope = "dataset"

    def judge_batch(self, rows):
        return [reject("heard", None, None if said is None else said["outcome"]) for said in rows["verdict_once"]]


def test_later_filters_see_earlier_verdicts():
    frame = pl.DataFrame({"response": ["a", "a", "b"]})
    judged = Chain([Once(), Echo()]).judge(frame)
    assert [v and v["evidence"] for v in judged["verdict_echo"]] == ["keep", None, "keep"]
    alone = Chain([Echo()]).judge(frame)
    assert [v["evidence"] for v in alone["verdict_echo"]] == [None] * 3


def test_no_batch_at_all_is_an_error():
    with pytest.raises(FilterError, match="no batch of rows"):
        CHAIN.judge_batches(list)
