"""What is asked for in an address, as a page: a list of rows and the row that is open. Everything said is escaped."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import jinja2
import polars as pl
from markupsafe import Markup
from pydantic import BaseModel, Field

from distill.lineage import said
from distill.store import KEY
from distill.view.labels import Labels
from distill.view.sources import Source, fingerprint
from distill.view.table import Query, Table
from distill.view.texts import marked
from filters._display import Explanation, clipped, explanation, number
from filters._evidence import visible
from filters._labels import text_digest

PAGE = Path(__file__).with_name("page")
PAGE_ROWS = 50
GIST_CHARS = 160
OUTCOMES = {
    "keep": "kept", "reject": "rejected", "abstain": "abstained", "undecided": "undecided", "none": "not judged",
}  # fmt: skip
METHODS = {
    "plain": "the plain question", "refine": "mended", "hint": "the answer was given", "continued": "continued",
}  # fmt: skip
LABELS = {"good": "good", "bad": "bad", "any": "labelled", "none": "not labelled"}
SORTS = {
    "order": "as in the run", "-tokens": "longest first", "tokens": "shortest first",
    "-score": "highest score first", "score": "lowest score first",
}  # fmt: skip


class Look(BaseModel):
    """Where in the rows a person is, and how they look at one."""

    at: int = Field(default=0, ge=0)
    """Rows before the first one that is listed."""
    row: str | None = None
    """The problem of the row that is open."""
    sample: int = 0
    side: bool = False
    """All samples of the problem side by side."""
    maths: bool = True
    """Formulas drawn."""


class Said(BaseModel):
    """What a person says of a row."""

    problem_id: str
    sample: int = Field(ge=0)
    label: Literal["good", "bad", "none"]
    text_digest: str = Field(pattern="^[0-9a-f]{16}$")


class Viewer:
    """A run's folder as pages. Raises RunError where it has no trajectories, FilterError where its labels are none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labels = Labels(folder)
        self._lock = threading.Lock()
        self._seen = fingerprint(folder)
        self._table = Table(Source.of(folder))
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(PAGE),
            autoescape=True,
            finalize=lambda value: visible(value) if type(value) is str else value,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters |= {"count": "{:,}".format, "number": number, "said": said}
        self._template = environment.get_template("page.html.j2")

    def page(self, asked: Mapping[str, str]) -> str:
        """The page of an address's parameters. Raises pydantic's ValidationError where they are none."""
        query, look = Query.model_validate(dict(asked)), Look.model_validate(dict(asked))
        table = self._fresh(reading=look.row is not None)
        wanted = table.select(query, self.labels.frame)
        row = None if look.row is None else _open(table, self.labels, look)
        place = None
        if row is not None:
            places = (wanted["row"] == row["number"]).arg_true()
            place = int(places[0]) if len(places) else None
        first = look.at if place is None else place // PAGE_ROWS * PAGE_ROWS
        if row is not None:
            row |= {"place": place, **_neighbours(table, wanted, place)}

        def link(**changes: Any) -> str:
            given = {**dict(asked), **changes}
            if "at" not in changes:
                given.pop("at", None)
            return "/?" + urlencode({name: value for name, value in given.items() if value not in (None, "")})

        return self._template.render(
            name=self.folder.resolve().name,
            rows=table.rows.height,
            notice=_notice(table.source),
            facets=table.facets,
            filters=table.filters,
            outcomes=OUTCOMES,
            methods=METHODS,
            labels=LABELS,
            sorts=SORTS,
            query=query,
            found=wanted.height,
            at=first,
            page_rows=PAGE_ROWS,
            listed=_listed(table, self.labels, wanted.slice(first, PAGE_ROWS), look),
            open=row,
            missing=f"{look.row} #{look.sample}" if look.row is not None and row is None else None,
            side=look.side,
            maths=look.maths,
            link=link,
            labels_path=str(self.labels.path),
        )

    def label(self, form: Mapping[str, str]) -> None:
        """Label a row as a form says. Raises pydantic's ValidationError where it says no label."""
        said = Said.model_validate(dict(form))
        with self._lock:
            self.labels.say(said.problem_id, said.sample, said.label, said.text_digest)

    def _fresh(self, *, reading: bool) -> Table:
        """The table, read again where the run has gone on since; of a journal, which only grows, not between rows."""
        with self._lock:
            seen = fingerprint(self.folder)
            if seen != self._seen and not (reading and self._table.source.journaled is not None):
                self._table, self._seen = Table(Source.of(self.folder)), seen
            return self._table


