"""The report: what teacher, bases and students score on the held-out problems, and what filtering bought.

Every model is sampled with the same settings and judged by the recipe's own verifier. Does not choose a winner: it says
which differences are larger than chance.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from distill import metrics
from distill.chat import split_completions
from distill.engines import open_engine
from distill.metrics import Estimate
from distill.progress import Progress
from distill.recipe import Report
from distill.report_page import render_report
from distill.sampler import sample
from distill.store import Run, RunError, digest, write_text
from filters import Filter, canonical_answer, extract_answer

EXAMPLES = 3
"""Trajectories shown for each reason of the funnel."""


@dataclass(frozen=True)
class Entrant:
    """A model that is measured."""

    name: str
    kind: str
    """teacher, base or student"""
    model: str
    revision: str | None = None
    rows: int | None = None
    """Rows it was trained on."""
    trained_on: str = ""
    """Which rows these are, in the words of the recipe."""
    base: str = ""
    """The base of a student."""


@dataclass(frozen=True)
class Score:
    """What an entrant did on the held-out problems."""

    entrant: Entrant
    problems: pl.DataFrame
    """One row a problem, as `metrics.per_problem` returns them."""
    mean_tokens: float
    truncated_share: float
    k: int

    @cached_property
    def row(self) -> dict[str, Any]:
        """The row of the report's table."""
        rated = self.problems.drop_nulls("pass_rate")
        if rated.is_empty():
            raise RunError(
                f"{self.entrant.name}: the verifier could not decide a single answer, so there is nothing to report; "
                "do the held-out problems have reference answers?"
            )
        whole = rated.filter(pl.col("samples") >= self.k)
        at_k = metrics.pass_at_k(whole["samples"], whole["correct"], self.k)
        return {
            "name": self.entrant.name,
            "kind": self.entrant.kind,
            "rows": self.entrant.rows,
            "trained_on": self.entrant.trained_on,
            "pass@1": metrics.mean_score(rated["pass_rate"])._asdict(),
            # Null where no problem had all its samples decided.
            "pass@k": metrics.mean_score(at_k)._asdict() if at_k.size else None,
            "majority": metrics.mean_score(rated["majority"])._asdict(),
            "mean_tokens": self.mean_tokens,
            "truncated_share": self.truncated_share,
            "undecided": int(self.problems["undecided"].sum()),
        }


