"""Says in a person's words what pydantic found wrong with a recipe: where, what was found, what was expected."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

import filters
from distill.recipe.section import MisfitError, Place


def explain(error: ValidationError, base: Place, values: Any, model: type[BaseModel]) -> Iterator[tuple[Place, str]]:
    """Place and message of everything that is wrong. `values` is what `model` was made from, found at place `base`."""
    for detail in error.errors(include_url=False):
        loc = tuple(detail["loc"])
        path = base + _without_tags(loc)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, filters.FilterError):
            yield from _filter_problems(cause, path, values, loc)
        elif isinstance(cause, MisfitError):
            yield from ((base + place, message) for place, message in cause.problems)
        else:
            yield path, _message(detail, model, loc)


def _filter_problems(cause: filters.FilterError, path: Place, values: Any, loc: Place) -> Iterator[tuple[Place, str]]:
    entry = values
    for part in _without_tags(loc):
        entry = entry[part]
    name = entry if isinstance(entry, str) else next(iter(entry))
    here = path if isinstance(entry, str) else (*path, name)
    if isinstance(cause.__cause__, ValidationError):
        cls = filters.filter_class(name)
        parameters = None if isinstance(entry, str) else entry[name]
        if cls.entry_field:
            yield from _nameless_problems(cause.__cause__, here, parameters, cls)
        else:
            yield from explain(cause.__cause__, here, parameters or {}, cls)
    else:
        yield here, str(cause)


def _nameless_problems(
    error: ValidationError, here: Place, parameters: Any, cls: type[filters.Filter]
) -> Iterator[tuple[Place, str]]:
    """Those of a filter whose parameter stands in the recipe without its name: that is no part of their places."""
    listed, alone = parameters, set()
    if isinstance(parameters, dict):  # where a list of filters may stand, one filter may stand alone
        alone = {key for key, value in parameters.items() if not isinstance(value, list)}
        listed = {key: [value] if key in alone else value for key, value in parameters.items()}
    for place, message in explain(error, (), {cls.entry_field: listed}, cls):
        inside = place[1:]
        if inside and inside[0] in alone:
            inside = (inside[0], *inside[2:])  # without its number in a list that is not there
        yield (*here, *inside), message


def _without_tags(loc: Place) -> Place:
    """Pydantic's place of an error without what is not a key of the file: union members and its own markers."""
    return tuple(part for part in loc if not (isinstance(part, str) and part[:1] in ("<", "[")))


_EXPECTED = {
    "missing": "required, but not there",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "list_type": "expected a list",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping",
    "model_type": "expected a mapping",
    "model_attributes_type": "expected a mapping",
}


def _message(detail: Mapping[str, Any], model: type[BaseModel], loc: Place) -> str:
    kind, found = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        names = _field_names(model, loc[:-1])
        close = difflib.get_close_matches(str(loc[-1]), names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(names)}"
        return f"unknown key {str(loc[-1])!r}; {hint}"
    if kind == "missing":
        return f"required, but not there: {_describe(model, loc)}"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "literal_error":
        wanted = detail["ctx"]["expected"]
        close = difflib.get_close_matches(str(found), re.findall(r"'([^']*)'", wanted), n=1)
        return f"expected {wanted}, found {show(found)}" + (f"; did you mean {close[0]!r}?" if close else "")
    message = _EXPECTED.get(kind) or detail["msg"].replace("Input should be", "expected")
    return f"{message}, found {show(found)}"


def _describe(model: type[BaseModel], loc: Place) -> str:
    parents = _models_at(model, loc[:-1])
    field = parents[0].model_fields.get(str(loc[-1])) if parents else None
    return " ".join((field.description or "").split()) if field and field.description else f"the key {loc[-1]!r}"


def _field_names(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    models = _models_at(model, loc)
    return [field.alias or name for found in models for name, field in found.model_fields.items()]


def _models_at(model: type[BaseModel], loc: Iterable[str | int]) -> list[type[BaseModel]]:
    """The section classes that stand at a place of pydantic's error, union members' names included."""
    hints: list[Any] = [model]
    for part in loc:
        inner: list[Any] = []
        for hint in hints:
            if isinstance(hint, type) and issubclass(hint, BaseModel):
                fields = {field.alias or name: field for name, field in hint.model_fields.items()}
                if part in fields:
                    inner += _members(fields[part].annotation)
            elif get_origin(hint) in (list, dict):
                inner += _members(get_args(hint)[-1])
        # Where nothing has that name, it is the name of a union's member, all of which are looked at.
        hints = inner or hints
    return [hint for hint in hints if isinstance(hint, type) and issubclass(hint, BaseModel)]


def _members(hint: Any) -> list[Any]:
    """The types a hint can stand for, `Annotated` and unions opened."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return [member for part in get_args(hint) for member in _members(part)]
    return [hint]


def show(value: Any) -> str:
    """A found value, short enough for an error message."""
    if value is None:
        return "nothing"
    if isinstance(value, BaseModel | dict):
        return "a mapping"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
