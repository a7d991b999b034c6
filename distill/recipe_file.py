"""Reads a recipe from YAML, or says all that is wrong with it: file:line:col, dotted path, found, expected, cure.

Only the part of YAML that means the same to everybody is accepted: no aliases, tags, duplicate keys, or words and
numbers that YAML 1.1 reads as something else than a person does.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from distill.recipe import Place, Recipe, Table, Trajectories
from distill.recipe_errors import explain, show

MAX_BYTES = 1_000_000


class RecipeError(ValueError):
    """A recipe cannot be read, or parts of it are wrong. The message lists every problem, one after another."""


class Problem(NamedTuple):
    """One thing that is wrong with a recipe."""

    where: str
    """file:line:col, or the --set option."""
    path: str
    """Dotted path of the value; empty for the whole file."""
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.path + ': ' if self.path else ''}{self.message}"


@dataclass
class Source:
    """A parsed recipe file: plain values, where each came from, and what was already found wrong."""

    file: str
    values: Any
    marks: dict[Place, str]
    problems: list[Problem]

    def where(self, path: Place) -> str:
        """The place of the value at `path`, or of the nearest enclosing value that the file has."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks.get(path, f"{self.file}:1:1")

    def blame(self, path: Place, message: str) -> None:
        """Add a problem with the value at `path`."""
        self.problems.append(Problem(self.where(path), dotted(path), message))


def load_recipe(path: str | Path, overrides: Sequence[str] = (), *, taught: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe and apply `a.b=value` overrides. Raises RecipeError with every problem found.

    `taught` are the recipes whose teacher this one makes, so that none is made by itself.
    """
    source = _read(Path(path))
    for override in overrides:
        _override(source, override)
    recipe = _validate(source)
    if recipe and not source.problems:
        _check_files(source, recipe, (*taught, Path(path).resolve()))
    if source.problems or recipe is None:
        raise RecipeError("\n".join(str(problem) for problem in source.problems))
    return recipe


def dotted(path: Place) -> str:
    """`('verdicts', 1, 'length')` as `verdicts[1].length`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


# --- YAML -------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Source:
    source = Source(str(path), {}, {}, [])
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"{path}: cannot read the recipe: {error.strerror}. Give the path of a recipe's YAML file."
        ) from None
    if len(text) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(text)} bytes; a recipe has at most {MAX_BYTES}")
    try:
        node = yaml.compose(text.decode(), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text: byte {error.start} is {text[error.start]:#04x}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else f"{path}:1:1"
        raise RecipeError(f"{place}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    source.values = {} if node is None else _value(node, (), source, seen=set())
    return source


def _value(node: yaml.Node, path: Place, source: Source, seen: set[int]) -> Any:
    source.marks.setdefault(path, f"{source.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}")
    if id(node) in seen:
        source.blame(path, "a YAML alias (*name); write the value out")
        return None
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source, seen)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, position), source, seen) for position, item in enumerate(node.value)]
    return _scalar(node, path, source)


