"""Judging stored trajectories again: nothing asked twice, what-if, overlap, audit; and gold that cannot be verified."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from distill import audit as audit_module
from distill.audit import audit
from distill.cli import app
from distill.progress import Silent
from distill.run import make, open_run
from distill.store import RunError
from distill.what_if import outcomes, overlaps, parse_change
from filters import Chain
from filters.length import Length
from filters.verify_math import VerifyMath

ROWS = [
    {"problem": "6 times 7?", "response": "A: 42", "reference_answer": "42", "completion_tokens": 10},
    {"problem": "6 times 7?", "response": "It is easy.\nA: 42", "reference_answer": "42", "completion_tokens": 20},
    {"problem": "6 times 7?", "response": "A: 41", "reference_answer": "42", "completion_tokens": 30},
    {"problem": "x plus 1?", "response": "A: $x+1$", "reference_answer": "1+x", "completion_tokens": 40},
    {"problem": "Prove it.", "response": "It holds.", "reference_answer": None, "completion_tokens": 50},
]
RECIPE = """
trajectories:
  import: {path: rows.jsonl}
verdicts:
  - length: {min_tokens: 10, max_tokens: 100}
  - verify_math
  - rejection_sampling: {keep: 1, by: shortest}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(folder, *overrides):
    run = open_run("recipe.yaml", runs=folder / "runs", overrides=overrides)
    make(run, Silent())
    return run


@pytest.fixture
def asked(monkeypatch):
    """The answers that verify_math is asked about."""
    seen = []
    real = VerifyMath.judge_batch
    monkeypatch.setattr(
        VerifyMath, "judge_batch", lambda self, rows: (seen.extend(rows["response"]), real(self, rows))[1]
    )
    return seen


def test_a_verdict_is_not_asked_for_twice(folder, asked):
    judged(folder)
    assert len(asked) == 4
    asked.clear()
    run = judged(folder, "verdicts.rejection_sampling.keep=2")
    assert asked == []
    assert run.manifest("verdicts")["facts"]["kept"] == 3


def test_what_has_changed_is_judged_again(folder, asked):
    judged(folder)
    asked.clear()
    rows = [ROWS[0] | {"response": "A: 43"}, *ROWS[1:], ROWS[0] | {"problem": "new", "response": "A: 7"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged(folder)
    assert asked == ["A: 43", "A: 7"]
    asked.clear()
    judged(folder, "verdicts.verify_math.units=require")
    assert len(asked) == 5


def test_an_abstention_is_asked_again(folder, monkeypatch):
    monkeypatch.setattr(VerifyMath, "compare", lambda self, pairs: dict.fromkeys(pairs, "timeout"))
    assert judged(folder).manifest("verdicts")["facts"]["kept"] == 0
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert judged(folder, "verdicts.rejection_sampling.keep=2").manifest("verdicts")["facts"]["kept"] == 3


def test_what_if_says_what_a_fresh_judgement_would(folder, asked):
    run = judged(folder)
    asked.clear()
    found = outcomes(run, [parse_change("length.min_tokens=5,15"), parse_change("rejection_sampling.keep=1,2")])
    assert asked == []
    assert [o.changes for o in found] == [
        {},
        {"length.min_tokens": 5, "rejection_sampling.keep": 1},
        {"length.min_tokens": 5, "rejection_sampling.keep": 2},
        {"length.min_tokens": 15, "rejection_sampling.keep": 1},
        {"length.min_tokens": 15, "rejection_sampling.keep": 2},
    ]
    for outcome in found[1:]:
        overrides = [f"verdicts.{name}={value}" for name, value in outcome.changes.items()]
        fresh = Chain(open_run("recipe.yaml", runs=folder, overrides=tuple(overrides)).recipe.verdicts)
        kept = fresh.judge(run.trajectories()).filter(
            pl.col("verdict_rejection_sampling").struct.field("outcome") == "keep"
        )
        assert (outcome.rows, outcome.tokens) == (kept.height, kept["completion_tokens"].sum())
    moved = found[3].fates.select("sample", "before", "after").rows()
    assert moved == [(0, "kept", "length: too_short"), (1, "rejection_sampling: surplus", "kept")]
    assert judged(folder).manifest("verdicts")["facts"]["kept"] == found[0].rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("length", "expected filter.parameter=VALUE"),
        ("lenght.min_tokens=3", "no filter 'lenght' in the chain; it has length, verify_math"),
        ("length.min_tokns=3", "Did you mean 'min_tokens'"),
        ("length.min_tokens=[", "no YAML"),
    ],
)
def test_a_wrong_change_is_named(folder, change, message):
    run = judged(folder)
    with pytest.raises(RunError, match=message):
        outcomes(run, [parse_change(change)])


