"""A recipe from a file, or all that is wrong with it: file:line:col, dotted path, found, expected, cure.

Checks what can be checked without a model: keys, values, how sections fit together, and the files that are named.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from distill.recipe import Recipe
from distill.recipe.errors import explain, show
from distill.recipe.problems import Table
from distill.recipe.section import Place
from distill.recipe.trajectories import RecipeStudent
from distill.recipe.yaml import Problem, RecipeError, Source, dotted, override_value, read_yaml

__all__ = ["RecipeError", "load_recipe"]


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, taught: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe and apply `a.b=value` overrides. Raises RecipeError with every problem found.

    `taught` are the recipes for which this one makes a model, so that none is made by itself.
    """
    source = read_yaml(Path(path))
    for override in overrides:
        override_value(source, override)
    recipe = _validate(source)
    if recipe and not source.problems:
        _check_files(source, recipe, (*taught, Path(path).resolve()))
    if source.problems or recipe is None:
        raise RecipeError("\n".join(str(problem) for problem in source.problems))
    return recipe


def _validate(source: Source) -> Recipe | None:
    if not isinstance(source.values, dict):
        source.blame((), f"expected sections (problems, trajectories, verdicts, …), found {show(source.values)}")
        return None
    blamed = {problem.path for problem in source.problems}
    try:
        return Recipe.model_validate(source.values)
    except ValidationError as error:
        for path, message in explain(error, (), source.values, Recipe):
            if not any(dotted(path[:length]) in blamed for length in range(1, len(path) + 1)):
                source.blame(path, message)
        return None


def _check_files(source: Source, recipe: Recipe, taught: tuple[Path, ...]) -> None:
    """Blame files that are missing or empty, and recipes of teachers that are themselves wrong."""
    tables: list[tuple[Place, Table | None]] = [
        (("problems",), recipe.problems),
        (("trajectories", "import"), recipe.trajectories.import_),
    ]
    for place, benchmark in enumerate(recipe.report.benchmarks if recipe.report else ()):
        tables.append((("report", "benchmarks", place), benchmark if isinstance(benchmark, Table) else None))
    for path, table in tables:
        if table and table.path is not None:
            _check_table_file(source, (*path, "path"), Path(table.path))
    if isinstance(examples := recipe.trajectories.examples, str):
        _check_table_file(source, ("trajectories", "examples"), Path(examples))
    _check_models(source, recipe, taught)


def _check_table_file(source: Source, path: Place, file: Path) -> None:
    if not file.is_file():
        near = difflib.get_close_matches(file.name, [other.name for other in file.parent.glob("*")], n=1)
        hint = f"; did you mean {str(file.parent / near[0])!r}?" if near else ""
        source.blame(path, f"no such file: {str(file)!r} (relative to the folder of the command){hint}")
    elif file.suffix not in (".jsonl", ".parquet"):
        source.blame(path, f"expected a .jsonl or .parquet file, found {file.name!r}")
    elif not _has_rows(file):
        source.blame(path, f"{str(file)!r} is empty; expected at least one row")


def _has_rows(file: Path) -> bool:
    if file.suffix == ".parquet":
        import polars as pl

        try:
            return bool(pl.scan_parquet(file).select(pl.len()).collect().item())
        except pl.exceptions.ComputeError:
            return True  # not a Parquet file: reading it will say so
    with open(file, "rb") as lines:
        return any(line.strip() for line in lines)


def _check_models(source: Source, recipe: Recipe, taught: tuple[Path, ...]) -> None:
    """Blame models that are not there, be they folders or other recipes' students."""
    places: list[tuple[Place, object]] = [(("trajectories", "teacher"), recipe.trajectories.teacher)]
    for name, arm in (recipe.student.arms if recipe.student else {}).items():
        place: Place = ("student", "arms", name)
        places.append(((*place, "base"), arm.base))
        places.append(((*place, "on_policy", "teacher"), arm.on_policy and arm.on_policy.teacher))
    for place, model in places:
        if isinstance(model, RecipeStudent):
            _check_recipe_student(source, (*place, "recipe"), model, taught)
        elif isinstance(model, str) and model.startswith((".", "/", "~")) and not Path(model).is_dir():
            source.blame(place, f"no such model folder: {model!r}")


def _check_recipe_student(source: Source, path: Place, model: RecipeStudent, taught: tuple[Path, ...]) -> None:
    name = model.recipe
    if not Path(name).is_file():
        source.blame(path, f"no such recipe: {name!r} (relative to the folder of the command)")
        return
    if Path(name).resolve() in taught:
        source.blame(path, "a recipe cannot start from, or be taught by, its own student")
        return
    try:
        arms = list(((student := load_recipe(name, taught=taught).student) and student.arms) or ())
    except RecipeError as error:
        source.problems.append(Problem(source.where(path), dotted(path), f"that recipe is wrong:\n{error}"))
        return
    if (model.arm or None) not in (arms if model.arm or len(arms) != 1 else [None]):
        source.blame(path, f"{name} has the students {', '.join(arms) or 'none'}; name one of them as `arm`")
