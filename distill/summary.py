"""The tables at the end of a command: funnel, agreement, scores, and where the files are. Reads well at 80 columns."""

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import filters
from distill.audit import AUDIT_FILE, Audit
from distill.page import is_current, page_path
from distill.report.words import show_scores
from distill.spared import said
from distill.stages import show_stages
from distill.store import Run
from distill.what_if import FATES_FILE, Outcome

SHOWN_DISAGREEMENTS = 5


def summaries(run: Run, until: str | None) -> Iterator[Table | Text]:
    """What a person wants to see of a run, up to a stage; all of it if `until` is None."""
    if until == "report" and run.recipe.report is None:
        until = None  # the report is then the page of all that there is
    if until in (None, "verdicts") and run.manifest("verdicts"):
        yield from _funnel(run)
        yield from _agreement(run)
    if until in (None, "dataset") and run.manifest("dataset"):
        yield Text(f"dataset   {run.path('dataset')}")
    if until in (None, "report") and run.manifest("report"):
        yield from show_scores(json.loads(run.path("report", "report.json").read_text()))
        yield from show_stages(run)
    if until not in ("problems", "trajectories") and is_current(run):
        yield Text(f"\nreport    {page_path(run)}")


def _funnel(run: Run) -> Iterator[Table | Text]:
    table = Table(title=f"\nFunnel of {run.name}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("filter")
    table.add_column("outcome")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    rows = pl.read_csv(run.path("verdicts", "funnel.csv"), schema_overrides={"reason": pl.String})
    before = None
    for row in rows.iter_rows(named=True):
        name = row["filter"] if row["filter"] != before else ""
        before = row["filter"]
        if "." in name:  # a member of any_of or by_domain, below it
            name = "  " * name.count(".") + name.partition(".")[2]
        table.add_row(name, row["outcome"], row["reason"] or "", f"{row['rows']:,}", f"{row['share']:.1%}")
    facts = (run.manifest("verdicts") or {})["facts"]
    yield table
    yield Text(
        f"{facts['kept']:,} of {facts['rows']:,} trajectories kept, "
        f"of {facts['problems_kept']:,} of {facts['problems']:,} problems"
    )
    if early := facts.get("ended_early"):
        yield Text(f"Samples {said(early)}.")


def _agreement(run: Run) -> Iterator[Table | Text]:
    facts: dict[str, Any] | None = (run.manifest("verdicts") or {})["facts"].get("agreement")
    if not facts or facts["share"] is None:
        return
    decided = facts["labelled"] - facts["abstained"]
    yield Text(
        f"\n{facts['filter']} agrees with {facts['agreed']:,} of {decided:,} upstream labels ({facts['share']:.2%}); "
        f"it abstained on {facts['abstained']:,}."
    )
    file: Path = run.path("verdicts", "disagreements.csv")
    disagreements = pl.read_csv(file, infer_schema=False)
    if disagreements.is_empty():
        return
    yield Text(f"The {disagreements.height:,} disagreements, for a person to read, are in {file}:")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("problem_id", "sample", "label", "verdict", "gold", "answer"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in disagreements.head(SHOWN_DISAGREEMENTS).iter_rows(named=True):
        label = "right" if row["upstream_correct"] == "true" else "wrong"
        cells = (
            row["problem_id"],
            row["sample"],
            label,
            row["reason"] or row["outcome"],
            row["reference_answer"],
            row["evidence"],
        )
        table.add_row(*(Text(str(cell or "")) for cell in cells))
    yield table


def show_outcomes(run: Run, outcomes: Sequence[Outcome]) -> Iterator[Table | Text]:
    """What the chain keeps with other parameters: a line each, and of a single change the rows that it moves."""
    as_it_is = outcomes[0]
    table = Table(title="What if", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    for column in ("kept\nrows", "", "tokens", "", "problems", "fates\nchanged"):
        table.add_column(column, justify="right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(
            Text("\n".join(f"{name} = {value}" for name, value in outcome.changes.items()) or str(outcome)),
            f"{outcome.rows:,}",
            _difference(outcome.rows, as_it_is.rows),
            "unknown" if outcome.tokens is None else f"{outcome.tokens:,}",
            _difference(outcome.tokens, as_it_is.tokens),
            f"{outcome.problems:,}",
            f"{outcome.fates.height:,}",
        )
    yield table
    if len(outcomes) == 2 and not outcomes[1].fates.is_empty():
        yield from _fates(outcomes[1])
    if any(not outcome.fates.is_empty() for outcome in outcomes):
        yield Text(f"\neach of them   {run.path(*FATES_FILE)}")


def _difference(value: int | None, base: int | None) -> str:
    return "" if value is None or base is None or value == base else f"{value - base:+,}"


def _fates(outcome: Outcome) -> Iterator[Table | Text]:
    table = Table(box=None, padding=(0, 2, 0, 0), title="\nRows whose fate changes", title_justify="left")
    for column in ("before", "after", "rows", "for example"):
        table.add_column(column, justify="right" if column == "rows" else "left", overflow="fold")
    example = pl.format("{}#{}", "problem_id", "sample").first()
    moves = outcome.fates.group_by("before", "after").agg(rows=pl.len(), example=example).sort("rows", descending=True)
    for before, after, rows, first in moves.iter_rows():
        table.add_row(Text(before), Text(after), f"{rows:,}", Text(first))
    yield table


def show_overlaps(overlaps: pl.DataFrame) -> Iterator[Table | Text]:
    """How many rows each pair of filters stops in common, and how many each stops alone."""
    table = Table(title="Rows stopped by both filters", title_justify="left", box=None, padding=(0, 2, 0, 0))
    names = overlaps["filter"].unique(maintain_order=True).to_list()
    table.add_column("")
    for number, _ in enumerate(names, 1):
        table.add_column(str(number), justify="right")
    table.add_column("alone", justify="right")
    for number, name in enumerate(names, 1):
        rows = overlaps.filter(pl.col("filter") == name)
        table.add_row(f"{number} {name}", *(f"{count:,}" for count in rows["rows"]), f"{rows['alone'][0]:,}")
    yield table
    yield Text("alone: rows that the chain would keep without this filter")


def show_audit(run: Run, audits: Sequence[Audit]) -> Iterator[Table | Text]:
    """False-reject and false-accept rates of the verifier against each second one, and disagreements to read."""
    table = Table(title=f"Audit of {audits[0].first}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("second verifier", "error", "rows", "of", "share", "95 % interval"):
        table.add_column(column, justify="right" if column in ("rows", "of", "share") else "left", overflow="fold")
    for found in audits:
        for error, rate in (("false reject", found.false_reject), ("false accept", found.false_accept)):
            interval = f"{rate.share.low:.1%} - {rate.share.high:.1%}" if rate.decided else ""
            share = f"{rate.share.value:.1%}" if rate.decided else ""
            table.add_row(found.second, error, f"{rate.wrong:,}", f"{rate.decided:,}", share, interval)
        table.add_row("", "abstained", f"{found.abstained:,}", f"{found.sampled:,}", "", "")
    yield table
    shown = pl.concat([found.disagreements for found in audits])
    if shown.is_empty():
        return
    yield Text(f"\nThe {shown.height:,} disagreements, for a person to read, are in {run.path(*AUDIT_FILE)}:")
    listed = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("problem_id", "sample", "first", "second", "gold", "evidence"):
        listed.add_column(column, overflow="ellipsis", no_wrap=True)
    for row in shown.head(SHOWN_DISAGREEMENTS).iter_rows(named=True):
        cells = ("problem_id", "sample", "first", "second", "reference_answer", "first_evidence")
        listed.add_row(*(Text(str("" if row[c] is None else row[c])) for c in cells))
    yield listed


def show_filters() -> Iterator[Table | Text]:
    """Every filter's promise, by what it must see at once."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("filter", "sees", "promise"):
        table.add_column(column, overflow="fold")
    for name in filters.available():
        cls = filters.filter_class(name)
        table.add_row(name, cls.scope, Text(_plain(cls.__doc__).splitlines()[0]))
    yield table


def show_filter(name: str) -> Iterator[Table | Text | Padding]:
    """A filter's docstring, and its parameters with their defaults."""
    cls = filters.filter_class(name)
    yield Text(f"{name} ({cls.scope} scope; reads {', '.join(cls.reads) or 'what its members read'})\n")
    for paragraph in re.split(r"\n\s*\n|\n(?=\w+:)", _plain(cls.__doc__)):
        yield Padding(Text(" ".join(paragraph.split())), (0, 0, 1, 0))
    for parameter, field in cls.model_fields.items():
        yield Text(f"{parameter}: {field.get_default(call_default_factory=True)!r}")
        yield Padding(Text(" ".join(_plain(field.description).split())), (0, 0, 0, 4))


def _plain(docstring: str | None) -> str:
    """A docstring as a person reads it in a terminal."""
    return inspect.cleandoc(docstring or "").replace("``", "`")
