"""The contract that every filter keeps, as checks that a test can run: of this package's filters, and of yours.

    >>> import pytest
    >>> from filters.testing import CONTRACT
    >>>
    >>> @pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
    >>> def test_my_filter(check):
    >>>     check(MyFilter)

Each check takes the filter's class, judges its ``examples``, and fails as a plain assertion. Needs no pytest itself.
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal, assert_series_equal

from filters._chain import Chain
from filters._filter import Filter
from filters._registry import load_entry
from filters._verdict import EVIDENCE_CHARS, MISSING_INPUT, VERDICT


def example_filter(cls: type[Filter]) -> Filter:
    """The filter that its examples are judged by."""
    return cls(**cls.example_parameters)


def example_frame(cls: type[Filter]) -> pl.DataFrame:
    """The rows of the examples."""
    return pl.DataFrame([row for row, _ in cls.examples], infer_schema_length=None)


def judge(cls: type[Filter], frame: pl.DataFrame) -> pl.Series:
    """The verdicts of the example filter."""
    return frame.select(example_filter(cls).verdict()).to_series()


def documented(cls: type[Filter], section: str) -> set[str]:
    """Every snake_case word in a section of the docstring: ``Score``, ``Rejects`` or ``Abstains``."""
    found = re.search(rf"{section}:(.*?)(?:\n\s*\w+:|\Z)", cls.__doc__ or "", re.DOTALL)
    return set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", found[1])) if found else set()


def source(cls: type[Filter]) -> str:
    """The text of the filter's file."""
    file = sys.modules[cls.__module__].__file__
    assert file is not None
    return Path(file).read_text(encoding="utf-8")


def is_named_like_its_file(cls: type[Filter]) -> None:
    """A newcomer guesses the file from the name in the recipe."""
    assert Path(sys.modules[cls.__module__].__file__ or "").stem == cls.name()


def examples_hold(cls: type[Filter]) -> None:
    """The examples say what the filter does."""
    verdicts = judge(cls, example_frame(cls))
    assert [v["reason"] or v["outcome"] for v in verdicts] == [expected for _, expected in cls.examples]


def examples_show_what_is_kept_and_what_is_not(cls: type[Filter]) -> None:
    """One kept row, one that cannot be judged, and one for each rejection."""
    expected = {reason for _, reason in cls.examples}
    assert {"keep", MISSING_INPUT} < expected
    rejected = {v["reason"] for v in judge(cls, example_frame(cls)) if v["outcome"] == "reject"}
    assert rejected <= documented(cls, "Rejects")
    assert rejected


def verdicts_are_well_formed(cls: type[Filter]) -> None:
    """Type, name, a reason exactly where a row is not kept, a finite score, evidence of bounded length."""
    verdicts = judge(cls, example_frame(cls))
    assert verdicts.name == f"verdict_{cls.name()}"
    assert verdicts.dtype == VERDICT
    for verdict in verdicts:
        assert verdict["outcome"] in ("keep", "reject", "abstain")
        assert (verdict["outcome"] == "keep") == (verdict["reason"] is None)
        assert verdict["score"] is None or verdict["score"] == verdict["score"]
        assert len(verdict["evidence"] or "") <= EVIDENCE_CHARS


def every_reason_is_documented(cls: type[Filter]) -> None:
    """The docstring lists what a funnel may show."""
    assert "Score:" in (cls.__doc__ or "")
    for verdict in judge(cls, example_frame(cls)):
        if verdict["outcome"] != "keep":
            section = "Rejects" if verdict["outcome"] == "reject" else "Abstains"
            assert verdict["reason"] in documented(cls, section)


def every_parameter_is_documented_and_has_a_default(cls: type[Filter]) -> None:
    """A filter stands in a recipe by its name alone."""
    for name, field in cls.model_fields.items():
        assert not field.is_required()
        assert re.search(rf'^    {name}: .*\n    r?"""', source(cls), re.MULTILINE), f"{name} has no docstring below it"


def reads_only_what_it_declares(cls: type[Filter]) -> None:
    """The examples have the columns that the filter reads, and no others."""
    f = example_filter(cls)
    assert set(example_frame(cls).columns) == {*f.required, *f.optional}
    assert set(cls.nullable) <= set(cls.reads)


