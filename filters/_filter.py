"""The one concept of this package: a filter, and the verdict it returns."""

import difflib
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

Outcome = Literal["keep", "reject", "abstain"]
Scope = Literal["row", "problem", "dataset"]

VERDICT = pl.Struct(
    {
        "outcome": pl.Enum(["keep", "reject", "abstain"]),
        "reason": pl.String,
        "score": pl.Float64,
        "evidence": pl.String,
    }
)
"""Type of a verdict column. A null verdict means that the row never reached the filter."""

EVIDENCE_CHARS = 300
"""Evidence is for reading: longer texts are cut here, so that verdicts stay small beside trajectories."""


class FilterError(ValueError):
    """A filter is unknown, or was given parameters or columns that it cannot use."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter says of one trajectory."""

    outcome: Outcome
    reason: str | None = None
    """Stable snake_case code, counted in the funnel. None exactly when the outcome is keep."""
    score: float | None = None
    """The number that the threshold was applied to, in the unit that the filter's docstring names."""
    evidence: str | None = None
    """What a person wants to see: the extracted answer, the repeated phrase, the foreign segment."""


KEEP = Verdict("keep")


def reject(reason: str, score: float | None = None, evidence: str | None = None) -> Verdict:
    """The trajectory is not worth learning from, because of ``reason``."""
    return Verdict("reject", reason, score, evidence)


def abstain(reason: str, score: float | None = None, evidence: str | None = None) -> Verdict:
    """The filter could not decide: the row does not pass, is never counted as wrong, and can be judged again."""
    return Verdict("abstain", reason, score, evidence)