def make(run: Run, progress: Progress, *, teacher: str | None) -> dict[str, Any]:
    """Write `report/report.json` and `report/report.html`."""
    section = run.recipe.report
    assert section is not None
    scores = [_score(run, entrant, progress) for entrant in _entrants(run, section, teacher)]
    data = {
        "title": run.recipe.dataset.title if run.recipe.dataset and run.recipe.dataset.title else run.name,
        "k": section.samples_per_problem,
        "held_out": run.problems("held_out").height,
        "models": [score.row for score in scores],
        "comparisons": list(_comparisons(scores)),
        "funnel": _funnel(run),
        "tokens": _tokens(run),
        "stages": _stages(run),
        "examples": list(_examples(run)),
        "recipe": run.recipe.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
    write_text(run.path("report", "report.json"), json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_text(run.path("report", "report.html"), render_report(data))
    return {"k": section.samples_per_problem, "models": data["models"]}


def _entrants(run: Run, section: Report, teacher: str | None) -> Iterator[Entrant]:
    if teacher is not None:
        yield Entrant("teacher", "teacher", teacher, run.recipe.trajectories.revision)
    seen = set()
    for name, arm in (run.recipe.student.arms if run.recipe.student else {}).items():
        made = json.loads(run.path("student", name, "made.json").read_text())
        base = made["base"]
        if section.bases and base not in seen:
            seen.add(base)
            yield Entrant(f"{made['base_name']} base", "base", base, arm.revision)
        folder = str(run.path("student", name))
        yield Entrant(name, "student", folder, rows=made["rows"], trained_on=arm.rows, base=base)


def _score(run: Run, entrant: Entrant, progress: Progress) -> Score:
    section, verifier = run.recipe.report, run.recipe.verifier
    assert section is not None
    assert verifier is not None
    held_out = run.problems("held_out")
    with open_engine(
        section.engine, entrant.model, revision=entrant.revision, args=section.engine_args, say=lambda line: None
    ) as engine:
        # Named by content: the samples of a model that was trained anew are not taken for this one's.
        key = digest([engine.identity["model"], engine.identity["revision"]])
        folder = run.path("report", "samples", f"{entrant.kind}-{key}-{digest(section)[:8]}")
        samples = sample(engine, held_out, section, folder, name=entrant.name, progress=progress)
    table = metrics.per_problem(_graded(samples, held_out, verifier))
    score = Score(
        entrant,
        table,
        mean_tokens=float(samples.select(pl.col("completion_tokens").mean()).item() or 0),
        truncated_share=float(samples.select((pl.col("finish_reason") == "length").mean()).item() or 0),
        k=section.samples_per_problem,
    )
    progress.say(f"  {describe(score.row, score.k)}")
    return score


def describe(row: dict[str, Any], k: int) -> str:
    """A row of the report's table as a line."""
    one = row["pass@1"]
    return (
        f"{row['name']}: pass@1 {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}], "
        f"pass@{k} {row['pass@k']['value'] if row['pass@k'] else math.nan:.3f}, "
        f"majority {row['majority']['value']:.3f}"
    )


def _graded(samples: pl.DataFrame, held_out: pl.DataFrame, verifier: Filter) -> pl.DataFrame:
    """Samples with `correct` (null where the verifier could not decide) and the canonical `answer`."""
    texts = split_completions(samples["text"])
    answers = [extract_answer(response) for response in texts["response"]]
    judged = (
        samples.join(held_out, on="problem_id", how="left", maintain_order="left")
        .with_columns(texts)
        .with_columns(verifier.verdict().alias("verdict"))
    )
    outcome = pl.col("verdict").struct.field("outcome").cast(pl.String)
    return judged.select(
        "problem_id",
        correct=pl.when(outcome != "abstain").then(outcome == "keep"),
        answer=pl.Series([None if answer is None else canonical_answer(answer) for answer in answers], dtype=pl.String),
    )


def _comparisons(scores: list[Score]) -> Iterator[dict[str, Any]]:
    """Each student with its base and with the teacher, and the students of one base that were trained on other rows."""
    students = [score for score in scores if score.entrant.kind == "student"]
    for student in students:
        for base in scores:
            if base.entrant.kind == "base" and base.entrant.model == student.entrant.base:
                yield _compare(student, base, f"distilling {base.entrant.name} into {student.entrant.name}")
    for position, student in enumerate(students):
        for other in students[position + 1 :]:
            if other.entrant.base == student.entrant.base and other.entrant.trained_on != student.entrant.trained_on:
                what = f"training on {_rows(student.entrant)} rather than {_rows(other.entrant)}"
                yield _compare(student, other, what)


def _rows(entrant: Entrant) -> str:
    words = {"kept": "the kept rows", "sampled": "the unfiltered rows"}
    return words.get(entrant.trained_on, f"the rows that passed {entrant.trained_on}") + f" ({entrant.rows:,})"


def _compare(a: Score, b: Score, what: str) -> dict[str, Any]:
    both = a.problems.join(b.problems, on="problem_id", how="inner", maintain_order="left").drop_nulls(
        ["pass_rate", "pass_rate_right"]
    )
    difference: Estimate = metrics.paired_difference(both["pass_rate"], both["pass_rate_right"])
    return {
        "a": a.entrant.name,
        "b": b.entrant.name,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "says": metrics.sentence(what, difference),
    }


def _funnel(run: Run) -> list[dict[str, Any]]:
    table = pl.read_csv(run.path("verdicts", "funnel.csv"), schema_overrides={"reason": pl.String})
    return table.filter(~pl.col("filter").str.contains(".", literal=True)).to_dicts()


def _tokens(run: Run) -> dict[str, Any] | None:
    stats = run.path("dataset", "stats.json")
    tokens: dict[str, Any] | None = json.loads(stats.read_text())["tokens"] if stats.is_file() else None
    return tokens


def _stages(run: Run) -> list[dict[str, Any]]:
    manifests = [run.manifest(stage) for stage in ("problems", "trajectories", "verdicts", "dataset", "student")]
    return [{"name": manifest["stage"], "seconds": manifest["seconds"]} for manifest in manifests if manifest]


def _examples(run: Run) -> Iterator[dict[str, Any]]:
    """A few trajectories for each way to fall, and a few that were kept."""
    judged = run.judged()
    columns = [filter.column() for filter in run.recipe.verdicts]
    for filter in run.recipe.verdicts:
        verdict = pl.col(filter.column()).struct
        fallen = judged.filter(verdict.field("outcome").cast(pl.String).is_in(["reject", "abstain"]))
        for reason in fallen.select(verdict.field("reason")).to_series().unique().sort():
            for row in fallen.filter(verdict.field("reason") == reason).head(EXAMPLES).iter_rows(named=True):
                yield _example(row, filter.name(), row[filter.column()])
    last = pl.col(columns[-1]).struct.field("outcome").cast(pl.String)
    for row in judged.filter(last == "keep").head(EXAMPLES).iter_rows(named=True):
        yield _example(row, run.recipe.verdicts[-1].name(), row[columns[-1]])


def _example(row: dict[str, Any], filter: str, verdict: dict[str, Any]) -> dict[str, Any]:
    names = ("problem_id", "sample", "problem", "reference_answer", "reasoning", "response", "completion_tokens")
    return {name: row[name] for name in names} | {"filter": filter} | verdict
