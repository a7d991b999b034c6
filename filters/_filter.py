"""The one concept of this package: a filter, named and parameterised, whose value is a verdict on every row."""

import hashlib
import importlib.metadata
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict

from filters._features import feature
from filters._text import batches_of_rows
from filters._verdict import MISSING_INPUT, VERDICT, FilterError, Verdict, abstain, merge, same_verdict, verdict_series

Scope = Literal["row", "problem", "dataset"]

RowsAt = Callable[[pl.Series], Iterator[pl.DataFrame]]
"""Reads rows again: given places among the sketches, yields their columns and ``place``, ascending, in batches."""


class Filter(BaseModel):
    """Base of every filter: parameters in, verdicts out.

    Write one of three methods: `judge` (a Polars expression, preferred), `judge_batch` (all rows at once in
    Python, for libraries that work in batches) or `judge_row` (one row at a time).

    A filter whose scope is wider than the row judges *sketches*: what its `sketch` leaves of each row. A chain passes
    millions of rows by a batch at a time and holds nothing else of them, so a sketch should hold no text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reads: ClassVar[tuple[str, ...]] = ()
    """Columns the verdict depends on, and no others. A null in any of them is an abstention."""
    nullable: ClassVar[tuple[str, ...]] = ()
    """Columns of ``reads`` in which a null is data to be judged, such as reasoning that never closed. A frame may lack
    them: they are then null on every row."""
    features: ClassVar[tuple[str, ...]] = ()
    """Columns that are derived from others and shared by several filters, such as the hashed ``words`` of a text."""
    scope: ClassVar[Scope] = "row"
    """What must be seen at once to judge: the row, all samples of its problem, or the dataset."""
    examples: ClassVar[tuple[tuple[dict[str, Any], str], ...]] = ()
    """Rows with the expected reason ("keep" if kept), judged together. They are the tests and the docs."""
    example_parameters: ClassVar[dict[str, Any]] = {}
    """Parameters that the examples are judged with, where the defaults can judge nothing."""
    entry_field: ClassVar[str | None] = None
    """The one parameter that stands in a recipe without its name, as in ``any_of: [verify_math, judge]``."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version, or absence, can change a verdict."""

    @classmethod
    def name(cls) -> str:
        """The filter's name in recipes: its class in snake_case, which is the name of its file."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def column(cls) -> str:
        """Name of the verdict column."""
        return f"verdict_{cls.name()}"

    @classmethod
    def from_entry(cls, parameters: Any) -> Self:
        """The filter from what stands behind its name in a recipe. Raises pydantic's ValidationError."""
        if cls.entry_field:
            return cls(**{cls.entry_field: parameters})
        if not isinstance(parameters, dict | None):
            raise FilterError(f"the parameters of a filter are a mapping, found {parameters!r}")
        return cls(**(parameters or {}))

    def entry(self) -> dict[str, Any]:
        """The filter as a recipe writes it, ``{name: parameters}``; `filters.load_entry` reads it back."""
        return {self.name(): self._parameters()}

    @classmethod
    def parameters_schema(cls, entry: dict[str, Any]) -> dict[str, Any]:
        """JSON schema of what stands behind the name in a recipe; ``entry`` is the schema of any entry."""
        return cls.model_json_schema()

    def _parameters(self) -> Any:
        parameters = self.model_dump(mode="json")
        return parameters[self.entry_field] if self.entry_field else parameters

    # --- what an author may write -------------------------------------------------------------------------------------

    def judge(self) -> pl.Expr:
        """The verdict as an expression over the columns in ``reads`` (of a wide filter: over its sketches)."""
        raise NotImplementedError(f"{type(self).__name__} must define judge, judge_batch or judge_row")

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """One verdict a row, in the order of ``rows``, which have no missing inputs."""
        return (self.judge_row(**row) for row in rows.iter_rows(named=True))

    def judge_row(self, **row: Any) -> Verdict:
        """The verdict on one row, given the columns in ``reads``."""
        raise NotImplementedError(f"{type(self).__name__} must define judge, judge_batch or judge_row")

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """What a wide filter must remember of each row; same height, same order. Everything it reads by default."""
        return rows

    def judge_sketches(self, sketches: pl.DataFrame, rows_at: RowsAt) -> pl.Series:
        """The verdicts of a wide filter on all rows at once; ``rows_at`` reads some of them again."""
        return self._judged(sketches)

    def check_ready(self) -> None:
        """Raise FilterError, naming the cure, if this machine cannot judge. Asked before anything is paid for."""

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """For each problem the reason why this filter can only abstain on its trajectories, or null.

        A reason is the code of the abstention, and after a colon what a person wants to know.
        """
        return pl.repeat(None, problems.height, dtype=pl.String, eager=True)

    def provenance(self) -> dict[str, Any]:
        """What the verdicts depend on besides the rows: parameters, source code, library versions, and their digest."""
        return digested(
            {
                "filter": self.name(),
                "parameters": self._parameters(),
                "source": source_digest(type(self)),
                "libraries": {library: _version(library) for library in self.libraries},
            }
        )

    # --- what a chain uses; combinators answer differently ------------------------------------------------------------

    @property
    def wide(self) -> bool:
        """Whether rows must be seen together."""
        return self.scope != "row"

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that a frame must have."""
        return tuple(c for c in self.reads if c not in self.nullable)

    @property
    def optional(self) -> tuple[str, ...]:
        """Columns that are null on every row where a frame lacks them."""
        return self.nullable

    @property
    def needed_features(self) -> tuple[str, ...]:
        """Derived columns that a chain may compute once for several filters."""
        return self.features

    @property
    def leaves(self) -> tuple["Filter", ...]:
        """The filters that this one consists of: itself, unless it combines others."""
        return (self,)

    def verdict(self) -> pl.Expr:
        """The verdict on every row, as a column named ``verdict_<filter>``."""

        def judged(column: pl.Series) -> pl.Series:
            rows = column.struct.unnest()
            if not self.wide:
                return self.verdicts(rows).to_series()
            sketches = pl.concat([self.sketches(batch) for batch in batches_of_rows(rows)])
            return self.verdicts_of_sketches(sketches, lambda places: iter([_at(rows, places)])).to_series()

        inputs = [*self.required, *(f"^{re.escape(name)}$" for name in (*self.optional, *self.needed_features))]
        return pl.struct(inputs).map_batches(judged, return_dtype=VERDICT).alias(self.column())

    def verdicts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Verdict columns of a row-scope filter: the first decides, further ones explain it."""
        rows, readable = self._readable(rows)
        return self._with_missing(self._judged(rows), readable)

    def sketches(self, rows: pl.DataFrame) -> pl.Series:
        """Sketches of a wide filter as structs, null where an input is missing."""
        rows, readable = self._readable(rows)
        sketched = self.sketch(rows).to_struct("sketch")
        return sketched if readable.all() else merge(readable, sketched, _nulls(sketched.dtype, int((~readable).sum())))

    def verdicts_of_sketches(self, sketches: pl.Series, rows_at: RowsAt) -> pl.DataFrame:
        """Verdict columns of a wide filter."""
        readable = sketches.is_not_null()
        places = readable.arg_true()

        def of_readable(wanted: pl.Series) -> Iterator[pl.DataFrame]:
            for rows in rows_at(places.gather(wanted)):
                back = places.search_sorted(rows["place"])
                yield self._readable(rows)[0].with_columns(place=back)

        # Of many chunks, an empty one among them, Polars panics where text is made within a group.
        known = sketches.filter(readable).struct.unnest().rechunk()
        return self._with_missing(self.judge_sketches(known, of_readable), readable)

    def _readable(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """The rows without a null in a required column, with all columns that the filter reads; and which they are."""
        if lacking := [c for c in self.nullable if c not in rows.columns]:
            rows = rows.with_columns(pl.lit(None).alias(c) for c in lacking)
        rows = rows.select(*self.reads, *(name for name in self.features if name in rows.columns))
        readable = pl.repeat(True, rows.height, dtype=pl.Boolean, eager=True)
        if any(rows[c].null_count() for c in self.required):
            readable = rows.select(pl.all_horizontal(pl.col(self.required).is_not_null())).to_series()
            rows = rows.filter(readable)
        derived = [feature(name, rows) for name in self.features if name not in rows.columns]
        return rows.hstack(derived), readable

    def _judged(self, rows: pl.DataFrame) -> pl.Series:
        if type(self).judge is Filter.judge:
            return verdict_series(self.judge_batch(rows))
        return rows.select(self.judge()).to_series()

    def _with_missing(self, verdicts: pl.Series, readable: pl.Series) -> pl.DataFrame:
        missing = int((~readable).sum())
        if missing:
            verdicts = merge(readable, verdicts, same_verdict(abstain(MISSING_INPUT), missing))
        return verdicts.alias(self.column()).to_frame()


def _at(rows: pl.DataFrame, places: pl.Series) -> pl.DataFrame:
    return rows[places].with_columns(place=places)


def _nulls(dtype: pl.DataType, count: int) -> pl.Series:
    return pl.Series([None], dtype=dtype).new_from_index(0, count)


def digested(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts and a digest of them: equal digests, equal verdicts on equal rows."""
    return facts | {"digest": hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]}


def source_digest(cls: type) -> str:
    """Digest of a filter's file and of the private modules of this package that its verdicts pass through.

    Where the file lies does not matter: a notebook's cell that becomes one has its digest.
    """
    sources: dict[str, str] = {}
    waiting = ["", __name__]
    while waiting:
        name = waiting.pop()
        if name not in sources:
            sources[name] = _source(name) if name else _own_source(cls)
            imports = " ".join(re.findall(r"^[ ]*(?:from|import) filters\b.*$", sources[name], re.MULTILINE))
            private = {f"filters.{module}" for module in re.findall(r"\b_\w+", imports)}
            waiting += sorted(module for module in private if importlib.util.find_spec(module))
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]


def _own_source(cls: type) -> str:
    """The text of the file that defines a class, or of the cell."""
    if cls.__module__ != "__main__":
        return _source(cls.__module__).strip()
    functions = [value for value in vars(cls).values() if inspect.isfunction(value) and value.__module__ == "__main__"]
    return "".join(dict.fromkeys("".join(inspect.findsource(function)[0]) for function in functions)).strip()


def _source(module: str) -> str:
    if module in sys.modules:
        return inspect.getsource(sys.modules[module])
    # Read, not imported: what a filter needs to judge is not loaded to say what it is.
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
