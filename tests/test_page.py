"""The page of a run needs nothing else, shows what is there, and model text on it is never markup, in Chromium too."""

import copy
import json
import re
from html.parser import HTMLParser

import pytest

from distill.page import is_current, page_path
from distill.page.contents import contents
from distill.page.render import headline, render
from distill.progress import Silent
from distill.run import make, open_run
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
    html head meta title style body main header section footer h1 h2 h3 p div span table thead tbody tr th td svg g line
    circle rect details summary dl dt dd pre mark i code
"""


def interval(value: float) -> dict:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def example(text: str, **changed) -> dict:
    verdict = {"outcome": "reject", "reason": text, "score": 0.5, "evidence": text}
    return {
        "problem_id": text,
        "sample": 1,
        "problem": text,
        "reference_answer": text,
        "reasoning": f"so {text} it is",
        "response": f"\\boxed{{{text}}}",
        "completion_tokens": 12,
        f"verdict_{text}": verdict,
        **changed,
    }


def data(text: str = "text") -> dict:
    """All that a page can show, with the same text wherever there is one."""
    model = {
        "name": text,
        "kind": "student",
        "rows": 474,
        "trained_on": text,
        "pass@1": interval(0.6),
        "pass@k": {"2": interval(0.7), "4": interval(0.8)},
        "cons@k": interval(0.7),
        "tokens": {"mean": 176.4},
        "truncated_share": interval(0.02),
        "mixed_share": None,
        "formatted_share": interval(0.9),
        "undecided": 3,
    }
    return {
        "title": text,
        "name": f"{text}, run",
        "teacher": text,
        "created": text,
        "headline": text,
        "sets": [
            {
                "name": text,
                "problems": 200,
                "samples_per_problem": 4,
                "models": [model, {**model, "name": "the base", "kind": "base", "rows": None}],
                "comparisons": [
                    {"a": text, "b": "the base", "difference": 0.3, "low": 0.2, "high": 0.4, "says": text},
                    {"a": text, "b": text, "difference": 0.01, "low": -0.03, "high": 0.05, "says": text},
                ],
                "published": [
                    {
                        "name": text,
                        "source": text,
                        "scores": {"pass@1": 0.5, "cons@4": 0.611},
                        "differences": [{"model": text, "value": 0.1, "low": 0.05, "high": 0.15, "says": text}],
                    }
                ],
                "difficulty": [
                    {
                        "name": text,
                        "problems": 7,
                        "models": [{"name": text, "kind": "base", "pass@1": rate} for rate in (interval(0.3), None)],
                    }
                ],
                "examples": [{"model": text, "outcome": text, "examples": [example(text)]}],
            }
        ],
        "kept": {"rows": 6, "of": 10, "problems": 3, "of_problems": 4},
        "funnel": [
            {
                "filter": text,
                "reached": 10,
                "kept": 6,
                "rejected": 3,
                "abstained": 1,
                "reasons": [{"reason": text, "outcome": outcome, "rows": 2} for outcome in ("reject", "abstain")],
            }
        ],
        "pass_rates": {
            "by": text,
            "undecided": 3,
            "until": True,
            "sources": [{"name": text, "problems": 4, "samples": 12, **interval(0.25)}],
            "bins": [{"name": text, "problems": 3}, {"name": text, "problems": 1}],
        },
        "tokens": {
            "bins": [
                {"low": low, "high": low + 10, "name": text, "keep": 4, "reject": 2, "abstain": 0} for low in (0, 10)
            ],
            "most": 6,
            "kept": {"total": 60, "mean": 10.0, "median": 9.0, "p95": 15.0, "max": 16},
        },
        "cost": {"lines": [{"what": text, "unit": "money", "total": 12.5, "per_row": 0.125}], "drawn_on": 7},
        "stages": [{"name": text, "seconds": 71.3}],
        "examples": [
            {"filter": None, "outcome": None, "reason": None, "rows": 9, "examples": [example(text)]},
            {
                "filter": text,
                "outcome": "reject",
                "reason": text,
                "rows": 1234,
                "examples": [example(text), example(text, reasoning=None)],
            },
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
    html = render(data(payload))
    page, plain = Page(html), Page(render(data()))
    assert not page.open
    without_marks = [[tag for tag, _ in some.tags if tag != "mark"] for some in (page, plain)]
    assert without_marks[0] == without_marks[1], "the same elements, whatever the text says"
    assert {tag for tag, _ in page.tags} <= set(ELEMENTS.split())
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style", "srcdoc")]
    assert page.text.count(visible(payload)) >= 10, "all of it is there to be read"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)


def test_the_page_needs_nothing_else():
    html = render(data())
    page = Page(html)
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.findall(r"https?://|url\(|@import", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_numbers_are_where_people_look():
    text = Page(render(data("T"))).text
    for said in (
        "0.600",
        "0.55–0.65",
        "pass@4",
        "474 rows",
        "1 min 11 s",
        "10 trajectories in, 6 kept (60.0%)",
        "2.0%",
        "0.250",
        "0.20–0.30",
        "12.5",
        "0.125",
        "7 samples were taken from other runs",
        "2 of 1,234",
        "0.611",
    ):
        assert said in text
    assert "could not decide 3 samples" in text


def test_only_the_title_is_required():
    page = Page(render({"title": "Alone"}))
    assert "Alone" in page.text
    for missing in ("Scores", "What the filters kept", "solves", "Lengths", "Examples", "Cost", "Recipe"):
        assert missing not in page.text
    whole = data()
    for section in ("sets", "funnel", "stages", "examples"):
        render({**whole, section: []})
    render({**whole, "tokens": {**whole["tokens"], "kept": None}, "cost": None})


def test_rendering_changes_nothing_in_the_data():
    whole = data()
    before = copy.deepcopy(whole)
    render(whole)
    assert whole == before


def test_long_texts_are_cut_in_their_middle():
    whole = {"title": "T", "examples": data()["examples"][:1]}
    whole["examples"][0]["examples"] = [example("T", reasoning="begin" + "x" * 10 * LONGEST_TEXT + "end")]
    html = render(whole)
    assert len(html) < 4 * LONGEST_TEXT
    assert "begin" in html
    assert "144,008 characters not shown" in html


@pytest.mark.parametrize(("low", "high", "axis"), [(-0.03, 0.05, "0.1"), (0.12, 0.3, "0.5"), (-0.9, 0.1, "1")])
def test_differences_get_an_axis_that_holds_them(low, high, axis):
    whole = data()
    [found] = whole["sets"]
    found["comparisons"] = [{"a": "a", "b": "b", "difference": (low + high) / 2, "low": low, "high": high, "says": "s"}]
    found["published"] = []
    assert f"−{axis}0+{axis}" in Page(render(whole)).text.replace("\n", "")


def test_the_headline_says_what_the_first_student_scores_or_how_much_was_kept():
    row = {"rows": None, "pass@1": interval(0.5)}
    models = [{**row, "name": "t", "kind": "teacher"}, {**row, "name": "s", "kind": "student"}]
    said = headline({"sets": [{"name": "held_out", "problems": 1200, "models": models}]})
    assert said == "s answers 50.0% of 1,200 held-out problems correctly at the first try; the teacher 50.0%."
    assert headline({"sets": [{"name": "held_out", "problems": 1200, "models": models[:1]}]}) == ""
    assert headline({**data(), "sets": []}) == "6 of 10 trajectories kept (60.0%), of 3 of 4 problems."


# --- a run, with hostile text in it -----------------------------------------------------------------------------------

RECIPE = """\
trajectories:
  import: {path: rows.jsonl, teacher: "<script>alert(1)</script>"}
