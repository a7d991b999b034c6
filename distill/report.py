"""The report: what teacher, bases and students score on the held-out problems, and what filtering bought.

Every model is sampled with the same settings and judged by the recipe's own verifier. Does not choose a winner: it says
which differences are larger than chance.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from distill import metrics
from distill.chat import split_completion
from distill.engines import open_engine
from distill.progress import Progress
from distill.recipe import Report
from distill.report_page import render_report
from distill.sampler import sample
from distill.store import Run, folder_digest, write_text
from filters import Filter, canonical_answer, extract_answer, funnel, through

EXAMPLES = 3


@dataclass(frozen=True)
class Entrant:
    """A model that is measured."""

    name: str
    kind: str
    """teacher, base or student"""
    model: str
    rows: int | None = None
    """Rows it was trained on."""


@dataclass(frozen=True)
class Score:
    """What an entrant did: one row of `correct` per problem, one column per sample."""

    entrant: Entrant
    correct: np.ndarray
    majority: np.ndarray
    tokens: float
    truncated: float
    undecided: int


def make(run: Run, progress: Progress, *, teacher: str | None) -> dict[str, Any]:
    """Write `report/report.json` and `report/report.html`."""
    section, verifier = run.recipe.report, run.recipe.verifier
    assert section is not None and verifier is not None
    held_out = run.problems("held_out")
    scores = [_score(run, section, verifier, held_out, entrant, progress) for entrant in _entrants(run, teacher)]
    data = _data(run, section, scores)
    write_text(run.path("report", "report.json"), json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_text(run.path("report", "report.html"), render_report(data))
    return {"models": len(scores), "held_out": held_out.height}


def _entrants(run: Run, teacher: str | None) -> Iterator[Entrant]:
    if teacher is not None:
        yield Entrant("teacher", "teacher", teacher)
    seen = set()
    for name in run.recipe.student.arms if run.recipe.student else {}:
        made = json.loads(run.path("student", name, "made.json").read_text())
        if made["base"] not in seen:
            seen.add(made["base"])
            yield Entrant(f"{made['base_name']} (base)", "base", made["base"])
        yield Entrant(name, "student", str(run.path("student", name)), made["rows"])


def _score(
    run: Run, section: Report, verifier: Filter, held_out: pl.DataFrame, entrant: Entrant, progress: Progress
) -> Score:
    path = Path(entrant.model)
    # Samples of a model that has been trained anew must not be taken for this one's.
    key = folder_digest(path)[:8] if path.is_dir() else entrant.model.replace("/", "--")
    folder = run.path("report", "samples", f"{entrant.kind}-{key}")
    say = progress.say
    with open_engine(section.engine, entrant.model, revision=None, args=section.engine_args, say=lambda line: None) as engine:
        table = sample(engine, held_out, section, folder, name=entrant.name, progress=progress)
    pairs = [split_completion(text) for text in table["text"]]
    judged = table.join(held_out.drop("split"), on="problem_id", how="left", maintain_order="left").with_columns(
        pl.DataFrame(pairs, schema={"reasoning": pl.String, "response": pl.String}, orient="row")
    )
    judged = judged.with_columns(verdict=verifier.verdict())
    outcome = judged["verdict"].struct.field("outcome").cast(pl.String)
    shape = (held_out.height, section.samples_per_problem)
    score = Score(
        entrant,
        correct=(outcome == "keep").to_numpy().reshape(shape),
        majority=_majority(judged, held_out),
        tokens=float(table["completion_tokens"].mean() or 0),
        truncated=float((table["finish_reason"] == "length").mean() or 0),
        undecided=int((outcome == "abstain").sum()),
    )
    say(f"  {entrant.name}: pass@1 {score.correct.mean():.3f}")
    return score