def null_is_never_kept(cls: type[Filter]) -> None:
    """What is not there cannot be judged."""
    frame, f = example_frame(cls), example_filter(cls)
    kept = next(row for row, expected in cls.examples if expected == "keep")
    rows = [kept | {column: None} for column in f.required] if cls.reads else []
    rows.append(dict.fromkeys(frame.columns))
    verdicts = judge(cls, pl.DataFrame(rows, schema=frame.schema))
    assert [(v["outcome"], v["reason"]) for v in verdicts] == [("abstain", MISSING_INPUT)] * len(rows)


def columns_of_nothing_but_nulls_have_no_type(cls: type[Filter]) -> None:
    """Frames of few rows have such columns."""
    verdicts = judge(cls, pl.DataFrame({column: [None, None] for column in example_frame(cls).columns}))
    assert [v["reason"] for v in verdicts] == [MISSING_INPUT] * 2


def nullable_columns_may_be_null_or_absent(cls: type[Filter]) -> None:
    """A frame need not have a column in which a null is data."""
    f = example_filter(cls)
    kept = next(row for row, expected in cls.examples if expected == "keep")
    frame = pl.DataFrame([kept | dict.fromkeys(f.optional)])
    verdicts = judge(cls, frame)
    assert not cls.reads or MISSING_INPUT not in [v["reason"] for v in verdicts]
    assert_series_equal(judge(cls, frame.drop(f.optional)), verdicts)


def no_rows_no_verdicts(cls: type[Filter]) -> None:
    """An empty frame has an empty verdict column."""
    verdicts = judge(cls, example_frame(cls).clear())
    assert verdicts.dtype == VERDICT
    assert verdicts.is_empty()


def same_rows_same_verdicts(cls: type[Filter]) -> None:
    """Verdicts can be derived again."""
    assert_series_equal(judge(cls, example_frame(cls)), judge(cls, example_frame(cls)))


def row_scope_judges_rows_alone(cls: type[Filter]) -> None:
    """This is what makes it safe to judge a row while others are still being sampled."""
    if example_filter(cls).wide:
        return
    frame = example_frame(cls)
    alone = pl.concat([judge(cls, frame[i : i + 1]) for i in range(len(frame))])
    assert_series_equal(judge(cls, frame), alone)
    assert_series_equal(judge(cls, frame.reverse()).reverse(), alone)


def problem_scope_judges_problems_alone(cls: type[Filter]) -> None:
    """This is what makes it safe to judge shards that hold whole problems."""
    if cls.scope != "problem":
        return
    frame = example_frame(cls).with_row_index("place")
    parts = frame.partition_by("problem_id", maintain_order=True)
    alone = pl.concat(part.with_columns(example_filter(cls).verdict()) for part in parts)
    assert_series_equal(judge(cls, frame), alone.sort("place")[cls.column()])


def batches_do_not_matter(cls: type[Filter]) -> None:
    """A chain that sees the rows in batches says the same as one that sees them at once."""
    frame, chain = example_frame(cls), Chain([example_filter(cls)])

    def in_twos() -> Iterator[pl.DataFrame]:
        return (frame[start : start + 2] for start in range(0, len(frame), 2))

    assert_frame_equal(chain.judge_batches(in_twos), chain.judge_batches(lambda: [frame]))


def entry_reads_back(cls: type[Filter]) -> None:
    """What a manifest records builds the same filter again."""
    f = example_filter(cls)
    assert load_entry(f.entry()) == f


def provenance_names_what_changes_verdicts(cls: type[Filter]) -> None:
    """Parameters, source and libraries, and a digest of them."""
    facts = example_filter(cls).provenance()
    assert facts["filter"] == cls.name()
    assert facts["parameters"] == example_filter(cls).entry()[cls.name()]
    assert set(facts["libraries"]) == set(cls.libraries)
    assert facts == example_filter(cls).provenance()


CONTRACT: tuple[Callable[[type[Filter]], None], ...] = (
    is_named_like_its_file,
    examples_hold,
    examples_show_what_is_kept_and_what_is_not,
    verdicts_are_well_formed,
    every_reason_is_documented,
    every_parameter_is_documented_and_has_a_default,
    reads_only_what_it_declares,
    null_is_never_kept,
    columns_of_nothing_but_nulls_have_no_type,
    nullable_columns_may_be_null_or_absent,
    no_rows_no_verdicts,
    same_rows_same_verdicts,
    row_scope_judges_rows_alone,
    problem_scope_judges_problems_alone,
    batches_do_not_matter,
    entry_reads_back,
    provenance_names_what_changes_verdicts,
)
"""Every check, in the order in which their failures are best read."""
