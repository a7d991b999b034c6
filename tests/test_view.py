"""The viewer: what is listed is what is there, nobody else is let in, model text does nothing, labels are kept."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from types import SimpleNamespace
from urllib.parse import urlencode

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_page import PAYLOADS, Page

from distill import Run
from distill.chat import clean_text
from distill.journal import Journal
from distill.lineage import HINTED, ROOM, continuation
from distill.progress import Silent
from distill.run import make, open_run
from distill.samples import JOURNALED
from distill.store import KEY, RunError, write_parquet
from distill.view.labels import Labels
from distill.view.pages import Viewer
from distill.view.server import listen, server
from distill.view.sources import Source
from distill.view.table import Query, Table
from distill.view.texts import formulas, marked
from filters import load
from filters._evidence import visible
from filters._labels import LABEL, text_digest

TOKEN = "t" * 32
POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'"
RECIPE = """\
trajectories:
  import: {path: rows.jsonl}
verdicts:
  - format: {final_answer: any}
  - length: {min_tokens: 10, max_tokens: 60}
  - any_of: [verify_math, readability]
  - dedup_exact
"""


def rows():
    """Problems with a payload in every text, and some with formulas; four samples each."""
    asked = [*PAYLOADS, r"What is $\frac{1}{2} + x^2$?", "How many?"]
    for number, problem in enumerate(asked):
        for sample in range(4):
            yield {
                "problem": f"{problem} {number}",
                "reference_answer": "7",
                "source": f"source {number % 3} <b>",
                "completion_tokens": 20 * sample + number,
                "response": f"<think>\nSo {problem} it is, or {sample}.\n</think>\n\n"
                f"It is \\boxed{{{7 if sample else 8}}}. {problem}",
            }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    (folder / "small.yaml").write_text(RECIPE.replace("rows.jsonl", str(folder / "rows.jsonl")))
    make(open_run(folder / "small.yaml", runs=folder), Silent())
    return folder / "small"


@contextmanager
def served(folder):
    """A viewer on a port of its own."""
    with listen(0) as listening:
        running = server(Viewer(folder), listening, TOKEN)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        port = listening.getsockname()[1]
        try:
            yield SimpleNamespace(port=port, url=f"http://127.0.0.1:{port}", cookie=f"distill-view-{port}={TOKEN}")
        finally:
            running.should_exit = True
            thread.join()


# --- which rows ---------------------------------------------------------------------------------------------------


def test_every_row_is_listed_with_what_became_of_it(made):
    table, run = Table(Source.of(made)), Run(made)
    assert table.rows.height == run.judged.collect().height
    fates = {(row.row["problem_id"], row.row["sample"]): row.fate for row in map(run.explain, *keys(table))}
    for row in table.rows.iter_rows(named=True):
        said = f"{row['filter']}: {row['reason']}" if row["filter"] else {"keep": "kept"}[row["outcome"]]
        assert said == fates[row["problem_id"], row["sample"]]
    assert sum(table.facets["outcomes"].values()) == table.rows.height
    assert len(set(table.rows["outcome"])) > 1


def test_fates_that_were_kept_are_those_that_the_verdicts_say(made, tmp_path):
    source = Source.of(made)
    assert source.kept_fates is not None
    assert source.fates().equals(replace(source, kept_fates=None).fates())
    copied = shutil.copytree(made, tmp_path / "outdated")
    (copied / "manifests" / "verdicts.json").unlink()
    assert Source.of(copied).kept_fates is None
    assert Table(Source.of(copied)).rows.equals(Table(source).rows)


def keys(table):
    return table.rows["problem_id"].to_list(), table.rows["sample"].to_list()


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({}, lambda row: True),
        ({"outcome": "keep"}, lambda row: row["outcome"] == "keep"),
        ({"fell": "length"}, lambda row: row["filter"] == "length"),
        ({"fell": "length:too_long"}, lambda row: row["reason"] == "too_long"),
        ({"source": "source 1 <b>"}, lambda row: row["source"] == "source 1 <b>"),
        ({"min_tokens": "30", "max_tokens": "40"}, lambda row: 30 <= row["completion_tokens"] <= 40),
        ({"score_of": "length", "min_score": "70"}, lambda row: row["length"] is not None and row["length"] >= 70),
        ({"search": "how MANY"}, lambda row: "How many" in row["problem"]),
        ({"search": "no such words"}, lambda row: False),
        ({"sort": "-tokens", "outcome": ""}, lambda row: True),
        ({"sort": "score", "score_of": "length"}, lambda row: True),
        ({"label": "none"}, lambda row: row["at"] > 0),
        ({"label": "good"}, lambda row: row["at"] == 0),
        ({"label": "bad"}, lambda row: False),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_rows_are_selected_and_ordered_as_asked(made, query, wanted):
    table = Table(Source.of(made))
    whole = Run(made).judged.with_columns(length=pl.col("verdict_length").struct.field("score")).collect()
    whole = whole.hstack(table.rows.select("outcome", "filter", "reason"))
    labels = pl.DataFrame([(*whole.select(KEY).row(0), "good", None, None)], schema=LABEL, orient="row")
    whole = whole.with_row_index("at")
    found = table.select(Query.model_validate(query), labels)["row"].to_list()
    expected = [number for number, row in enumerate(whole.iter_rows(named=True)) if wanted(row)]
    sort = query.get("sort", "order")
    if sort != "order":
        by = whole["completion_tokens" if "tokens" in sort else "length"]
        asked = sorted(expected, key=lambda at: (by[at] is None, (by[at] or 0) * (-1 if sort[0] == "-" else 1)))
        assert [by[at] for at in found] == [by[at] for at in asked]
    assert sorted(found) == expected


@pytest.fixture(scope="module")
def tried_again(made, tmp_path_factory):
    """The same run as if sample 1 mended 0, 2 were hinted, and 0 and 1 of some problems were continued."""
    folder = tmp_path_factory.mktemp("tried_again") / "small"
    shutil.copytree(made, folder)
    number = pl.col("sample")
    renumbered = (
        pl.when(number == 1).then(ROOM).when(number == 2).then(HINTED).otherwise(number).cast(pl.Int32).alias("sample")
    )
    continued = (pl.col("problem_id") < "8") & (number < 2)
    for path, named in (
        (folder / "trajectories" / "trajectories.parquet", [pl.when(continued).then(5).alias("continued_at")]),
        (folder / "verdicts" / "verdicts.parquet", []),
    ):
        write_parquet(pl.read_parquet(path).with_columns(renumbered, *named), path)
    return folder


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("plain", lambda row: row["sample"] in (0, 3)),
        ("refine", lambda row: row["sample"] == ROOM),
        ("hint", lambda row: row["sample"] == HINTED),
        ("continued", lambda row: row["sample"] in (0, ROOM) and row["problem_id"] < "8"),
    ],
)
def test_rows_are_selected_by_how_they_came_to_be(tried_again, method, wanted):
    table, rows = Table(Source.of(tried_again)), Run(tried_again).trajectories.collect()
    found = table.select(Query(method=method), Labels(tried_again).frame)["row"].to_list()
    assert found == [number for number, row in enumerate(rows.iter_rows(named=True)) if wanted(row)]
    assert table.facets["methods"][method] == len(found) > 0
    assert f'<option value="{method}" selected>' in Viewer(tried_again).page({"method": method})


def test_a_run_of_plain_answers_has_no_choice_of_methods(made):
    assert 'name="method"' not in Viewer(made).page({})


def test_texts_of_scattered_rows_come_in_order(made):
    source = Source.of(made)
    whole = source.trajectories.collect()
    assert source.read([7, 8, 3, 100, 4]).equals(whole[[7, 8, 3, 100, 4]])
    assert source.read([]).height == 0


def test_a_run_that_is_sampling_shows_what_its_journal_has(made, tmp_path):
    problems = Run(made).trajectories.select("problem_id", "problem", "reference_answer", "domain", "source").unique()
    folder = tmp_path / "sampling"
    (folder / "trajectories").mkdir(parents=True)
    with pytest.raises(RunError, match="no trajectories yet: run `distill trajectories`"):
        Viewer(folder)
    problems = problems.sort("problem_id").with_columns(split=pl.lit("train")).collect()
    write_parquet(problems, folder / "problems.parquet")
    ids = problems["problem_id"].to_list()
    with Journal(folder / "trajectories" / "journal.jsonl", JOURNALED) as journal:

        def sample(problem_id, number, text, finish="stop", tokens=None):
            row = {"problem_id": problem_id, "sample": number, "text": text, "finish_reason": finish}
            journal.append({**row, "completion_tokens": tokens})

        sample(ids[0], 0, "asked again later", "failed: gone")
        sample(ids[1], 0, "<think>\nhm\n</think>\n\nfine")
        journal.seal()
        sample(ids[0], 0, "<think>\nover\n</think>\n\ndone")
        sample(ids[2], 0, "", "failed: gone")
        sample("of another recipe", 0, "text")
        journal.flush()
        sample(ids[4], ROOM, "<think>\nfirst half", "length", 7)
        sample(ids[4], continuation(ROOM), "<think>\nfirst half and second\n</think>\n\nmended", "stop", 3)
        sample(ids[5], 0, "only half", "length", 7)
        sample(ids[5], continuation(0), "", "failed: gone")
        journal.flush()
        viewer = Viewer(folder)
        page = viewer.page({"row": ids[0]})
        assert "4 trajectories · <strong>still sampling" in page
        assert "not judged" in page
        assert "done" in Page(page).text
        sample(ids[3], 1, "more")
        journal.flush()
        mended = viewer.page({"row": ids[4], "sample": str(ROOM), "method": "continued"})
        assert "#0 mended · 10 tokens" in " ".join(Page(mended).text.split())
        assert "(refine of #0)" in mended
        assert "first half and second" in mended
        assert "1–1 of 1" in mended
        assert "only half" in viewer.page({"row": ids[5]})
        assert "4 trajectories" in viewer.page({"row": ids[1]}), "rows do not move while they are read"
        assert "5 trajectories" in viewer.page({})


# --- who is let in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {"cookie": None}, 403),
        ("GET", "/", {}, 200),
        ("GET", "/", {"cookie": "distill-view-{port}=wrong"}, 403),
        ("GET", f"/?token={TOKEN}", {"cookie": None}, 303),
        ("GET", "/?token=wrong", {"cookie": None}, 403),
        ("GET", "/view.js", {"cookie": None}, 403),
        ("GET", "/view.js", {}, 200),
        ("GET", "/page.html.j2", {}, 404),
        ("GET", "/../server.py", {}, 404),
        ("GET", "/", {"host": "evil.example:{port}"}, 421),
        ("GET", f"/?token={TOKEN}", {"host": "evil.example:{port}"}, 421),
        ("GET", "/", {"host": "127.0.0.1"}, 421),
        ("GET", "/", {"host": "localhost:{port}"}, 200),
        ("GET", "/?min_tokens=many", {}, 400),
        ("GET", "/?row=nowhere&sample=1", {}, 200),
        ("POST", "/label", {"origin": "http://evil.example"}, 403),
        ("POST", "/label", {"origin": "null"}, 403),
        ("POST", "/label", {"cookie": None}, 403),
        ("POST", "/label", {}, 400),
        ("POST", "/", {}, 405),
    ],
)
def test_only_who_was_told_is_let_in(door, method, path, headers, status):
    sent = {"Host": f"127.0.0.1:{door.port}", "cookie": door.cookie}
    for name, value in headers.items():
        sent.pop("Host" if name == "host" else name, None)
        if value is not None:
            sent[name] = value.format(port=door.port)
    connection = HTTPConnection("127.0.0.1", door.port)
    connection.putrequest(method, path, skip_host=True)
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == status
    assert answer.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; style-src 'self'; script-src 'self'"
    )
    assert answer.headers["Cache-Control"] == "no-store"
    connection.close()


@pytest.fixture(scope="module")
def door(made):
    with served(made) as running:
        yield running


def test_the_command_prints_its_address_and_ends_with_ctrl_c(made):
    command = [sys.executable, "-m", "distill", "view", "small", "--runs", str(made.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().strip()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(address) as answer:
            assert answer.url == address.partition("?")[0]
            assert "<title>small</title>" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 0


# --- labels -------------------------------------------------------------------------------------------------------


def test_labels_are_kept_and_filter_what_they_were_said_of(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    run = Run(folder)
    first, second = run.judged.collect()[:2].iter_rows(named=True)
    with served(folder) as running:
        for row, label in ((first, "good"), (second, "good"), (first, "bad"), (second, "none")):
            digest = text_digest(row["reasoning"], row["response"])
            form = {"problem_id": row["problem_id"], "sample": row["sample"], "label": label, "text_digest": digest}
            request = urllib.request.Request(
                f"{running.url}/label", urlencode({**form, "back": "/?row=x"}).encode(), {"Cookie": running.cookie}
            )
            with urllib.request.urlopen(request) as answer:
                assert answer.url == f"{running.url}/?row=x"
    said = run.labels.collect().rows()
    assert [row[:3] for row in said] == [(first["problem_id"], first["sample"], "bad")]
    verdicts = run.trajectories.collect().select(load("labels", path=str(folder / "labels.parquet")).verdict())
    assert verdicts.to_series().struct.field("reason").to_list() == ["labelled_bad"] + [None] * (verdicts.height - 1)


def test_what_cannot_be_read_or_kept_is_told(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    form = {"problem_id": "p", "sample": 0, "label": "bad", "text_digest": "0" * 16}
    with served(folder) as running:
        (folder / "labels.parquet").write_text("no Parquet")
        (folder / "trajectories" / "trajectories.parquet").unlink()
        for path, sent, status, said in (
            ("/label", urlencode(form).encode(), 500, "The label is not kept: "),
            ("/", None, 503, "The run cannot be read any more: "),
        ):
            request = urllib.request.Request(running.url + path, sent, {"Cookie": running.cookie})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            with refused.value as answer:
                assert (answer.code, answer.read().decode().startswith(said)) == (status, True)


# --- formulas -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        (r"so $x_1^2$.", ["<msubsup><mi>x</mi><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></msubsup>"]),
        (r"\(\frac12\)", ["<mfrac><mn>1</mn><mn>2</mn></mfrac>"]),
        (r"\[\sqrt[3]{y}\]", ["<mroot><mrow><mi>y</mi></mrow><mrow><mn>3</mn></mrow></mroot>"]),
        (r"\boxed{\text{no}}", ['<mrow class="boxed"><mrow><mrow><mtext>no</mtext></mrow></mrow></mrow>']),
        (r"$1{,}000 \le a, b$", ["<mn>1,000</mn><mo>≤</mo><mi>a</mi><mo>,</mo><mi>b</mi>"]),
        (r"$\mathbb{R}\ne\emptyset$", ["<mi>ℝ</mi><mo>≠</mo><mo>∅</mo>"]),
        (r"$\left(\frac{a}{b}\right.$", ["<mo>(</mo><mrow><mfrac>"]),
        (r"$\begin{pmatrix}1&2\\3&4\end{pmatrix}$", ["<mtr><mtd><mrow><mn>3</mn></mrow></mtd>"]),
        (r"\begin{align*}a&=b\\&=c\end{align*}", ["<mtr><mtd><mrow></mrow></mtd><mtd><mrow><mo>=</mo><mi>c</mi>"]),
        (r"\(\text{if $x$ is}\)", ["<mtext>if\xa0</mtext><mrow><mi>x</mi></mrow><mtext>\xa0is</mtext>"]),
        (r"$\sum_{i=1}^n$", ["<munderover><mo>∑</mo>"]),
        (r"$1 \over x+1$", ["<mfrac><mrow><mn>1</mn></mrow><mrow><mi>x</mi><mo>+</mo><mn>1</mn></mrow></mfrac>"]),
        (r"${n \choose 2}$", ['<mo>(</mo><mfrac linethickness="0"><mrow><mi>n</mi></mrow><mrow><mn>2</mn></mrow>']),
        (r"$a \over b \over c$", [None]),
        (r"$\sum_{\substack{i<n\\i\ne j}}$", ["<munder><mo>∑</mo><mrow><mrow><mtable><mtr><mtd><mrow><mi>i</mi>"]),
        (r"$\substack i$", [None]),
        (r"$\frac{\cancel{5}}{\cancelto{2}{8}}$", ['<mrow class="cancel"><mrow><mn>5</mn>']),
        (r"$\root 4 \of x$", ["<mroot><mi>x</mi><mrow><mn>4</mn></mrow></mroot>"]),
        (r"$\begin{array}{@{}c@{\;}c} a \cr b \\ \cline{1-2} c \end{array}$", ["<mtr><mtd><mrow><mi>c</mi></mrow>"]),
        (r"$\underline{\hspace{1cm}}\phantom{0}$", ['<mspace width="1cm"></mspace>']),
        (r"$\text{\textbf{if} \(x\)}$", ["<mtext>if\xa0</mtext><mrow><mi>x</mi></mrow>"]),
        (r"$\xrightarrow[n]{a}$", ["<munderover><mo>⟶</mo><mrow><mi>n</mi></mrow><mrow><mi>a</mi></mrow>"]),
        (r"\\[ \\frac{1}{2} \\], \\(x\\), \\boxed{\\pi}", ["<mfrac>", "<mi>x</mi>", "<mi>π</mi>"]),
        (r"\[a\\\]", ["<mi>a</mi>"]),
        (r"$\overbrace{x}^n$", ["<mo>⏞</mo></mover><mrow><mi>n</mi></mrow></mover>"]),
        (r"$f'(x)$", ["<msup><mi>f</mi><mrow><mo>′</mo></mrow></msup>"]),
        ("$5 and $6", []),
        (r"\$5 and \$6", []),
        (r"$\unknowncommand{x}$", [None]),
        ("$" + "{" * 100 + "}" * 100 + "$", [None]),
        (r"$\frac{1}$", [None]),
        ("$x^$", [None]),
        (r"$\begin{cases}1$", [None]),
        ("$<script>alert(1)</script>$", ["<mo>&lt;</mo><mi>s</mi>"]),
        (r"$\text{<img src=x>}$", ["<mtext>&lt;img\xa0src=x&gt;</mtext>"]),
    ],
)  # fmt: skip
def test_formulas_are_drawn_or_left_as_they_were_written(text, drawn):
    found = [formula.drawn() for formula in formulas(text)]
    assert [one is None for one in found] == [one is None for one in drawn]
    for one, part in zip(found, drawn, strict=True):
        assert part is None or part in one


PIECES = [
    "$", "$$", r"\(", r"\)", r"\[", r"\]", "{", "}", "^", "_", "&", r"\\", r"\frac", r"\sqrt[", "]", r"\left(",
    r"\right)", r"\text{", r"\begin{cases}", r"\end{cases}", r"\mathbb", r"\boxed{", r"\alpha", r"\not", r"\hat", "'",
    "<", ">", "&amp;", "<b>", "x", "12", "~", r"\,", r"\sum", r"\over", r"\substack{", r"\cancel", " ", "\n",
    "\x1b[31m",
]  # fmt: skip


ELEMENTS = {
    "math", "mark", "mi", "mn", "mo", "mrow", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup", "msubsup",
    "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mphantom",
}  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join), st.tuples(st.integers(0, 40), st.integers(0, 40)))
def test_whatever_the_text_the_page_stays_whole(text, span):
    text = visible(text)
    spans = [(min(span), min(max(span), len(text)))] if min(span) < min(max(span), len(text)) else []
    page = Page(marked(text, spans, maths=True))
    assert not page.open
    assert {tag for tag, _ in page.tags} <= ELEMENTS
    assert Page(marked(text, spans, maths=False)).text == text


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser, made, tmp_path):
    """A page of a copy of the run, which fails the test where a script runs that is not ours, or anything is asked
    of anybody else."""
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    trouble = []
    with served(folder) as running, browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.folder, page.site = folder, running.url
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda r: trouble.append(r.url) if not r.url.startswith(running.url) else None)
        page.goto(f"{running.url}/?token={TOKEN}")
        yield page
    assert trouble == []


PAGE_ELEMENTS = {
    "html", "head", "meta", "title", "link", "script", "body", "nav", "header", "h1", "h2", "h3", "a", "p", "form",
    "label", "select", "option", "optgroup", "fieldset", "legend", "input", "button", "ol", "ul", "li", "main",
    "article", "section", "div", "span", "b", "details", "summary", "mark", "table", "thead", "tbody", "tr", "th",
    "td", "output",
}  # fmt: skip


def test_what_models_say_does_nothing(page):
    ids = dict(Run(page.folder).trajectories.select("problem", "problem_id").collect().iter_rows())
    elements = set()
    for number, payload in enumerate(map(clean_text, PAYLOADS)):
        asked = f"{payload} {number}"
        address = {"row": ids[asked], "sample": 1, "side": 1, "maths": 0, "source": asked, "search": asked}
        page.goto(f"{page.site}/?{urlencode(address)}")
        assert page.locator("article .text").first.text_content() == visible(asked)
        assert visible(payload) in page.locator("details .text").first.text_content()
        elements |= set(page.evaluate("[...document.querySelectorAll('*')].map((e) => e.localName)"))
    assert elements - PAGE_ELEMENTS == set()
    assert page.locator("script").count() == page.locator("link").count() == 1


def test_a_person_reads_compares_searches_and_labels_with_keys(page):
    def there(selector):
        page.wait_for_selector(selector)
        page.wait_for_load_state()  # keys are heard from then on

    page.select_option("[name=fell]", "length:too_long")
    page.wait_for_url("**fell=length%3Atoo_long")
    assert set(page.locator("li .fate").all_text_contents()) == {"length: too_long"}
    page.fill("[name=search]", "x^2")
    page.keyboard.press("Enter")
    page.wait_for_url("**search=**")
    page.keyboard.press("j")
    there("article math mfrac")
    page.keyboard.press("m")
    there("article:not(:has(math))")
    assert not page.locator("details.reasoning").evaluate("details => details.open")
    page.keyboard.press("/")
    page.keyboard.type("IT IS, or")
    page.keyboard.press("Enter")
    assert page.locator("#hits").text_content() == "1 of 1"
    assert page.locator("details.reasoning").evaluate("details => details.open")
    page.locator("#find").blur()
    page.keyboard.press("s")
    there(".side")
    assert page.locator(".side > section").count() == 4
    page.keyboard.press("b")
    there("[value=bad][aria-pressed]")
    problem_id = page.locator("[name=problem_id]").get_attribute("value")
    assert Run(page.folder).labels.collect().rows()[0][:3] == (problem_id, 2, "bad")
    page.keyboard.press("Escape")
    there("body:not(.open)")
    page.select_option("[name=label]", "bad")
    page.wait_for_url("**label=bad**")
    assert page.locator("li").count() == 1
    assert page.locator("li .label").text_content() == "bad"