verdicts:
  - format
  - readability
  - length: {min_tokens: 3, max_tokens: 40}
  - verify_math
  - dedup_exact
dataset: {license: "<img src=x onerror=alert(1)>", title: "</title><script>alert(1)</script>"}
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run whose every text is a payload: a third of it is kept, the rest falls with payloads for evidence."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {
            "problem_id": f"{text} {kind}",
            "problem": f"{text} {kind}",
            "reasoning": f"{text} so {kind}",
            "response": f"\\boxed{{{text}}}" if kind == "wrong" else f"{text} \\boxed{{7}}",
            "reference_answer": text if kind == "unknown" else "7",
            "domain": "math",
            "source": text,
            "completion_tokens": 99 if kind == "long" else 9 + place,
        }
        for place, text in enumerate(PAYLOADS)
        for kind in ("right", "wrong", "long", "unknown")
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "hostile.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run = open_run("hostile.yaml", runs=folder / "runs")
        make(run, Silent())
        yield run


def test_a_run_without_a_student_has_its_page(hostile):
    shown = contents(hostile, ["trajectories", "verdicts", "dataset"])
    judged = hostile.judged()
    assert shown["kept"]["of"] == judged.height == 4 * len(PAYLOADS)
    assert shown["kept"]["rows"] == hostile.manifest("verdicts")["facts"]["kept"] > 10
    assert sum(step["rows"] for step in shown["examples"]) == judged.height, "every row is in one group"
    assert all(len(group["examples"]) == min(3, group["rows"]) for group in shown["examples"])
    assert (
        sum(step[part] for step in shown["tokens"]["bins"] for part in ("keep", "reject", "abstain")) == judged.height
    )
    decided = sum(step["samples"] for step in shown["pass_rates"]["sources"][:1])
    assert decided + shown["pass_rates"]["undecided"] == judged.height
    assert sum(step["problems"] for step in shown["pass_rates"]["bins"]) == decided, "a problem has one sample here"
    tokens = int(judged["completion_tokens"].sum())
    assert shown["cost"]["lines"] == [
        {"what": "completion tokens", "unit": "tokens", "total": tokens, "per_row": tokens / shown["kept"]["rows"]}
    ]
    text = Page(page_path(hostile).read_text()).text
    assert "rows.jsonl" in text, "the recipe is there"
    assert hostile.manifest("verdicts")["digest"] in text, "and what was recorded"
    assert str(hostile.folder.parent) not in text


