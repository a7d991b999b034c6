"""Filters of somebody else: a file in a folder, or an installed package, under the same contract."""

import importlib.metadata
import linecache
import sys
import types

import polars as pl
import pytest
from typer.testing import CliRunner

from distill.cli import app
from filters import Chain, FilterError, _registry, add_folder, available, filter_class, folders, load
from filters.testing import CONTRACT

SOURCE = r'''
"""Shouting teaches shouting."""

import polars as pl

from filters import Filter, verdict_where


class Shouting(Filter):
    """Keep responses that do not shout.

    Score: share (0..1) of capital letters.
    Rejects: shouting.
    Abstains: missing_input, undecidable.
    """

    max_share: float = 0.5
    """Largest share of capital letters that is kept."""

    reads = ("response",)
    examples = (
        ({"response": "Hello"}, "keep"),
        ({"response": "HELLO"}, "shouting"),
        ({"response": None}, "missing_input"),
    )

    def judge(self) -> pl.Expr:
        """Count capitals."""
        text = pl.col("response").cast(pl.String).str
        share = text.count_matches(r"\p{Lu}") / text.len_chars()
        return verdict_where(score=share, rejects={"shouting": share > self.max_share})
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_registry, "_folders", {})
    monkeypatch.delitem(sys.modules, "distill_filters_of_folders.shouting", raising=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "shouting.py").write_text(SOURCE)
    (tmp_path / "mine" / "_helper.py").write_text("")
    return tmp_path / "mine"


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_a_filter_from_a_folder_keeps_the_contract(folder, check):
    assert add_folder(folder) == ["shouting"]
    assert folders() == [folder.resolve()]  # what another process adds
    check(filter_class("shouting"))


def test_a_broken_filter_does_not(folder):
    (folder / "shouting.py").write_text(SOURCE.replace("Rejects: shouting", "Rejects: loud"))
    add_folder(folder)
    failed = []
    for check in CONTRACT:
        try:
            check(filter_class("shouting"))
        except AssertionError:
            failed.append(check.__name__)
    assert failed == ["examples_show_what_is_kept_and_what_is_not", "every_reason_is_documented"]


def test_its_provenance_follows_its_file(folder):
    add_folder(folder)
    digest = load("shouting").provenance()["digest"]
    del sys.modules["distill_filters_of_folders.shouting"]
    (folder / "shouting.py").write_text(SOURCE.replace("0.5", "0.50"))
    assert load("shouting").provenance()["digest"] != digest


def test_a_cell_that_becomes_a_file_changes_nothing_but_its_place(folder, monkeypatch):
    def in_a_cell(source, name):
        monkeypatch.setitem(linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name))
        cell = {"__name__": "__main__"}
        exec(compile(source, name, "exec"), cell)
        return cell["Shouting"](max_share=0.1)

    here = in_a_cell(SOURCE.strip(), "/tmp/ipykernel_1/1.py")
    add_folder(folder)
    moved = load("shouting", max_share=0.1)
    assert moved.provenance() == here.provenance()
    rows = pl.DataFrame({"response": ["Hi", "hello", None, ""]})
    assert Chain([moved]).judge(rows).equals(Chain([here]).judge(rows))
    changed = in_a_cell(SOURCE.replace(r"\p{Lu}", "[A-Z]"), "/tmp/ipykernel_1/2.py")
    assert changed.provenance()["digest"] != here.provenance()["digest"]


def test_the_command_line_takes_a_folder(folder, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"problem": "Say hello", "response": "HELLO"}\n')
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"trajectories: {{import: {{path: {tmp_path}/rows.jsonl}}}}\nverdicts: [shouting]\n")
    unknown = CliRunner().invoke(app, ["check", str(recipe)])
    assert unknown.exit_code == 2
    assert "unknown filter 'shouting'" in unknown.output
    done = CliRunner().invoke(app, ["run", str(recipe), "--filters", str(folder), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert ["reject", "shouting", "1", "100.0%"] in [line.split() for line in done.output.splitlines()]


@pytest.mark.parametrize(
    ("file", "source", "message"),
    [
        ("length.py", SOURCE, "cannot be the filter 'length': there is one already"),
        ("broken.py", "import nothing_of_that_name", "cannot be imported: ModuleNotFoundError"),
        ("quiet.py", SOURCE, "must define one filter, a class named 'quiet' in CamelCase; found Shouting"),
    ],
)
def test_a_file_that_is_no_filter_is_named(folder, file, source, message):
    (folder / file).write_text(source)

    def used():
        add_folder(folder)
        filter_class(file.removesuffix(".py"))

    with pytest.raises(FilterError, match=message):
        used()


def test_a_folder_without_filters_is_an_error(tmp_path):
    with pytest.raises(FilterError, match=r"expected files named <filter>.py there"):
        add_folder(tmp_path)
    shown = CliRunner().invoke(app, ["schema", "--filters", str(tmp_path)])
    assert shown.exit_code == 2


def test_an_installed_package_brings_filters_by_an_entry_point(folder, monkeypatch):
    module = types.ModuleType("their_package.shouting")
    module.__file__ = str(folder / "shouting.py")
    exec(compile(SOURCE, module.__file__, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = importlib.metadata.EntryPoint("shouting", module.__name__, "distill.filters")
    _registry._entry_points.cache_clear()
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if group == point.group else [])
    try:
        assert "shouting" in available()
        judged = Chain([load("shouting", max_share=0.1)]).judge(pl.DataFrame({"response": ["Hi", "hello"]}))
        assert [v["outcome"] for v in judged["verdict_shouting"]] == ["reject", "keep"]
    finally:
        _registry._entry_points.cache_clear()