def _mapping(node: yaml.MappingNode, path: Place, source: Source, seen: set[int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        here = (*path, key)
        mark = f"{source.file}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
        if key in values:
            source.problems.append(Problem(mark, dotted(here), f"key {key!r} occurs twice; keep one"))
            continue
        source.marks[here] = mark
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
            source.blame(here, f"expected a word as key, found {key!r}; quote it if it is meant")
        values[key] = _value(value_node, here, source, seen)
    return values


_TRAPS = (
    (r"(?i)y|n|yes|no|on|off", "YAML reads {0} as true or false; write true or false, or quote it"),
    (r"[-+]?\d+(\.\d*)?[eE]\d+|[-+]?\d+[eE][-+]?\d+", "YAML reads {0} as text; write {1}"),
    (
        r"[-+]?0\d+|[-+]?0[xXbBoO]\w+|[-+]?\d[\d_]*_[\d_.]*",
        "{0} is not a plain decimal number; write it in digits, or quote it",
    ),
    (r"[-+]?\d+(:[0-5]?\d)+(\.\d*)?", "YAML reads {0} as a number to the base 60; quote it"),
    (r"\d{4}-\d\d?-\d\d?([Tt ].*)?", "YAML reads {0} as a date; quote it"),
)


def _scalar(node: yaml.Node, path: Place, source: Source) -> Any:
    text = node.value
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    for pattern, message in _TRAPS if plain else ():
        if re.fullmatch(pattern, text):
            source.blame(path, message.format(text, _with_point(text)))
            return None
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
    if kind != "str":
        source.blame(path, f"a YAML tag ({node.tag}); write a plain value")
    return text


def _with_point(text: str) -> str:
    mantissa, _, exponent = text.lower().partition("e")
    sign = "" if exponent[:1] in "+-" else "+"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{sign}{exponent}"


# --- --set ------------------------------------------------------------------------------------------------------------


def _override(source: Source, override: str) -> None:
    name, equals, text = override.partition("=")
    place = f"--set {override}"
    keys = name.split(".")
    if not equals or not all(keys):
        source.problems.append(Problem(place, "", "expected a.b.c=value"))
        return
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        source.problems.append(Problem(place, name, f"not a YAML value: {getattr(error, 'problem', None) or error}"))
        return
    parent, path = source.values, Place()
    for key in keys[:-1]:
        parent, path = _descend(parent, path, key)
    parent, path = _entry(parent, path, keys[-1])
    if not isinstance(parent, dict):
        source.problems.append(Problem(place, name, f"{dotted(path)} is not a section, so it has no {keys[-1]!r}"))
        return
    here = (*path, keys[-1])
    for mark in [mark for mark in source.marks if mark[: len(here)] == here]:
        del source.marks[mark]
    # The recipe's own problems with what is replaced are settled by replacing it.
    source.problems = [problem for problem in source.problems if problem.path != dotted(here)]
    inner = Source(place, None, {}, source.problems)
    parent[keys[-1]] = None if node is None else _value(node, here, inner, set())
    source.marks |= dict.fromkeys([*inner.marks, here], place)


def _entry(parent: Any, path: Place, key: str) -> tuple[Any, Place]:
    """Within a list of `name: {…}` entries, a name stands for the entry that has it."""
    if isinstance(parent, list):
        for position, item in enumerate(parent):
            if item == key:
                parent[position] = item = {key: {}}
            if isinstance(item, dict) and key in item:
                return item, (*path, position)
    return parent, path


def _descend(parent: Any, path: Place, key: str) -> tuple[Any, Place]:
    parent, path = _entry(parent, path, key)
    if isinstance(parent, list) and key.isdigit() and int(key) < len(parent):
        return parent[int(key)], (*path, int(key))
    if not isinstance(parent, dict):
        return None, path
    if parent.get(key) is None:
        parent[key] = {}
    return parent[key], (*path, key)


# --- models -----------------------------------------------------------------------------------------------------------


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


# --- files the recipe names -------------------------------------------------------------------------------------------


def _check_files(source: Source, recipe: Recipe, taught: tuple[Path, ...]) -> None:
    """Blame files that are missing or empty, and recipes of teachers that are themselves wrong."""
    tables: list[tuple[Place, Table | None]] = [
        (("problems",), recipe.problems),
        (("trajectories", "import"), recipe.trajectories.import_),
    ]
    for path, table in tables:
        if table and table.path is not None:
            _check_table_file(source, (*path, "path"), Path(table.path))
    _check_teacher(source, recipe.trajectories, taught)


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


def _check_teacher(source: Source, trajectories: Trajectories, taught: tuple[Path, ...]) -> None:
    teacher = trajectories.teacher
    if isinstance(teacher, str) and teacher.startswith((".", "/", "~")) and not Path(teacher).is_dir():
        source.blame(("trajectories", "teacher"), f"no such model folder: {teacher!r}")
    name = getattr(teacher, "recipe", None)
    if not isinstance(name, str):
        return
    path = ("trajectories", "teacher", "recipe")
    if not Path(name).is_file():
        source.blame(path, f"no such recipe: {name!r} (relative to the folder of the command)")
        return
    if Path(name).resolve() in taught:
        source.blame(path, "a recipe cannot be its own teacher")
        return
    try:
        arms = list(((student := load_recipe(name, taught=taught).student) and student.arms) or ())
    except RecipeError as error:
        source.problems.append(Problem(source.where(path), dotted(path), f"that recipe is wrong:\n{error}"))
        return
    arm = getattr(teacher, "arm", None)
    if (arm or None) not in (arms if arm or len(arms) != 1 else [None]):
        source.blame(path, f"{name} has the students {', '.join(arms) or 'none'}; name one of them as `arm`")
