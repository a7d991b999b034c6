"""Looking at a run: what is selected is what is there, evidence is marked where it stands, model text does nothing."""

import re
import shutil
import subprocess
import sys

import polars as pl
import pytest
from test_page import PAYLOADS, Page

from distill import Run
from distill.look import Judged
from distill.progress import Silent
from distill.run import make, open_run
from distill.store import RunError
from filters import Chain, FilterError, Verdict, load
from filters._display import Explanation, Step, explanation
from filters._evidence import MOST_MARKS, locate, visible, windows, written

RECIPE = """\
problems:
  arithmetic: {count: 30, steps: [1, 4]}
trajectories:
  teacher: {program: arithmetic, mistake_share: 0.4}
  until: {accepted: 2, max_samples: 3}
verdicts:
  - format
  - length: {min_tokens: 20, max_tokens: 60}
  - any_of: [verify_math, readability]
  - dedup_exact
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    (folder / "small.yaml").write_text(RECIPE)
    make(open_run(folder / "small.yaml", runs=folder / "runs"), Silent())
    return folder / "runs"


@pytest.fixture
def run(runs):
    return Run("small", runs=runs)


# --- where evidence stands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "evidence", "marked", "how"),
    [
        ("It is 7, not 17 or 7.5.", "7", ["7"], "verbatim"),
        ("so ab, ab, ab", "ab, ab", ["ab, ab"], "verbatim"),
        ("Wait, again. Wait, again. ", "12 x Wait, again.", ["Wait, again.", "Wait, again."], "verbatim"),
        ("So \\boxed{4} it is", "verify_math: 4", ["4"], "verbatim"),
        ("(A) or (B)", "(A) | (B)", ["(A)", "(B)"], "verbatim"),
        ("The sum\n of 3, and FOUR.", "the sum of 3 and four", ["The sum\n of 3, and FOUR"], "normalised"),
        ("x = \\frac{ 1 }{ 2 }", "\\frac{1}{2}", ["\\frac{ 1 }{ 2 }"], "normalised"),
        ("In 2024 we\n1. built 3 houses", "en: In we built houses", ["In 2024 we\n1. built 3 houses"], "normalised"),
        ("How many real x?", "math500:276: how many real $x$", ["How many real x"], "normalised"),
        ("nothing of it", "same text as 8a#3", [], "absent"),
        ("anything", "", [], "absent"),
        ("anything", None, [], "absent"),
        ("", "x", [], "absent"),
        ("[a-z]+(", "[a-z]+(", ["[a-z]+("], "verbatim"),
    ],
)
def test_evidence_is_found_where_it_stands(text, evidence, marked, how):
    found = locate(text, evidence)
    assert [text[begin:end] for begin, end in found.spans] == marked
    assert found.how == how


def test_a_loop_is_marked_and_bounded():
    text = "Wait, let me think. " * 5_000
    found = locate(text, "Wait, let me think.")
    assert len(found.spans) == MOST_MARKS


def test_evidence_in_the_middle_of_a_long_text_is_shown():
    text = "a" * 40_000 + " here " + "b" * 40_000
    [(begin, end)] = locate(text, "here").spans
    shown = windows(len(text), [(begin, end)], 1_000)
    assert any(low <= begin and end <= high for low, high in shown)
    assert sum(high - low for low, high in shown) <= 1_100
    plain = written(text, [(begin, end)], plain=str, mark=lambda part: f"<{part}>", most=1_000)
    assert "<here>" in plain
    left_out = [int(number.replace(",", "")) for number in re.findall(r"\[… ([\d,]+) characters not shown …\]", plain)]
    assert sum(left_out) + sum(high - low for low, high in shown) == len(text)


def test_nothing_is_lost_or_doubled_by_marking():
    text = "".join(chr(97 + i % 26) for i in range(500))
    for spans in ([], [(0, 3)], [(498, 500)], [(1, 2), (2, 3), (100, 400)]):
        assert written(text, spans, plain=str, mark=str, most=1_000) == text


# --- one row ----------------------------------------------------------------------------------------------------------

ROW = {
    "problem_id": "p",
    "sample": 2,
    "problem": "6 times 7?",
    "reasoning": "6 times 7 is 42.",
    "response": "\\boxed{42}",
}


def test_a_chain_explains_a_row_step_by_step():
    chain = Chain([load("format"), load("length", min_tokens=50), load("verify_math"), load("dedup_exact")])
    row = ROW | {"reference_answer": "42", "finish_reason": "stop", "completion_tokens": 20, "domain": "math"}
    said = chain.explain(row)
    assert said.fate == "length: too_short"
    assert [step.outcome for step in said.steps] == ["keep", "reject", "", ""]
    assert "fallen before" in said.steps[2].note
    assert "among=" in said.steps[3].note
    text = repr(chain.explain(row, exhaustive=True))
    assert "⟪" not in text, "the evidence of length is a number"
    whole = repr(Chain([load("format"), load("verify_math")]).explain(row))
    assert whole.startswith("kept · p #2 · 20 tokens")
    assert "6 times 7 is ⟪42⟫." in whole


def test_a_row_is_explained_among_others():
    rows = pl.DataFrame([ROW, ROW | {"sample": 3}, ROW | {"problem_id": "q"}])
    chain = Chain([load("dedup_exact")])
    assert chain.explain(ROW | {"sample": 3}, among=rows).fate == "dedup_exact: duplicate"
    assert chain.explain(rows[0], among=rows).fate == "kept"
    assert chain.explain(rows[0]).fate == "not judged"
    with pytest.raises(FilterError, match="found it 0 times"):
        chain.explain(ROW | {"sample": 9}, among=rows)
    with pytest.raises(FilterError, match="found a frame of 3"):
        chain.explain(rows)


def test_the_three_outcomes_have_names():
    keep, abstain = Step("a", Verdict("keep")), Step("b", Verdict("abstain", "timeout"))
    unasked = Step("c", None, "why")
    fates = [Explanation({}, steps).fate for steps in ((), (keep,), (keep, abstain), (keep, unasked), (unasked,))]
    assert fates == ["not judged", "kept", "b: timeout", "undecided", "not judged"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_model_text_is_never_markup_nor_an_escape(payload):
    said = []
    for text in (payload, "words"):
        verdict = {"outcome": "reject", "reason": text, "score": 0.5, "evidence": text}
        texts = dict.fromkeys(("problem_id", "problem", "reasoning", "response", "reference_answer"), text)
        said.append(explanation({**texts, "sample": 1, f"verdict_{text}": verdict}))
    pages = [Page(row._repr_html_()) for row in said]
    tags = [[tag for tag, _ in page.tags if tag != "mark"] for page in pages]
    assert tags[0] == tags[1], "the same elements, whatever the text says"
    assert not [
        name for page in pages for _, attributes in page.tags for name in attributes if name not in ("class", "colspan")
    ]
    assert visible(payload) in pages[0].text
    for text in (said[0]._repr_html_(), repr(said[0])):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


# --- a run ------------------------------------------------------------------------------------------------------------


def test_a_run_has_its_tables_and_its_chain(run):
    assert run.problems.collect().height == 30
    rows = run.trajectories.select(pl.len()).collect().item()
    assert run.verdicts.select(pl.len()).collect().item() == rows == run.judged.collect().height
    assert [f.name() for f in run.chain.filters] == run.filters == ["format", "length", "any_of", "dedup_exact"]
    assert isinstance(run.trajectories, pl.LazyFrame)
    assert "problems, trajectories, verdicts" in repr(run)
    with pytest.raises(RunError, match=r"run `distill dataset` with the recipe of small first"):
        _ = run.dataset


def test_every_row_is_kept_rejected_or_abstained_on(run):
    parts = [run.kept, run.rejected(), run.abstained()]
    rows = run.trajectories.select(pl.len()).collect().item()
    assert sum(map(len, parts)) == rows
    fallen = {name: len(run.rejected(name)) for name in run.filters}
    assert sum(fallen.values()) == len(run.rejected())
    assert fallen["length"] > 0
    tally = run.funnel.frame.filter((pl.col("filter") == "length") & (pl.col("outcome") == "reject"))
    assert tally["rows"].sum() == fallen["length"]
    few = run.rejected("length", "too_short").sample(5)
    assert few.frame["completion_tokens"].max() < 20
    assert {row.fate for row in few} == {"length: too_short"}
    assert few.keys.equals(run.rejected("length", "too_short").sample(5).keys), "drawn by a hash"
    assert not few.keys.equals(run.rejected("length", "too_short").sample(5, seed=1).keys)


def test_borderline_rows_lie_on_either_side_of_the_threshold(run):
    border = run.borderline("length", rows=4)
    lines = {t.reason: (t.parameter, t.value, t.separates) for t in border.thresholds}
    assert lines == {"too_short": ("min_tokens", 20.0, True), "too_long": ("max_tokens", 60.0, True)}
    tokens = run.trajectories.select("completion_tokens").collect().to_series()
    assert border.rejected("too_long").frame["completion_tokens"].min() == tokens.filter(tokens > 60).min()
    assert border.kept("too_long").frame["completion_tokens"].max() == tokens.filter(tokens <= 60).max()
    assert border.kept("too_short").frame["completion_tokens"].min() == tokens.filter(tokens >= 20).min()
    assert "too_long: max_tokens = 60" in repr(border)


def test_siblings_stand_side_by_side(run):
    first = run.kept[0]
    siblings = run.problem(first.row["problem_id"])
    assert [row.row["sample"] for row in siblings] == list(range(len(siblings)))
    assert siblings.frame["problem"].n_unique() == 1
    html = siblings._repr_html_()
    assert html.count(visible(first.row["problem"])) == 1, "the problem once, not once a sample"
    assert f"problem {first.row['problem_id']}, {len(siblings)} samples" in repr(siblings)
    assert run.problem(first.row["problem"]).frame.equals(siblings.frame)
    assert run.explain(first.row["problem_id"], first.row["sample"]).fate == "kept"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run: run.rejected("lenght"), "Did you mean 'length'"),
        (lambda run: run.rejected("length", "too_wide"), "there are too_long, too_short"),
        (lambda run: run.problem("no such"), "no problem of the id 'no such' among 30"),
        (lambda run: run.problem(""), "no problem of the id"),
        (lambda run: run.explain(run.kept[0].row["problem_id"], 99), "no sample 99"),
        (lambda run: run.borderline("x"), "Filters that judged: format, length, any_of"),
    ],
)
def test_what_is_not_there_is_named(run, ask, message):
    with pytest.raises((FilterError, RunError), match=message):
        ask(run)


def test_a_run_that_is_not_there_is_named(runs):
    with pytest.raises(RunError, match="did you mean 'small'"):
        Run("smal", runs=runs)
    with pytest.raises(RunError, match="no run 'nothing'"):
        Run("nothing", runs=runs / "elsewhere")


def test_a_run_opens_by_its_folder_wherever_it_is_moved(runs, tmp_path):
    shutil.copytree(runs / "small", tmp_path / "moved")
    moved = Run(tmp_path / "moved")
    assert len(moved.kept) == len(Run("small", runs=runs).kept)
    assert moved.stored.recipe == Run("small", runs=runs).stored.recipe


def test_any_judged_frame_can_be_looked_at():
    rows = pl.DataFrame({"completion_tokens": [5, 6, 10, 11, 40], "response": ["a"] * 5})
    judged = Judged(Chain([load("length", min_tokens=7, max_tokens=30)]).judge(rows))
    assert [row.name for row in judged.rejected("length")] == ["row 0 #0", "row 1 #0", "row 4 #0"]
    assert (
        repr(judged.rejected("length", "too_long"))
        .splitlines()[2]
        .startswith("length: too_long · row 4 #0 · 40 tokens")
    )
    assert len(Judged(rows).kept) == 0
    assert repr(Judged(rows).rejected()) == "no rows rejected"
    [short, long] = judged.borderline("length").thresholds
    assert (str(short), str(long)) == ("too_short: between 6 and 10", "too_long: between 11 and 40")


def test_scores_that_do_not_decide_are_said_to(run):
    said = [("keep", None, 1.0), ("keep", None, 5.0), ("keep", None, 2.0)]
    said += [("reject", "wide", 4.0), ("reject", "wide", 9.0), ("reject", "unscored", None)]
    verdicts = [{"outcome": o, "reason": r, "score": s, "evidence": None} for o, r, s in said]
    rows = pl.DataFrame({"completion_tokens": [1] * 6, "verdict_odd": verdicts})
    border = Judged(rows).borderline("odd", rows=1)
    assert [str(t) for t in border.thresholds] == ["wide: not by the score alone, kept rows reach 5, rejected ones 4"]
    assert [row.name for row in border.rejected("wide")] == ["row 3 #0"]
    assert [row.name for row in border.kept("wide")] == ["row 1 #0"]


def test_everything_has_html_and_text(run):
    things = [
        run.funnel,
        run.kept,
        run.rejected().head(2),
        run.borderline("length"),
        run.problem(run.kept[0].row["problem_id"]),
    ]
    for thing in [*things, run.kept[0]]:
        page = Page(thing._repr_html_())
        assert not page.open
        assert "<" not in repr(thing)[:1], "its own text, not Python's <object at …>"
    assert max(map(len, repr(run.funnel).splitlines())) <= 80
    assert "&emsp;verify_math" in run.funnel._repr_html_(), "a member stands in, as in the text"


def test_the_package_stays_light():
    code = (
        "import distill, sys; print(sorted({'polars', 'pydantic', 'IPython', 'altair', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = (
        "from distill import Run; import sys; print(sorted({'IPython', 'altair', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
