"""Which filters there are: those of this package, of folders that a person names, and of installed packages.

Third-party filters are code. They come from a folder that somebody names on a command line or in Python, or from an
installed package's entry point in the group ``distill.filters``; never from a recipe or a dataset.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationError

from filters._filter import Filter
from filters._verdict import FilterError

NOT_FILTERS = ("testing",)
"""Public modules of this package that are no filters."""

_folders: dict[str, Path] = {}
"""Filter name to its file, of the folders added."""


def add_folder(folder: str | Path) -> list[str]:
    """Make every public ``*.py`` of a folder a filter under its file's name; the names are returned.

    Nothing is executed before one of them is used. Raises FilterError for a folder without filters, and for a name that
    another filter has.
    """
    files = {path.stem: path.resolve() for path in sorted(Path(folder).glob("*.py")) if not path.stem.startswith("_")}
    if not files:
        raise FilterError(f"no filters in {str(folder)!r}: expected files named <filter>.py there")
    for name, path in files.items():
        if _folders.get(name, path) != path or (name not in _folders and name in available()):
            raise FilterError(f"{path} cannot be the filter {name!r}: there is one already; rename the file")
    _folders.update(files)
    return list(files)


def folders() -> list[Path]:
    """The folders added, for another process to add."""
    return sorted({path.parent for path in _folders.values()})


def available() -> list[str]:
    """Names of all filters: files of this package, then of added folders, then entry points."""
    return list(dict.fromkeys([*_built_in(), *sorted(_folders), *sorted(_entry_points())]))


def filter_class(name: str) -> type[Filter]:
    """The one Filter defined in the file of that name."""
    if name not in available():
        raise FilterError(f"unknown filter {name!r}.{nearest(name, available(), 'Known filters')}")
    module = _module(name)
    own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    classes = [c for c in own if issubclass(c, Filter) and not c.__name__.startswith("_")]
    if [c.name() for c in classes] != [name]:
        found = ", ".join(c.__name__ for c in classes) or "none"
        raise FilterError(
            f"{module.__file__} must define one filter, a class named {name!r} in CamelCase; found {found}"
        )
    return classes[0]


def load(name: str, /, **parameters: Any) -> Filter:
    """Build a filter from its name and parameters."""
    return load_entry({name: parameters})


def load_entry(entry: Any) -> Filter:
    """Build a filter from a recipe's entry: its name, or one ``name: parameters`` pair."""
    if isinstance(entry, Filter):
        return entry
    if isinstance(entry, str):
        entry = {entry: None}
    if not (isinstance(entry, dict) and len(entry) == 1):
        raise FilterError(f"a filter is its name, or one 'name: {{parameters}}' pair, found {entry!r}")
    [(name, parameters)] = entry.items()
    cls = filter_class(str(name))
    try:
        return cls.from_entry(parameters)
    except ValidationError as error:
        raise FilterError(f"filter {name!r}: {_explain(cls, error)}") from error


FilterEntry = Annotated[
    Filter,
    BeforeValidator(load_entry),
    # pydantic dumps list[Base] by the declared type and would lose the parameters of the subclass.
    PlainSerializer(lambda filter: filter.entry()),
]
"""A filter as a field of a pydantic model: validated from a recipe's entry, and dumped as one."""


@cache
def _built_in() -> tuple[str, ...]:
    import filters

    names = [module.name for module in pkgutil.iter_modules(filters.__path__)]
    return tuple(name for name in names if not name.startswith("_") and name not in NOT_FILTERS)


@cache
def _entry_points() -> dict[str, Callable[[], ModuleType]]:
    found = importlib.metadata.entry_points(group="distill.filters")
    return {point.name: point.load for point in found}


def _module(name: str) -> ModuleType:
    if name in _built_in():
        return importlib.import_module(f"filters.{name}")
    if name not in _folders:
        return _entry_points()[name]()
    qualified = f"distill_filters_of_folders.{name}"
    if qualified not in sys.modules:
        spec = importlib.util.spec_from_file_location(qualified, _folders[name])
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[qualified] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[qualified]
            if isinstance(error, Exception):
                raise FilterError(f"{_folders[name]} cannot be imported: {type(error).__name__}: {error}") from error
            raise
    return sys.modules[qualified]


def _explain(cls: type[Filter], error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"unknown parameter {where!r}.{nearest(where, list(cls.model_fields), 'Its parameters')}")
        elif isinstance(cause := fault.get("ctx", {}).get("error"), FilterError):
            faults.append(str(cause))  # of a filter within a filter: it says where itself
        else:
            faults.append(f"{where or 'parameters'}: {fault['msg']} (found {fault['input']!r})")
    return "; ".join(faults)


def nearest(word: str, known: list[str], label: str) -> str:
    """The end of an error message: the known word that is meant, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" {label}: {', '.join(known) or 'none'}."
