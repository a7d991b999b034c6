"""The report: what teacher, bases and students score on held-out problems and benchmarks, and what filtering bought.

On a set of problems every model is sampled with the same settings and judged by the same verifier. Does not choose a
winner: it says which differences are larger than chance.
"""

import json
from typing import Any

import polars as pl

from distill.engines import Engine, open_engine
from distill.progress import Progress
from distill.report.benchmarks import ProblemSet, problem_sets
from distill.report.comparisons import beside_published, comparisons
from distill.report.entrants import Entrant, entrants
from distill.report.examples import Examples
from distill.report.lighteval import write_tasks
from distill.report.scores import FOUND, Score, by_difficulty, graded
from distill.sampler import sample
from distill.store import Run, digest, write_parquet, write_text

SCORES = "report.json"
PROBLEMS = "problems.parquet"
"""What each model did on each problem: counts, pass rate and majority; `distill compare` reads it."""
EXAMPLES = "examples.jsonl"


def make(run: Run, progress: Progress, *, teacher: str | None) -> dict[str, Any]:
    """Write `report/`: `report.json`, `problems.parquet` and `examples.jsonl`, which the page of the run shows, and a
    task file for lighteval.
    """
    section = run.recipe.report
    assert section is not None
    asked = list(problem_sets(run))
    for each in asked:
        _say(each, progress)
    scores: dict[str, list[Score]] = {each.name: [] for each in asked}
    shown: list[dict[str, Any]] = []
    for entrant in entrants(run, teacher):
        with open_engine(
            section.engine, entrant.model, revision=entrant.revision, args=section.engine_args, say=lambda line: None
        ) as engine:
            for each in asked:
                to_read = Examples(each.name, entrant.name, each.verifier.column())
                score = Score(entrant, each, _judged(run, engine, entrant, each, to_read, progress))
                scores[each.name].append(score)
                if entrant.kind == "student":
                    shown += to_read
                progress.say(f"  {describe(score.row, each.name)}")
    data = {"sets": [_set(each, scores[each.name], run) for each in asked]}
    write_text(run.path("report", SCORES), json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    write_parquet(_per_problem(scores), run.path("report", PROBLEMS))
    write_text(run.path("report", EXAMPLES), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in shown))
    write_tasks(run, asked)
    kept = ("name", "problems", "samples_per_problem", "source", "models")
    return {"sets": [{name: found[name] for name in kept} for found in data["sets"]]}


def _say(asked: ProblemSet, progress: Progress) -> None:
    count, each = asked.problems.height, asked.settings.samples_per_problem
    progress.say(f"  {asked.name}: {count:,} problems, {each} samples of each, judged by {asked.verifier.name()}")
    unverifiable = asked.verifier.unverifiable(asked.problems).drop_nulls()
    if len(unverifiable):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in unverifiable.value_counts(sort=True).iter_rows())
        progress.say(f"  {asked.name}: {len(unverifiable):,} problems can only be abstained on: {reasons}")


def _judged(
    run: Run, engine: Engine, entrant: Entrant, asked: ProblemSet, to_read: Examples, progress: Progress
) -> pl.DataFrame:
    """What was found of each sample; of the texts only `to_read` has some, since all may not fit into memory."""
    # Named by content: the samples of a model that was trained anew are not taken for this one's. How many there are of
    # a problem is no part of the name: more are added to those that are there.
    model = digest([engine.identity["model"], engine.identity["revision"]])
    settings = digest(asked.settings.model_dump(mode="json", exclude={"samples_per_problem"}))[:8]
    folder = run.path("report", "samples", asked.name, f"{entrant.kind}-{model}-{settings}")

    def judge(samples: pl.DataFrame) -> pl.DataFrame:
        judged = graded(samples, asked, run.recipe.verdicts)
        to_read.take(judged)
        return judged.select(FOUND)

    name = f"{entrant.name} on {asked.name}"
    return sample(engine, asked.problems, asked.settings, folder, name=name, progress=progress, kept=judge)


def _set(asked: ProblemSet, scores: list[Score], run: Run) -> dict[str, Any]:
    assert run.recipe.report is not None
    settings = ("temperature", "top_p", "max_tokens", "instruction", "open_think", "seed")
    return {
        "name": asked.name,
        "problems": asked.problems.height,
        "samples_per_problem": asked.settings.samples_per_problem,
        "verifier": asked.verifier.provenance(),
        "sampling": asked.settings.model_dump(mode="json", include={*settings}),
        "source": dict(asked.source),
        "models": [score.row for score in scores],
        "comparisons": list(comparisons(scores)),
        "published": list(beside_published(scores, run.recipe.report.published)),
        "difficulty": by_difficulty(scores),
    }


def _per_problem(scores: dict[str, list[Score]]) -> pl.DataFrame:
    return pl.concat(
        score.problems.select(
            pl.lit(name).alias("set"),
            pl.lit(score.entrant.name).alias("model"),
            pl.lit(score.entrant.kind).alias("kind"),
            pl.all(),
        )
        for name, each in scores.items()
        for score in each
    )


def describe(row: dict[str, Any], asked: str) -> str:
    """A row of the report's table as a line."""
    one, (k, at_k) = row["pass@1"], next(reversed(row["pass@k"].items()), (1, row["pass@1"]))
    return (
        f"{row['name']} on {asked}: pass@1 {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}], "
        f"pass@{k} {at_k['value']:.3f}, cons@{k} {row['cons@k']['value']:.3f}"
    )
