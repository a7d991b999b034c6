"""The page as text: HTML that needs nothing else: no script, no font, no image and no network.

Model text is data: the template engine escapes every value and shows control characters as signs, and the page's policy
lets a browser run and fetch nothing. Does not compute a score; what is drawn is in the data.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from filters._display import Explanation, explanation
from filters._evidence import visible

FOLDER = Path(__file__).parent
OPTIONAL = (
    "made_from", "name", "teacher", "created", "headline", "sets", "kept", "funnel",
    "tokens", "pass_rates", "cost", "stages", "examples", "recipe", "manifest",
)  # fmt: skip
"""What the page can show besides its title. A part whose key is left out or empty is not shown."""


def render(data: Mapping[str, Any]) -> str:
    """The page of what `contents` returns; scores are those of `report.json`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
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
        "amount": _amount,
        "duration": _duration,
        "marked": _marked,
        "verdicts": lambda row: Markup(row.verdict_table()),
        "plain": lambda value: yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, allow_unicode=True),
    }
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        {
            **{name: data.get(name) for name in OPTIONAL},
            "title": data["title"],
            "headline": data.get("headline") or headline(data),
            "sets": [_set(found) for found in data.get("sets") or []],
            "examples": [_explained(group) for group in data.get("examples") or []],
            "style": Markup(style),
            "style_digest": base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        }
    )


def headline(data: Mapping[str, Any]) -> str:
    """What the first student scores, beside its teacher and what it started from; else how much was kept."""
    measured: Mapping[str, Any] = next(iter(data.get("sets") or []), {"models": []})
    first = {
        kind: next((row for row in measured["models"] if row["kind"] == kind), None)
        for kind in ("student", "teacher", "base")
    }
    student = first.pop("student")
    if student is None:
        return _kept(data["kept"]) if data.get("kept") else ""
    others = [f"the {kind} {row['pass@1']['value']:.1%}" for kind, row in first.items() if row]
    problems = "held-out problems" if measured["name"] == "held_out" else f"problems of {measured['name']}"
    answers = (
        f"{student['name']} answers {student['pass@1']['value']:.1%} of {measured['problems']:,} {problems} "
        "correctly at the first try"
    )
    return f"{answers}; {', '.join(others)}." if others else f"{answers}."


def _kept(kept: Mapping[str, int]) -> str:
    share = kept["rows"] / kept["of"] if kept["of"] else 0.0
    problems = f"{kept['problems']:,} of {kept['of_problems']:,} problems"
    return f"{kept['rows']:,} of {kept['of']:,} trajectories kept ({share:.1%}), of {problems}."


def _finalize(value: Any) -> Any:
    if isinstance(value, Markup):
        return value
    return visible(value) if isinstance(value, str) else "" if value is None else value


def _marked(row: Explanation, column: str) -> Markup:
    """A text of a row, shortened where it is long, with the evidence marked where it stands."""
    return Markup(row.marked(column))


def _explained(group: Mapping[str, Any]) -> dict[str, Any]:
    return {**group, "examples": [explanation(row, group["filter"]) for row in group["examples"]]}


def _set(found: Mapping[str, Any]) -> dict[str, Any]:
    """A set of problems as the page shows it."""
    n = str(found["samples_per_problem"])
    models = [{**model, "pass@n": (model.get("pass@k") or {}).get(n)} for model in found["models"]]
    answers = [
        {**group, "examples": [explanation(row) for row in group["examples"]]} for group in found.get("examples") or []
    ]
    return {**found, "models": models, "comparisons": _compared(found), "examples": answers}


def _compared(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Comparisons with a base, between students, and with what is published; each group with an axis that fits it."""
    bases = {row["name"] for row in found["models"] if row["kind"] == "base"}
    groups: dict[str, list[Any]] = {
        "What distillation bought": [],
        "What the choice of rows bought": [],
        "Beside published figures": [],
    }
    for row in found.get("comparisons") or []:
        groups["What distillation bought" if row["b"] in bases else "What the choice of rows bought"].append(row)
    for other in found.get("published") or []:
        named = {"b": other["name"]}
        groups["Beside published figures"] += [
            {**row, **named, "a": row["model"], "difference": row["value"]} for row in other["differences"]
        ]
    return [{"title": title, "rows": rows, "reach": _reach(rows)} for title, rows in groups.items() if rows]


def _reach(rows: Iterable[Mapping[str, Any]]) -> float:
    """How far the axis of differences reaches on either side of zero: 0.1, 0.2, 0.5 or 1."""
    most = max(max(abs(row["low"]), abs(row["high"]), abs(row["difference"])) for row in rows)
    return next((reach for reach in (0.1, 0.2, 0.5) if most <= reach), 1)


def _signed(number: float) -> str:
    text = f"{number:+.3f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _amount(number: float | None) -> str:
    """Three digits of what is small, whole numbers of what is not."""
    if number is None:
        return "–"
    return f"{number:,.0f}" if abs(number) >= 100 or float(number).is_integer() else f"{number:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