def test_what_if_wants_verdicts_of_the_recipe_as_it_is(folder):
    judged(folder)
    changed = open_run("recipe.yaml", runs=folder / "runs", overrides=("verdicts.length.min_tokens=11",))
    with pytest.raises(RunError, match="run `distill verdicts` first"):
        outcomes(changed, [parse_change("length.min_tokens=5")])


def test_overlap_counts_every_row_by_every_filter(folder):
    cell = {(row["filter"], row["other"]): row["rows"] for row in overlaps(judged(folder)).iter_rows(named=True)}
    assert cell["verify_math", "verify_math"] == 2
    assert cell["length", "length"] == 0
    assert cell["rejection_sampling", "rejection_sampling"] == 2


def test_the_command_prints_tables_of_80_columns(folder):
    judged(folder)
    sweep, change = ["--what-if", "length.max_tokens=15,25,35"], ["--what-if", "length.min_tokens=15"]
    for arguments in (sweep, ["--overlap"], change):
        shown = CliRunner().invoke(app, ["verdicts", "recipe.yaml", *arguments])
        assert shown.exit_code == 0, shown.output
        assert max(map(len, shown.output.splitlines())) <= 80
    assert "length: too_short,length.min_tokens=15" in (folder / "runs/recipe/verdicts/what_if.csv").read_text()


def test_audit_finds_false_rejects_and_accepts(folder, monkeypatch):
    wrong = Length(min_tokens=15, max_tokens=35)  # a second verifier that differs on one row of each kind
    monkeypatch.setattr(audit_module, "_second", lambda verifier: wrong)
    [found] = audit(judged(folder), rows=400)
    assert (found.sampled, found.abstained) == (4, 0)
    assert (found.false_reject.wrong, found.false_reject.decided) == (1, 1)
    assert (found.false_accept.wrong, found.false_accept.decided) == (2, 3)
    assert 0 < found.false_accept.share.low < 2 / 3 < found.false_accept.share.high < 1
    listed = pl.read_csv(folder / "runs/recipe/verdicts/audit.csv")
    pairs = {*listed.select("first", "second").rows()}
    assert pairs == {("wrong_answer", "keep"), ("keep", "too_long"), ("keep", "too_short")}


def test_a_larger_audit_contains_the_smaller(folder):
    rows = [ROWS[number % 3] | {"problem": f"problem {number}"} for number in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = judged(folder)
    small, large = (
        audit_module._sample(run, run.recipe.verifier, count, seed=0).select("problem_id", "kept") for count in (10, 30)
    )
    assert (small["kept"].sum(), large["kept"].sum()) == (5, 15)
    assert small.join(large, on="problem_id", how="anti").is_empty()


def test_gold_that_does_not_parse_is_reported_before_sampling(folder):
    rows = [
        {"problem": "6 times 7?", "reference_answer": "42"},
        {"problem": "What is it?", "reference_answer": r"\ref{} ???"},
        {"problem": "Prove it.", "reference_answer": None},
    ]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.yaml").write_text(
        "problems: {path: problems.jsonl}\ntrajectories: {teacher: nobody/nothing}\nverdicts: [verify_math]\n"
    )
    shown = CliRunner().invoke(app, ["problems", "recipe.yaml"])
    assert shown.exit_code == 0, shown.output
    assert "1 of them can only be abstained on: unparsable_gold" in shown.output
    listed = pl.read_csv(folder / "runs/recipe/unverifiable.csv")
    assert dict(listed.select("problem", "reason").rows()) == {
        "What is it?": "unparsable_gold",
        "Prove it.": "missing_input",
    }


def test_ifeval_is_read_as_it_stands(folder, shared_data):
    (folder / "recipe.yaml").write_text(
        f"problems: {{path: {shared_data}/problems/ifeval.jsonl, columns: {{problem: prompt}}, domain: instruction}}\n"
        "trajectories: {teacher: nobody/nothing}\nverdicts: [verify_instructions]\n"
    )
    shown = CliRunner().invoke(app, ["problems", "recipe.yaml"])
    assert shown.exit_code == 0, shown.output
    assert "abstained" not in shown.output
