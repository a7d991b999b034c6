"""Two models, of one run or of two, on the problems that both were measured on: which differences are more than noise.

Reads what reports have written; asks no model anything.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table
from rich.text import Text

from distill import metrics
from distill.metrics import Estimate
from distill.report.comparisons import paired
from distill.store import RunError

ASKED = ("samples_per_problem", "sampling", "verifier")


@dataclass(frozen=True)
class Side:
    """A run's report, and the model that is compared, or None for its students."""

    name: str
    model: str | None
    sets: dict[str, dict[str, Any]]
    problems: pl.DataFrame
    """What each model did on each problem of each set."""

    def label(self, model: str) -> str:
        """What the model is called beside one of another run."""
        return f"{self.name}:{model}"


def read_side(name: str, folder: Path, model: str | None) -> Side:
    """The report in a run's folder. Raises RunError where it has none, or no such model."""
    report, problems = folder / "report" / "report.json", folder / "report" / "problems.parquet"
    if not (report.is_file() and problems.is_file()):
        raise RunError(f"{folder} has no report to compare: run `distill report` first")
    table = pl.read_parquet(problems)
    models = table["model"].unique(maintain_order=True).to_list()
    if model is not None and model not in models:
        raise RunError(f"the report of {name} has no model {model!r}; it has {', '.join(models)}")
    return Side(name, model, {found["name"]: found for found in json.loads(report.read_text())["sets"]}, table)


@dataclass(frozen=True)
class Difference:
    """How much more model `a` solves than model `b` on a set, in pass@1."""

    set: str
    a: str
    b: str
    problems: int
    """That both were measured on."""
    a_rate: float
    b_rate: float
    difference: Estimate
    asked_otherwise: tuple[str, ...]
    """What differs in how the two were measured: then it is not the models alone that differ."""

    @property
    def is_noise(self) -> bool:
        """Whether zero lies within the interval."""
        return self.difference.low <= 0 <= self.difference.high


def differences(a: Side, b: Side) -> list[Difference]:
    """Of every pair of models, on every set that both reports have. RunError where they have nothing in common."""
    shared = [name for name in a.sets if name in b.sets]
    if not shared:
        raise RunError(
            f"{a.name} was measured on {', '.join(a.sets)}, and {b.name} on {', '.join(b.sets)}: on none of them both"
        )
    found = [
        difference
        for name in shared
        for pair in _pairs(a, b)
        if (difference := _difference(a, b, name, pair)) is not None
    ]
    if not found:
        raise RunError(
            f"{a.name} and {b.name} have sets of one name, but no problem in common that was decided for both"
        )
    return found


def _pairs(a: Side, b: Side) -> list[tuple[str, str]]:
    """The two models that were named, or students of one name, or the only students."""
    of_a, of_b = _candidates(a), _candidates(b)
    if len(of_a) == 1 and len(of_b) == 1:
        return [(of_a[0], of_b[0])]
    if a.model is not None or b.model is not None:
        return [(one, other) for one in of_a for other in of_b if (a.name, one) != (b.name, other)]
    if same := [(name, name) for name in of_a if name in of_b and a.name != b.name]:
        return same
    raise RunError(
        f"which models? {a.name} has {', '.join(of_a)}, and {b.name} has {', '.join(of_b)}; "
        f"name one of each, such as {a.name}:{of_a[0]} {b.name}:{of_b[-1]}"
    )


def _candidates(side: Side) -> list[str]:
    if side.model is not None:
        return [side.model]
    students = side.problems.filter(pl.col("kind") == "student")["model"].unique(maintain_order=True).to_list()
    if not students:
        raise RunError(f"the report of {side.name} has no student; name a model, such as {side.name}:teacher")
    return students


def _difference(a: Side, b: Side, name: str, pair: tuple[str, str]) -> Difference | None:
    rows = [
        side.problems.filter((pl.col("set") == name) & (pl.col("model") == model)).drop_nulls("pass_rate")
        for side, model in zip((a, b), pair, strict=True)
    ]
    both = [mine.join(other, on="problem_id", how="semi") for mine, other in (rows, rows[::-1])]
    if both[0].is_empty():
        return None
    difference, problems = paired(*rows)
    first, second = a.sets[name], b.sets[name]
    otherwise = [key for key in ASKED if key != "sampling" and first[key] != second[key]]
    otherwise += [key for key, value in first["sampling"].items() if value != second["sampling"].get(key)]
    rates = [float(table.select(pl.col("pass_rate").mean()).item()) for table in both]
    return Difference(
        set=name,
        a=a.label(pair[0]),
        b=b.label(pair[1]),
        problems=problems,
        a_rate=rates[0],
        b_rate=rates[1],
        difference=difference,
        asked_otherwise=tuple(otherwise),
    )


def show_differences(found: list[Difference]) -> Iterator[Table | Text]:
    """A line each, and in words which of them are noise."""
    for a, b in dict.fromkeys((each.a, each.b) for each in found):
        table = Table(title=f"\npass@1 of {a} (A) and {b} (B)", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("set", "problems", "A", "B", "A - B", "95 % interval", ""):
            table.add_column(column, justify="left" if column in ("set", "") else "right", overflow="fold")
        of_pair = [each for each in found if (each.a, each.b) == (a, b)]
        for each in of_pair:
            low, high = (metrics.signed(bound, 3) for bound in each.difference[1:])
            table.add_row(
                Text(each.set),
                f"{each.problems:,}",
                f"{each.a_rate:.3f}",
                f"{each.b_rate:.3f}",
                metrics.signed(each.difference.value, 3),
                f"{low} to {high}",
                "noise" if each.is_noise else "A is better" if each.difference.value > 0 else "B is better",
            )
        yield table
        for each in of_pair:
            if each.is_noise:
                reach = max(abs(bound - each.difference.value) for bound in each.difference[1:])
                yield Text(
                    f"- {each.set}: the difference may be chance. {each.problems:,} problems show one of about "
                    f"{reach:.2f} or more."
                )
            if each.asked_otherwise:
                yield Text(f"- {each.set}: the two were not measured alike: {', '.join(each.asked_otherwise)} differ.")
    if len(found) >= 5:
        yield Text(f"Of {len(found)} comparisons at 95 %, about one in 20 looks real by chance alone.")
