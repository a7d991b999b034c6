"""Recipes that begin where another's student ends: what each stage's students score, in the order of the chain.

Measures nothing: it reads what the reports of the runs have found.
"""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from distill.recipe.trajectories import RecipeStudent
from distill.run import open_run, others
from distill.store import Run


def chain(run: Run) -> list[Run]:
    """The runs whose students a run's models come from, the earliest first, and the run itself."""
    found: dict[str, Run] = {}
    for name in _recipes(run):
        for one in chain(open_run(name, runs=run.folder.parent)):
            found.setdefault(one.name, one)
    return [*found.values(), run]


def show_stages(run: Run) -> Iterator[Table | Text]:
    """pass@1 after every stage, with a 95 % interval; nothing for a recipe that stands alone."""
    stages = chain(run)
    if len(stages) == 1:
        return
    table = Table(title="\nStages", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("recipe", "student", "method", "rows", "pass@1", "95 % interval"):
        table.add_column(column, justify="right" if column in ("rows", "pass@1", "95 % interval") else "left")
    for stage in stages:
        arms = stage.recipe.student.arms if stage.recipe.student else {}
        sets = (stage.manifest("report") or {}).get("facts", {}).get("sets", [])
        for row in sets[0]["models"] if sets else []:
            if row["kind"] == "student" and row["name"] in arms:
                one = row["pass@1"]
                method, rows = arms[row["name"]].method, f"{row['rows']:,}"
                interval = f"{one['low']:.3f} - {one['high']:.3f}"
                table.add_row(stage.name, row["name"], method, rows, f"{one['value']:.3f}", interval)
    yield table


def _recipes(run: Run) -> list[str]:
    named = [run.recipe.trajectories.teacher, *others(run)]
    return list(dict.fromkeys(model.recipe for model in named if isinstance(model, RecipeStudent)))
