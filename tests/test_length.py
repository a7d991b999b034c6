"""Length by one limit for all, and by a teacher's own distribution."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import Chain, FilterError, load
from filters.length import Length
from filters.length_outlier import LengthOutlier


def reasons(frame, f):
    return [v["reason"] or v["outcome"] for v in frame.select(f.verdict()).to_series()]


def test_unknown_tokens_are_estimated_where_asked_for():
    frame = pl.DataFrame(
        {"completion_tokens": [None, None, 300, None], "reasoning": ["x" * 1000, None, None, "x"], "response": "y" * 50}
    ).with_columns(response=pl.when(pl.int_range(4) < 3).then("response"))
    assert reasons(frame, Length()) == ["missing_input", "missing_input", "keep", "missing_input"]
    estimating = Length(chars_per_token=3.5)
    assert reasons(frame, estimating) == ["keep", "too_short", "keep", "missing_input"]
    assert frame.select(estimating.verdict()).to_series()[0]["score"] == pytest.approx(300)
    assert frame.select(estimating.verdict()).to_series()[0]["evidence"] == "estimated from 1050 characters"


def test_texts_are_not_asked_for_where_tokens_are_counted():
    frame = pl.DataFrame({"completion_tokens": [300]})
    assert Chain([Length()]).judge(frame)["verdict_length"][0]["outcome"] == "keep"
    with pytest.raises(FilterError, match="response"):
        Chain([Length(chars_per_token=3.5)]).judge(frame)


@given(
    tokens=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    lower=st.floats(0, 0.45),
    upper=st.floats(0, 0.45),
)
def test_never_more_than_the_share_and_only_from_the_ends(tokens, lower, upper):
    frame = pl.DataFrame({"completion_tokens": tokens, "teacher": "t", "domain": "math"})
    verdicts = reasons(frame, LengthOutlier(lower_share=lower, upper_share=upper))
    by_reason = {r: [t for t, v in zip(tokens, verdicts, strict=True) if v == r] for r in set(verdicts)}
    short, kept, long = (by_reason.get(r, []) for r in ("shorter_than_usual", "keep", "longer_than_usual"))
    assert len(short) <= lower * len(tokens) + 1e-9
    assert len(long) <= upper * len(tokens) + 1e-9
    assert kept
    assert max(short, default=0) < min(kept)
    assert max(kept) < min(long, default=99)


def test_groups_have_their_own_quantiles():
    frame = pl.DataFrame({"completion_tokens": [*range(1, 201), *range(1001, 1201)]})
    frame = frame.with_columns(teacher=pl.Series(["a"] * 200 + ["b"] * 200), domain=pl.lit("math"))
    longest = frame.filter(pl.Series(reasons(frame, LengthOutlier())) == "longer_than_usual")
    assert longest["completion_tokens"].to_list() == [200, 1200]
    together = frame.filter(pl.Series(reasons(frame, LengthOutlier(by=()))) == "longer_than_usual")
    assert together["completion_tokens"].to_list() == [1198, 1199, 1200]
    evidence = frame.select(LengthOutlier().verdict()).to_series()[199]["evidence"]
    assert evidence == "200 tokens; 200 rows of this group are kept from 1 to 199"


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(FilterError, match="leave nothing"):
        load("length_outlier", lower_share=0.5, upper_share=0.5)