def test_the_page_is_made_anew_when_what_it_shows_is(hostile):
    page = page_path(hostile)
    before = page.stat().st_mtime_ns
    make(hostile, Silent())
    assert page.stat().st_mtime_ns == before
    assert is_current(hostile)
    manifest = hostile.manifest("verdicts")
    hostile.write_manifest("verdicts", {**manifest, "seconds": 60.0})
    assert not is_current(hostile)
    make(hostile, Silent())
    assert is_current(hostile)
    assert page.stat().st_mtime_ns > before
    page.unlink()
    assert not is_current(hostile)
    make(hostile, Silent(), until="report")
    assert is_current(hostile)


def test_nothing_of_it_runs_in_a_browser(hostile, browser, tmp_path):
    everything = data()
    everything["examples"] = [
        {"filter": text, "outcome": "reject", "reason": text, "rows": 1, "examples": [example(text)]}
        for text in PAYLOADS
    ]
    (tmp_path / "everything.html").write_text(render(everything))
    (tmp_path / "control.html").write_text("<script>alert(1)</script><img src=x.png><style>b{}</style>")
    seen = {}
    for path in (page_path(hostile), tmp_path / "everything.html", tmp_path / "control.html"):
        page = browser.new_page()
        happened = seen[path.name] = []
        page.on("dialog", lambda dialog, happened=happened: (happened.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request, happened=happened: happened.append(f"asks for {request.url[-12:]}"))
        page.on("console", lambda message, happened=happened: happened.append(message.text))
        page.on("pageerror", lambda error, happened=happened: happened.append(str(error)))
        page.goto(path.as_uri())
        if path.name != "control.html":
            page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
            page.locator("summary").first.hover()
            assert page.evaluate("document.querySelectorAll('script, img, iframe, a, base, form, object').length") == 0
            assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "992px", (
                "has its style"
            )
            for width in (1200, 390):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing sticks out"
        page.close()
    assert {"dialog"} < set(seen.pop("control.html")), "what a browser does with such a page is seen"
    assert [happened[1:] for happened in seen.values()] == [[], []], "the page itself is all that is asked for"
