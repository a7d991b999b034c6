"""YAML in; plain values, the line and column of each, and what is wrong so far out. Knows nothing of sections.

Only the part of YAML that means the same to everybody is accepted: no aliases, tags, duplicate keys, or words and
numbers that YAML 1.1 reads as something else than a person does.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from distill.recipe.section import Place

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


def dotted(path: Place) -> str:
    """`('verdicts', 1, 'length')` as `verdicts[1].length`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def read_yaml(path: Path) -> Source:
    """Parse a recipe file. Raises RecipeError where it cannot be read at all; finer faults are `problems`."""
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


def override_value(source: Source, override: str) -> None:
    """Put the value of an `a.b=value` option in its place, or blame the option."""
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
