"""The tests of a coding problem, as the column ``tests`` holds them in JSON. They are read here and run elsewhere."""

import warnings
from functools import lru_cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filters._languages import LANGUAGES

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True)


class StdinTest(BaseModel):
    """What a program reads, and what it must print."""

    model_config = _STRICT
    input: str
    output: str


class Call(BaseModel):
    """What a function is given, and what it must return, as plain JSON."""

    model_config = _STRICT
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    output: Any


class Tests(BaseModel):
    """One of ``stdin``, ``calls`` and ``check``; the latter two name the function in ``entry_point``."""

    model_config = _STRICT
    language: str = "python"
    stdin: list[StdinTest] | None = Field(None, min_length=1)
    entry_point: str | None = Field(None, pattern=r"^\s*[^\W\d]\w*(\.[^\W\d]\w*)*\s*$")
    """A function, or a class and its method, ``Solution.solve``."""
    calls: list[Call] | None = Field(None, min_length=1)
    check: str | None = None
    """Python that asserts; a function ``check`` in it is called with the function under test, or else those named
    ``test_*`` without arguments. Names that it imports from ``solution``, or uses and nobody defined, are functions of
    the program."""
    prompt: str = ""
    """Code that the program may go on from: the head of the function, imports, helpers."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.stdin, self.calls, self.check)) != 1:
            raise ValueError("one of stdin, calls and check is needed")
        if self.language not in LANGUAGES:
            raise ValueError(f"unknown language {self.language!r}; known: {', '.join(LANGUAGES)}")
        if self.stdin is None and (self.entry_point is None or self.language != "python"):
            raise ValueError("calls and check need an entry_point, in Python")
        if self.check is not None:
            _compiles(self.check)
        return self


def _compiles(code: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<tests>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise ValueError(f"check does not compile: {error}") from error


@lru_cache(maxsize=256)
def parse_tests(text: str) -> Tests:
    """Read the column's text.

    Raises:
        ValueError: It is not what this module describes; the message says where.
    """
    try:
        return Tests.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{where + ': ' if where else ''}{fault['msg']}") from error
    except (RecursionError, UnicodeError) as error:
        raise ValueError(str(error)) from error
