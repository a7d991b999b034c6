"""Which differences are larger than chance: between models on the same problems, and from published figures."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from distill import metrics
from distill.metrics import Estimate
from distill.recipe.report import Published
from distill.report.entrants import Entrant
from distill.report.scores import Score


def comparisons(scores: list[Score]) -> Iterator[dict[str, Any]]:
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
    words = {
        "kept": "the kept rows",
        "sampled": "the unfiltered rows",
        "dpo": "preference pairs",
        "grpo": "rewards",
        "on_policy": "the teacher's probabilities",
    }
    return words.get(entrant.trained_on, f"the rows that passed {entrant.trained_on}") + f" ({entrant.rows:,})"


def _compare(a: Score, b: Score, what: str) -> dict[str, Any]:
    difference, _ = paired(a.problems, b.problems)
    return {
        "a": a.entrant.name,
        "b": b.entrant.name,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "says": metrics.sentence(what, difference),
    }


def paired(a: pl.DataFrame, b: pl.DataFrame) -> tuple[Estimate, int]:
    """How much higher the pass rates of `a` are on the problems that both have, and how many these are.

    Both are as `metrics.per_problem` returns them. ValueError where they have no problem in common.
    """
    both = a.join(b, on="problem_id", how="inner", maintain_order="left").drop_nulls(["pass_rate", "pass_rate_right"])
    return metrics.paired_difference(both["pass_rate"], both["pass_rate_right"]), both.height


def beside_published(scores: list[Score], published: list[Published]) -> Iterator[dict[str, Any]]:
    """What others have published for this set, and how far each student is from it."""
    for other in published:
        figures = other.scores.get(scores[0].set.name)
        if figures is None:
            continue
        away = []
        for score in scores:
            if score.entrant.kind == "student":
                own = metrics.Estimate(**score.row["pass@1"])
                difference = Estimate(*(value - figures["pass@1"] for value in own))
                away.append(
                    {"model": score.entrant.name, **difference._asdict(), "says": _apart(score, other, difference)}
                )
        yield {"name": other.name, "source": other.source, "scores": figures, "differences": away}


def _apart(score: Score, other: Published, difference: Estimate) -> str:
    numbers = metrics.in_numbers(difference)
    where = f"on {score.set.name}: {numbers}"
    if difference.low > 0:
        return f"{score.entrant.name} is above the published {other.name} {where}"
    if difference.high < 0:
        return f"{score.entrant.name} is below the published {other.name} {where}"
    return f"{score.entrant.name} cannot be told from the published {other.name} {where}"
