"""The tables at the end of a command: funnel, agreement, scores, and where the files are. Reads well at 80 columns."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from distill.store import Run

SHOWN_DISAGREEMENTS = 5


def summaries(run: Run, until: str | None) -> Iterator[Table | Text]:
    """What a person wants to see of a run, up to a stage; all of it if `until` is None."""
    if until in (None, "verdicts") and run.manifest("verdicts"):
        yield _funnel(run)
        yield from _agreement(run)
    if until in (None, "dataset") and run.manifest("dataset"):
        yield Text(f"dataset   {run.path('dataset')}")
    if until in (None, "report") and run.manifest("report"):
        data = json.loads(run.path("report", "report.json").read_text())
        yield _scores(data)
        for comparison in data["comparisons"]:
            yield Text(f"- {comparison['says']}")
        yield Text(f"\nreport    {run.path('report', 'report.html')}")


def _funnel(run: Run) -> Table:
    table = Table(title=f"Funnel of {run.name}", title_justify="left", box=None, padding=(0, 2, 0, 0))
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
        table.add_row(name, row["outcome"], row["reason"] or "", f"{row['rows']:,}", f"{row['share']:.1%}")
    facts = (run.manifest("verdicts") or {})["facts"]
    table.caption_justify = "left"
    table.caption = (
        f"{facts['kept']:,} of {facts['rows']:,} trajectories kept, "
        f"of {facts['problems_kept']:,} of {facts['problems']:,} problems"
    )
    return table


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


def _scores(data: dict[str, Any]) -> Table:
    k = data["k"]
    table = Table(title="\nHeld-out problems", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("model", overflow="fold")
    table.add_column("rows", justify="right")
    table.add_column("pass@1", justify="right")
    table.add_column("95 % interval")
    table.add_column(f"pass@{k}", justify="right")
    table.add_column(f"maj@{k}", justify="right")
    table.add_column("tokens", justify="right")
    for model in data["models"]:
        one = model["pass@1"]
        table.add_row(
            model["name"],
            "" if model["rows"] is None else f"{model['rows']:,}",
            f"{one['value']:.3f}",
            f"{one['low']:.3f} - {one['high']:.3f}",
            f"{model['pass@k']['value']:.3f}" if model["pass@k"] else "",
            f"{model['majority']['value']:.3f}",
            f"{model['mean_tokens']:.0f}",
        )
    return table
