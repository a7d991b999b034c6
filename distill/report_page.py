"""`report.json` as one HTML file that needs nothing else: no script, no font, no image and no network.

Model text is data: the template engine escapes every value and shows control characters as signs. Does not compute a
score; what it draws is in the data.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import jinja2
import yaml
from markupsafe import Markup, escape

from filters._evidence import locate, visible, written

TEMPLATE = Path(__file__).with_name("report_page.html.j2")


class Interval(TypedDict):
    """A value and its 95 % interval: `metrics.Estimate` as a mapping."""

    value: float
    low: float
    high: float


ModelRow = TypedDict(
    "ModelRow",
    {
        "name": str,
        "kind": str,  # teacher | base | student
        "rows": int | None,  # rows it was trained on
        "trained_on": NotRequired[str],  # kept | sampled | the name of a filter
        "pass@1": Interval,
        "pass@k": NotRequired[Interval | None],
        "majority": NotRequired[Interval | None],
        "mean_tokens": NotRequired[float | None],
        "truncated_share": NotRequired[float | None],
        "undecided": NotRequired[int],  # samples that the verifier could not judge
    },
)


class Comparison(TypedDict):
    """How much better `a` is than `b` at pass@1, on the same problems."""

    a: str
    b: str
    difference: float
    low: float
    high: float
    says: str
    """A sentence: `metrics.sentence`."""


class FunnelRow(TypedDict):
    """A row of `filters.funnel`; further columns are ignored."""

    filter: str
    outcome: str
    reason: str | None
    rows: int


class StageTime(TypedDict):
    """Wall time of a stage."""

    name: str
    seconds: float


class Example(TypedDict):
    """A trajectory, the filter that decided it and its verdict."""

    problem_id: str
    sample: int
    problem: str
    reference_answer: str | None
    reasoning: str | None
    response: str
    completion_tokens: int | None
    filter: str
    outcome: str
    reason: str | None
    score: float | None
    evidence: str | None


class ReportData(TypedDict):
    """What `report.json` holds. A section whose key is left out or empty is not shown."""

    title: str
    models: list[ModelRow]
    k: NotRequired[int]
    """Samples per held-out problem, the k of pass@k."""
    held_out: NotRequired[int]
    """Problems that the scores are from."""
    headline: NotRequired[str]
    """One sentence; `headline` writes one if there is none."""
    created: NotRequired[str]
    comparisons: NotRequired[list[Comparison]]
    funnel: NotRequired[list[FunnelRow]]
    tokens: NotRequired[dict[str, Any] | None]
    """`tokens` of the dataset's stats.json."""
    stages: NotRequired[list[StageTime]]
    examples: NotRequired[list[Example]]
    recipe: NotRequired[dict[str, Any]]
    manifest: NotRequired[dict[str, Any]]


def render_report(data: Mapping[str, Any]) -> str:
    """The page as text. `data` has the form of ReportData."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        finalize=_finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": "{:,.0f}".format,
        "share": "{:.1%}".format,
        "score": "{:.3f}".format,
        "bound": "{:.2f}".format,
        "signed": _signed,
        "at": lambda value: f"{100 * min(1.0, max(0.0, value)):.2f}%",
        "duration": _duration,
        "marked": _marked,
        "plain": lambda value: yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, allow_unicode=True),
    }
    optional = {name: data.get(name) for name in ReportData.__annotations__}
    return environment.get_template(TEMPLATE.name).render(
        **{
            **optional,
            "headline": data.get("headline") or headline(data),
            "funnel": _funnel(data.get("funnel") or []),
            "examples": _grouped(data.get("examples") or []),
            "comparisons": _compared(data),
        }
    )


def headline(data: Mapping[str, Any]) -> str:
    """What the first student scores, beside its teacher and what it started from."""
    models: list[ModelRow] = data["models"]
    first = {
        kind: next((row for row in models if row["kind"] == kind), None) for kind in ("student", "teacher", "base")
    }
    student = first.pop("student")
    if student is None:
        return ""
    others = [f"the {kind} {row['pass@1']['value']:.1%}" for kind, row in first.items() if row]
    on = f" of {data['held_out']:,} held-out problems" if data.get("held_out") else ""
    answers = f"{student['name']} answers {student['pass@1']['value']:.1%}{on} correctly at the first try"
    return f"{answers}; {', '.join(others)}." if others else f"{answers}."


def _finalize(value: Any) -> Any:
    if isinstance(value, Markup):
        return value
    return visible(value) if isinstance(value, str) else "" if value is None else value


def _marked(text: str | None, evidence: str | None) -> Markup:
    """The text, shortened where it is long, with the evidence marked where it stands."""
    shown = visible(text or "")
    spans = locate(shown, visible(evidence or "")).spans
    return Markup(
        written(shown, spans, plain=lambda part: str(escape(part)), mark=lambda part: f"<mark>{escape(part)}</mark>")
    )


def _funnel(rows: Iterable[FunnelRow]) -> list[dict[str, Any]]:
    """One entry a filter: reached, keep, reject, abstain, and what it stopped by reason."""
    steps: dict[str, dict[str, Any]] = {}
    for row in rows:
        step = steps.setdefault(
            row["filter"], {"filter": row["filter"], "reached": 0, "keep": 0, "reject": 0, "abstain": 0, "reasons": []}
        )
        step["reached"] += row["rows"]
        step[row["outcome"]] += row["rows"]
        if row["outcome"] != "keep":
            step["reasons"].append(row)
    return list(steps.values())


def _grouped(examples: Iterable[Example]) -> list[dict[str, Any]]:
    """Examples by what became of them, in their order; those that were kept come first."""
    groups: dict[tuple[str, str | None], dict[str, Any]] = {}
    for example in examples:
        kept = example["outcome"] == "keep"
        key = ("kept", None) if kept else (example["filter"], example["reason"])
        group = groups.setdefault(key, {"filter": key[0], "reason": key[1], "outcome": example["outcome"], "rows": []})
        group["rows"].append(example)
    return sorted(groups.values(), key=lambda group: bool(group["outcome"] != "keep"))


def _compared(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Comparisons with a base, and between students; each group with an axis that fits it."""
    bases = {row["name"] for row in data["models"] if row["kind"] == "base"}
    groups: dict[str, list[Comparison]] = {"What distillation bought": [], "What the choice of rows bought": []}
    for row in data.get("comparisons") or []:
        groups["What distillation bought" if row["b"] in bases else "What the choice of rows bought"].append(row)
    return [{"title": title, "rows": rows, "reach": _reach(rows)} for title, rows in groups.items() if rows]


def _reach(rows: Iterable[Comparison]) -> float:
    """How far the axis of differences reaches on either side of zero: 0.1, 0.2, 0.5 or 1."""
    most = max(max(abs(row["low"]), abs(row["high"]), abs(row["difference"])) for row in rows)
    return next((reach for reach in (0.1, 0.2, 0.5) if most <= reach), 1)


def _signed(number: float) -> str:
    text = f"{number:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
