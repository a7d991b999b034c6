"""Labels: they decide where they were said of this text, and are part of what verdicts depend on."""

import datetime

import polars as pl
import pytest

from distill import Run
from distill.progress import Silent
from distill.run import make, open_run
from filters import FilterError, load
from filters._labels import LABEL, text_digest

RECIPE = """\
problems:
  arithmetic: {count: 3, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic}
verdicts: [format]
"""
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ROWS = pl.DataFrame(
    {"problem_id": ["p", "p", "q", "r"], "sample": [0, 1, 0, 0], "reasoning": ["a", None, "a", "a"], "response": "b"}
)


def write(path, *labels):
    rows = [(problem_id, sample, label, digest, NOW) for problem_id, sample, label, digest in labels]
    pl.DataFrame(rows, schema=LABEL, orient="row").write_parquet(path)


def test_a_label_decides_the_row_whose_text_it_was_said_of(tmp_path):
    path = tmp_path / "labels.parquet"
    write(
        path,
        ("p", 0, "good", text_digest("a", "b")),
        ("p", 1, "bad", text_digest(None, "b")),
        ("q", 0, "bad", text_digest("ab", "")),
    )
    verdicts = ROWS.select(load("labels", path=str(path)).verdict()).to_series()
    said = [(v["outcome"], v["reason"], v["score"]) for v in verdicts]
    assert said == [
        ("keep", None, 1.0),
        ("reject", "labelled_bad", 0.0),
        ("abstain", "text_changed", None),
        ("keep", None, None),
    ]
    before = load("labels", path=str(path)).provenance()
    write(path, ("p", 0, "bad", text_digest("a", "b")))
    after = load("labels", path=str(path)).provenance()
    assert (before["labelled"], after["labelled"]) == (3, 1)
    assert before["digest"] != after["digest"], "another label, other verdicts: the run judges again"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "labels knows no label: name the file"),
        ({"path": "nowhere.parquet"}, "no file of labels 'nowhere.parquet': label rows in `distill view` first"),
        ({"path": "other.parquet"}, "is no file of labels: expected Parquet with the columns problem_id, sample"),
        ({"path": "text.parquet"}, "is no file of labels"),
        ({"bad": ["p#1"]}, "'p#1' names no row; expected '<problem_id> #<sample>'"),
    ],
)
def test_labels_that_cannot_be_read_are_told_before_anything_is_paid_for(tmp_path, monkeypatch, parameters, message):
    monkeypatch.chdir(tmp_path)
    pl.DataFrame({"x": [1]}).write_parquet("other.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(FilterError, match=message.replace("?", r"\?").replace("(", r"\(")):
        load("labels", **parameters).check_ready()


def test_a_run_shows_what_people_labelled(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE)
    make(open_run(tmp_path / "r.yaml", runs=tmp_path), Silent())
    run = Run("r", runs=tmp_path)
    assert len(run.labelled("bad")) == run.labels.collect().height == 0
    first = run.trajectories.select("problem_id", "sample").first().collect().row(0)
    write(tmp_path / "r" / "labels.parquet", (*first, "bad", "0"))
    assert len(run.labelled("bad")) == 1
    assert len(run.labelled("good")) == 0