def _notice(source: Source) -> str:
    parts = ["still sampling: load again for more"] if source.journaled is not None else []
    parts += ["verdicts are of an earlier time"] if source.outdated else []
    return "; ".join(parts)


def _neighbours(table: Table, wanted: pl.DataFrame, place: int | None) -> dict[str, tuple[str, int] | None]:
    """The keys of the rows before and after the one that is open."""
    places = {"before": -1 if place is None else place - 1, "after": wanted.height if place is None else place + 1}
    return {
        name: table.rows.select(KEY).row(wanted["row"][at]) if 0 <= at < wanted.height else None
        for name, at in places.items()
    }


def _listed(table: Table, labels: Labels, rows: pl.DataFrame, look: Look) -> list[dict[str, Any]]:
    """The rows of a page of the list."""
    thin = table.rows[rows["row"].to_list()]
    problems = table.source.read(rows["row"].to_list(), ["problem_id", "problem"])["problem"]
    said = labels.on(thin)
    return [
        {
            **row,
            "fate": _fate(row["outcome"], row["filter"], row["reason"]),
            "tokens": row["completion_tokens"],
            "score": None if score is None else number(score),
            "label": label,
            "gist": clipped(problem or row["problem_id"], GIST_CHARS),
            "current": (row["problem_id"], row["sample"]) == (look.row, look.sample),
        }
        for row, problem, score, label in zip(thin.iter_rows(named=True), problems, rows["score"], said, strict=True)
    ]


def _fate(outcome: str, filter: str | None, reason: str | None) -> str:
    return f"{filter}: {reason}" if filter else OUTCOMES[outcome]


def _open(table: Table, labels: Labels, look: Look) -> dict[str, Any] | None:
    """The row that is open, with its siblings; None where there is none of that name."""
    frame = table.siblings(str(look.row))
    samples = {row["sample"]: explanation(row) for row in frame.drop("row").iter_rows(named=True)}
    if look.sample not in samples:
        return None
    this = samples[look.sample]
    digests = {sample: text_digest(said.row["reasoning"], said.row["response"]) for sample, said in samples.items()}
    said = labels.of(str(look.row))
    current = {sample: label for sample, (label, digest) in said.items() if digest in (None, digests.get(sample))}
    numbers = dict(frame.select("sample", "row").iter_rows())
    rows = table.rows[[numbers[sample] for sample in samples]]
    fates = {
        sample: {"sample": sample, "outcome": outcome, "fate": _fate(outcome, filter, reason)}
        for sample, outcome, filter, reason in rows.select("sample", "outcome", "filter", "reason").iter_rows()
    }
    shown = samples if look.side else {look.sample: this}
    return {
        **fates[look.sample],
        "number": numbers[look.sample],
        "title": this.name,
        "problem_id": look.row,
        "details": this.details,
        "source": this.row["source"],
        "finish": this.row["finish_reason"],
        "text_digest": digests[look.sample],
        "label": current.get(look.sample),
        "stale_label": said[look.sample][0] if look.sample in said.keys() - current.keys() else None,
        "problem": _text(this, "problem", look),
        "reference": None if (gold := this.row["reference_answer"]) is None else _plain(gold, look),
        "siblings": [fate | {"label": current.get(sample)} for sample, fate in fates.items()],
        "shown": [fates[sample] | _sample(said, look) for sample, said in shown.items()],
    }


def _sample(said: Explanation, look: Look) -> dict[str, Any]:
    """The texts and verdicts of one sample."""
    reasoning = said.row["reasoning"]
    return {
        "details": said.details,
        "elsewhere": said.elsewhere,
        "reasoning": None if reasoning is None else _text(said, "reasoning", look),
        "reasoning_chars": len(reasoning or ""),
        "reasoning_marks": len(said.found("reasoning")[1]),
        "reasoning_gist": said.context("reasoning", GIST_CHARS),
        "response": _text(said, "response", look),
        "steps": said.steps,
    }


def _plain(text: str, look: Look) -> Markup:
    return Markup(marked(visible(text), (), maths=look.maths))


def _text(said: Explanation, column: str, look: Look) -> Markup:
    return Markup(marked(*said.found(column), maths=look.maths))
