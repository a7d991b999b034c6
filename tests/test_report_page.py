"""The report is one page that needs nothing else, and model text in it is never markup."""

import copy
import re
from html.parser import HTMLParser

import pytest

from distill.report_page import headline, render_report
from filters._evidence import LONGEST_TEXT, visible

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</pre></details><h1>gone</h1>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<!-- --><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<math><mtext></p><style><img src onerror=alert(1)>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<form action=//evil.example><input name=a></form>",
    "<object data=//evil.example></object>",
    "{{ 7 * 7 }}{% raw %}<b>{% endraw %}",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<mark onclick=alert(1)>x</mark>",
    "&lt;script&gt;&#60;script&#62;",
    "\x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x9b31m \x00 \u202egnp.exe",
]
"""What a model, a problem or a file name may say."""

VOID = {"meta", "link", "br", "img", "input", "base", "hr"}
ELEMENTS = """
    html head meta title style body main header section footer h1 h2 h3 p div span table thead tbody tr th td svg line
    circle rect details summary dl dt dd pre mark i
"""


def interval(value: float) -> dict:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def data(text: str = "text") -> dict:
    model = {
        "name": text,
        "kind": "student",
        "rows": 474,
        "trained_on": text,
        "pass@1": interval(0.6),
        "pass@k": interval(0.8),
        "majority": None,
        "mean_tokens": 176.4,
        "truncated_share": 0.02,
        "undecided": 3,
    }
    example = {
        "problem_id": text,
        "sample": 1,
        "problem": text,
        "reference_answer": text,
        "reasoning": f"so {text} it is",
        "response": f"\\boxed{{{text}}}",
        "completion_tokens": 12,
        "filter": text,
        "outcome": "reject",
        "reason": text,
        "score": 0.5,
        "evidence": text,
    }
    return {
        "title": text,
        "created": text,
        "headline": text,
        "k": 4,
        "held_out": 200,
        "models": [model, {**model, "name": "the base", "kind": "base", "rows": None}],
        "comparisons": [
            {"a": text, "b": "the base", "difference": 0.3, "low": 0.2, "high": 0.4, "says": text},
            {"a": text, "b": text, "difference": 0.01, "low": -0.03, "high": 0.05, "says": text},
        ],
        "funnel": [
            {"filter": text, "outcome": "keep", "reason": None, "rows": 6},
            {"filter": text, "outcome": "reject", "reason": text, "rows": 3},
            {"filter": text, "outcome": "abstain", "reason": text, "rows": 1},
        ],
        "tokens": {
            "total": 60,
            "mean": 10.0,
            "median": 9.0,
            "p95": 15.0,
            "max": 16,
            "histogram": [{"low": 0, "high": 10, "rows": 4}, {"low": 10, "high": 20, "rows": 2}],
        },
        "stages": [{"name": text, "seconds": 71.3}],
        "examples": [
            example,
            {**example, "outcome": "keep", "reason": None},
            {**example, "reasoning": None, "evidence": None},
        ],
        "recipe": {text: [text, {"a": text}]},
        "manifest": {"versions": {text: text}},
    }


class Page(HTMLParser):
    """Every tag and attribute of a page, its text, and whether its tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        raise AssertionError(f"comment in the page: {data}")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_never_becomes_markup(payload):
    html = render_report(data(payload))
    page, plain = Page(html), Page(render_report(data()))
    assert not page.open
    without_marks = [[tag for tag, _ in some.tags if tag != "mark"] for some in (page, plain)]
    assert without_marks[0] == without_marks[1], "the same elements, whatever the text says"
    assert {tag for tag, _ in page.tags} <= set(ELEMENTS.split())
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style", "srcdoc")]
    assert page.text.count(visible(payload)) >= 10, "all of it is there to be read"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)


def test_the_page_needs_nothing_else():
    html = render_report(data())
    page = Page(html)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert not re.findall(r"https?://|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_numbers_are_where_people_look():
    text = Page(render_report(data("T"))).text
    for said in (
        "0.600",
        "0.55–0.65",
        "pass@4",
        "474 rows",
        "1 min 11 s",
        "10 trajectories in, 6 kept (60.0%)",
        "2.0%",
    ):
        assert said in text
    assert "could not decide 3 samples" in text


def test_only_the_title_and_models_are_required():
    whole = data()
    page = Page(render_report({"title": "Alone", "models": whole["models"]}))
    assert "Alone" in page.text
    for missing in ("What the filters kept", "Examples", "Time", "Recipe"):
        assert missing not in page.text
    for section in ("comparisons", "funnel", "stages", "examples"):
        render_report({**whole, section: []})
    assert Page(render_report({"title": "No models yet", "models": []})).tags


def test_rendering_changes_nothing_in_the_data():
    whole = data()
    before = copy.deepcopy(whole)
    render_report(whole)
    assert whole == before


@pytest.mark.parametrize(
    ("evidence", "text", "marks"),
    [("7", "17 and 7, 7.5", 1), ("wait, wait, ", "wait, wait, wait, wait, ", 2), ("(a", "f((a))", 1), ("", "x", 0)],
)
def test_evidence_is_marked_where_it_stands(evidence, text, marks):
    whole = data()
    whole["examples"] = [{**whole["examples"][0], "evidence": evidence, "reasoning": text, "response": ""}]
    page = Page(render_report(whole))
    assert [tag for tag, _ in page.tags].count("mark") == marks


def test_long_texts_are_cut_in_their_middle():
    whole = data()
    whole["examples"][0]["reasoning"] = "begin" + "x" * 10 * LONGEST_TEXT + "end"
    html = render_report(whole)
    assert len(html) < 4 * LONGEST_TEXT
    assert "begin" in html
    assert "144,008 characters not shown" in html


@pytest.mark.parametrize(("low", "high", "axis"), [(-0.03, 0.05, "0.1"), (0.12, 0.3, "0.5"), (-0.9, 0.1, "1")])
def test_differences_get_an_axis_that_holds_them(low, high, axis):
    whole = data()
    whole["comparisons"] = [{"a": "a", "b": "b", "difference": (low + high) / 2, "low": low, "high": high, "says": "s"}]
    assert f"−{axis}0+{axis}" in Page(render_report(whole)).text.replace("\n", "")


def test_the_headline_says_what_the_first_student_scores():
    row = {"rows": None, "pass@1": interval(0.5)}
    models = [{**row, "name": "t", "kind": "teacher"}, {**row, "name": "s", "kind": "student"}]
    said = headline({"models": models, "held_out": 1200})
    assert said == "s answers 50.0% of 1,200 held-out problems correctly at the first try; the teacher 50.0%."
    assert headline({"models": models[:1]}) == ""