class Filter(BaseModel):
    """Base of every filter: parameters in, verdict expression out.

    Write one of three methods: `judge` (a Polars expression, preferred), `judge_batch` (all rows at once in
    Python, for libraries that work in batches) or `judge_row` (one row at a time).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reads: ClassVar[tuple[str, ...]]
    """Columns the verdict depends on, and no others. A null in any of them is an abstention."""
    nullable: ClassVar[tuple[str, ...]] = ()
    """Columns of ``reads`` in which a null is data to be judged, such as reasoning that never closed."""
    scope: ClassVar[Scope] = "row"
    """What must be seen at once to judge: the row, all samples of its problem, or the dataset."""
    examples: ClassVar[tuple[tuple[dict[str, Any], str], ...]]
    """Rows with the expected reason ("keep" if kept), judged together. They are the tests and the docs."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Distributions whose version, or absence, can change a verdict."""

    @classmethod
    def name(cls) -> str:
        """The filter's name in recipes, which is the name of its file."""
        return cls.__module__.rpartition(".")[2]

    @classmethod
    def column(cls) -> str:
        """Name of the verdict column."""
        return f"verdict_{cls.name()}"

    def verdict(self) -> pl.Expr:
        """The verdict on every row, as a column named ``verdict_<filter>``."""
        required = [pl.col(c).is_null() for c in self.reads if c not in self.nullable]
        if not required:
            return self.judge().alias(self.column())
        unreadable = _struct(pl.lit("abstain"), pl.lit("missing_input"), pl.lit(None), pl.lit(None))
        return pl.when(pl.any_horizontal(required)).then(unreadable).otherwise(self.judge()).alias(self.column())

    def judge(self) -> pl.Expr:
        """The verdict as an expression over the columns in ``reads``, where none of the required ones is null."""
        return pl.struct(self.reads).map_batches(self._judge_readable, return_dtype=VERDICT)

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """One verdict a row, in the order of ``rows``: the columns in ``reads``, without missing inputs."""
        return (self.judge_row(**row) for row in rows.iter_rows(named=True))

    def judge_row(self, **row: Any) -> Verdict:
        """The verdict on one row, given the columns in ``reads``."""
        raise NotImplementedError(f"{type(self).__name__} must define judge, judge_batch or judge_row")

    def entry(self) -> dict[str, dict[str, Any]]:
        """The filter as a recipe writes it, ``{name: parameters}``; `load` reads it back."""
        return {self.name(): self.model_dump(mode="json")}

    def provenance(self) -> dict[str, Any]:
        """What the verdicts depend on besides the rows: parameters, source code, library versions, and their digest."""
        facts: dict[str, Any] = {
            "filter": self.name(),
            "parameters": self.model_dump(mode="json"),
            "source": _source_digest(type(self).__module__),
            "libraries": {library: _version(library) for library in self.libraries},
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return facts | {"digest": digest[:16]}

    def _judge_readable(self, column: pl.Series) -> pl.Series:
        rows = column.struct.unnest()
        required = [c for c in self.reads if c not in self.nullable]
        readable = rows.select(pl.all_horizontal(pl.col(required).is_not_null())).to_series() if required else None
        verdicts = _series(self.judge_batch(rows if readable is None else rows.filter(readable)))
        return verdicts if readable is None else spread(verdicts, readable)


def spread(values: pl.Series, where: pl.Series) -> pl.Series:
    """Put ``values`` on the rows where ``where`` is true, in order, and null on all others."""
    index = pl.select(pl.when(where).then(where.cast(pl.Int64).cum_sum() - 1)).to_series()
    return values.gather(index) if len(values) else values.extend_constant(None, len(where))


def verdict_where(*, score: pl.Expr, rejects: Mapping[str, pl.Expr], evidence: pl.Expr | None = None) -> pl.Expr:
    """Reject a row for the first reason whose condition holds, else keep it.

    Args:
        score: The number the conditions look at.
        rejects: Reason code to boolean condition, in order of precedence. A condition that is null where no
            other one holds makes the row ``undecidable``: what could not be computed is never kept.
        evidence: What a person wants to see, as a string.
    """
    reason = pl.coalesce(pl.when(condition).then(pl.lit(code)) for code, condition in rejects.items())
    unknown = reason.is_null() & pl.any_horizontal(condition.is_null() for condition in rejects.values())
    outcome = pl.when(unknown).then(pl.lit("abstain")).when(reason.is_null()).then(pl.lit("keep"))
    return _struct(
        outcome.otherwise(pl.lit("reject")),
        pl.when(unknown).then(pl.lit("undecidable")).otherwise(reason),
        score,
        pl.lit(None, pl.String) if evidence is None else evidence.str.head(EVIDENCE_CHARS),
    )


def _struct(outcome: pl.Expr, reason: pl.Expr, score: pl.Expr, evidence: pl.Expr) -> pl.Expr:
    return pl.struct(outcome=outcome, reason=reason, score=score.cast(pl.Float64), evidence=evidence).cast(VERDICT)


def _series(verdicts: Iterable[Verdict]) -> pl.Series:
    rows = [(v.outcome, v.reason, v.score, v.evidence and v.evidence[:EVIDENCE_CHARS]) for v in verdicts]
    schema = {field.name: field.dtype for field in VERDICT.fields}
    return pl.DataFrame(rows, schema=schema, orient="row").to_struct().cast(VERDICT)


def available() -> list[str]:
    """Names of all filters, which are the names of the public modules of this package."""
    import filters

    return [m.name for m in pkgutil.iter_modules(filters.__path__) if not m.name.startswith("_")]


def filter_class(name: str) -> type[Filter]:
    """The one Filter defined in ``filters/<name>.py``."""
    if name not in available():
        raise FilterError(f"unknown filter {name!r}.{_nearest(name, available(), 'Known filters')}")
    module = importlib.import_module(f"filters.{name}")
    own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    [cls] = [c for c in own if issubclass(c, Filter)]
    return cls


def load(name: str, /, **parameters: Any) -> Filter:
    """Build a filter from its recipe entry, ``name: {parameters}``."""
    cls = filter_class(name)
    try:
        return cls(**parameters)
    except ValidationError as error:
        raise FilterError(f"filter {name!r}: {_explain(cls, error)}") from error


def _explain(cls: type[Filter], error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            faults.append(f"unknown parameter {where!r}.{_nearest(where, list(cls.model_fields), 'Its parameters')}")
        else:
            faults.append(f"{where or 'parameters'}: {fault['msg']} (found {fault['input']!r})")
    return "; ".join(faults)


def _nearest(word: str, known: list[str], label: str) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else f" {label}: {', '.join(known) or 'none'}."


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _source_digest(module: str) -> str:
    """Digest of a filter's file and of the private modules of this package that its verdicts pass through."""
    sources: dict[str, str] = {}
    waiting = [module, __name__]
    while waiting:
        name = waiting.pop()
        if name not in sources:
            sources[name] = inspect.getsource(importlib.import_module(name))
            waiting += [f"filters.{private}" for private in re.findall(r"filters\.(_\w+) import", sources[name])]
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()[:16]
