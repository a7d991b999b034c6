"""Every filter obeys one contract. A new file in filters/ is tested here without a new test."""

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_series_equal

import filters
from filters import VERDICT, FilterError, available, filter_class, load

FILTERS = [filter_class(name) for name in available()]
every_filter = pytest.mark.parametrize("cls", FILTERS, ids=lambda c: c.name())
every_problem_filter = pytest.mark.parametrize(
    "cls", [c for c in FILTERS if c.scope == "problem"], ids=lambda c: c.name()
)
every_row_filter = pytest.mark.parametrize("cls", [c for c in FILTERS if c.scope == "row"], ids=lambda c: c.name())


def example_frame(cls) -> pl.DataFrame:
    return pl.DataFrame([row for row, _ in cls.examples], infer_schema_length=None)


def judge(cls, frame: pl.DataFrame) -> pl.Series:
    return frame.select(cls().verdict()).to_series()


def documented(cls, section: str) -> set[str]:
    found = re.search(rf"{section}:(.*?)(?:\n\s*\w+:|\Z)", cls.__doc__, re.DOTALL)
    return set(re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", found[1])) if found else set()


@every_filter
def test_examples(cls):
    verdicts = judge(cls, example_frame(cls))
    assert [v["reason"] or v["outcome"] for v in verdicts] == [expected for _, expected in cls.examples]


@every_filter
def test_examples_show_what_is_kept_and_what_is_not(cls):
    expected = {reason for _, reason in cls.examples}
    assert {"keep", "missing_input"} < expected


@every_filter
def test_verdict_column(cls):
    verdicts = judge(cls, example_frame(cls))
    assert verdicts.name == f"verdict_{cls.name()}"
    assert verdicts.dtype == VERDICT
    for verdict in verdicts:
        assert verdict["outcome"] in ("keep", "reject", "abstain")
        assert (verdict["outcome"] == "keep") == (verdict["reason"] is None)
        assert verdict["score"] is None or verdict["score"] == verdict["score"]
        assert len(verdict["evidence"] or "") <= 300


@every_filter
def test_every_reason_is_documented(cls):
    assert "Score:" in cls.__doc__
    for verdict in judge(cls, example_frame(cls)):
        if verdict["outcome"] != "keep":
            section = "Rejects" if verdict["outcome"] == "reject" else "Abstains"
            assert verdict["reason"] in documented(cls, section)


@every_filter
def test_every_rejection_has_an_example(cls):
    promised = {
        word for word in documented(cls, "Rejects") if word in Path(sys.modules[cls.__module__].__file__).read_text()
    }
    rejected = {v["reason"] for v in judge(cls, example_frame(cls)) if v["outcome"] == "reject"}
    assert rejected <= promised
    assert rejected


@every_filter
def test_every_parameter_is_documented_and_has_a_default(cls):
    source = Path(sys.modules[cls.__module__].__file__).read_text()
    for name, field in cls.model_fields.items():
        assert not field.is_required()
        assert re.search(rf'^    {name}: .*\n    r?"""', source, re.MULTILINE), f"{name} has no docstring below it"


@every_filter
def test_reads_only_what_it_declares(cls):
    assert set(example_frame(cls).columns) == set(cls.reads)
    assert set(cls.nullable) <= set(cls.reads)


@every_filter
def test_null_is_never_kept(cls):
    frame = example_frame(cls)
    kept_row = next(row for row, expected in cls.examples if expected == "keep")
    blanked = [c for c in cls.reads if c not in cls.nullable]
    rows = [kept_row | {column: None} for column in blanked] + [dict.fromkeys(cls.reads)]
    verdicts = judge(cls, pl.DataFrame(rows, schema=frame.schema))
    assert [(v["outcome"], v["reason"]) for v in verdicts] == [("abstain", "missing_input")] * len(rows)


@every_filter
def test_columns_of_nothing_but_nulls_have_no_type(cls):
    verdicts = judge(cls, pl.DataFrame({column: [None, None] for column in cls.reads}))
    assert [v["reason"] for v in verdicts] == ["missing_input"] * 2


@every_filter
def test_nullable_columns_without_a_type(cls):
    kept_row = next(row for row, expected in cls.examples if expected == "keep")
    frame = pl.DataFrame([kept_row | dict.fromkeys(cls.nullable)])
    assert "missing_input" not in [v["reason"] for v in judge(cls, frame)]


@every_filter
def test_empty(cls):
    assert judge(cls, example_frame(cls).clear()).dtype == VERDICT


@every_filter
def test_same_rows_same_verdicts(cls):
    frame = example_frame(cls)
    assert_series_equal(judge(cls, frame), judge(cls, frame))


@every_row_filter
def test_row_scope_judges_rows_alone(cls):
    frame = example_frame(cls)
    alone = pl.concat([judge(cls, frame[i : i + 1]) for i in range(len(frame))])
    assert_series_equal(judge(cls, frame), alone)
    assert_series_equal(judge(cls, frame.reverse()).reverse(), alone)


@every_problem_filter
def test_problem_scope_judges_problems_alone(cls):
    frame = example_frame(cls).with_row_index("place")
    alone = pl.concat(
        part.with_columns(cls().verdict()) for part in frame.partition_by("problem_id", maintain_order=True)
    )
    assert_series_equal(judge(cls, frame), alone.sort("place")[cls.column()])


@every_filter
def test_entry_reads_back(cls):
    [(name, parameters)] = cls().entry().items()
    assert load(name, **parameters) == cls()
    assert cls.model_validate(cls().model_dump()) == cls()


@every_filter
def test_provenance_names_what_changes_verdicts(cls):
    facts = cls().provenance()
    assert facts["filter"] == cls.name()
    assert facts["parameters"] == cls().model_dump(mode="json")
    assert set(facts["libraries"]) == set(cls.libraries)
    assert facts == cls().provenance()


def test_provenance_changes_with_parameters():
    assert load("length").provenance()["digest"] != load("length", max_tokens=9999).provenance()["digest"]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("lenght", {}, "Did you mean 'length'"),
        ("nothing_like_it", {}, "Known filters: dedup_exact, "),
        ("length", {"min_tokns": 1}, "'min_tokns'. Did you mean 'min_tokens'"),
        ("length", {"max_tokens": -1}, r"max_tokens: .*found -1"),
        ("length", {"min_tokens": 9, "max_tokens": 3}, "nothing would be kept"),
        ("language_mix", {"language": "xx"}, "unknown language 'xx'"),
    ],
)
def test_a_wrong_entry_is_named(name, parameters, message):
    with pytest.raises(FilterError, match=message):
        load(name, **parameters)


def test_import_is_light_and_judging_imports_the_library():
    """A filter can be built, documented and checked without its heavy library."""
    code = (
        "import sys, filters\n"
        "for name in filters.available(): filters.load(name).provenance()\n"
        "heavy = {'math_verify', 'sympy', 'langdetect', 'datasketch', 'torch', 'numpy', 'distill'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(filters.__file__).parents[1])
