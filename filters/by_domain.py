"""Filters by domain: mathematics is verified by its answer, a program by its tests."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import polars as pl
from pydantic import Field, field_validator

from filters import Chain, Filter, FilterEntry
from filters._combinator import Combinator, attributed, explaining
from filters._verdict import MISSING_INPUT, VERDICT, spread

OTHER = "other"


class ByDomain(Combinator):
    """Judge each trajectory by the filters of its domain: the first of them that does not keep it decides.

    Written as ``by_domain: {math: {any_of: [verify_math, judge]}, code: verify_code, general: []}``: a filter or a list
    of filters a domain, the empty list for rows that pass as they are, ``other`` for domains that are not named.

    Score: that of the filter which decided, or of the last one where all kept the row. Its name stands before its
        evidence.
    Rejects: for the reason of the filter that rejected, such as wrong_answer.
    Abstains: for that filter's reason; unnamed_domain where the domain has no filters; missing_input where the domain
        is null.
    """

    chains: dict[str, tuple[FilterEntry, ...]] = Field(default_factory=dict)
    """Filters in order by domain, all of row scope."""

    entry_field = "chains"
    example_parameters: ClassVar[dict[str, Any]] = {"chains": {"math": ["verify_math"], "general": []}}
    examples = (
        ({"domain": "math", "response": "A: 42", "reference_answer": "42"}, "keep"),
        ({"domain": "math", "response": "A: 41", "reference_answer": "42"}, "wrong_answer"),
        ({"domain": "math", "response": None, "reference_answer": "42"}, "missing_input"),
        ({"domain": "general", "response": None, "reference_answer": None}, "keep"),
        ({"domain": "code", "response": "A: 42", "reference_answer": "42"}, "unnamed_domain"),
        ({"domain": None, "response": "A: 42", "reference_answer": "42"}, "missing_input"),
    )

    @field_validator("chains", mode="before")
    @classmethod
    def _a_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not value:
            raise ValueError(f"by_domain takes filters by domain, such as {{math: verify_math}}; found {value!r}")
        return {domain: f if isinstance(f, list | tuple) else [f] for domain, f in value.items()}

    @field_validator("chains")
    @classmethod
    def _of_row_scope(cls, value: dict[str, tuple[Filter, ...]]) -> dict[str, tuple[Filter, ...]]:
        for domain, chain in value.items():
            Chain(chain)
            for f in chain:
                if f.wide:
                    raise ValueError(
                        f"{domain}: {f.name()!r} compares rows with each other and cannot stand in by_domain; put it "
                        "into the chain itself"
                    )
        return value

    @classmethod
    def parameters_schema(cls, entry: dict[str, Any]) -> dict[str, Any]:
        """A mapping of domains to an entry or a list of entries."""
        return {"type": "object", "additionalProperties": {"anyOf": [entry, {"type": "array", "items": entry}]}}

    def members(self) -> Iterator[Filter]:
        """Of one domain after the other."""
        return (f for chain in self.chains.values() for f in chain)

    @property
    def required(self) -> tuple[str, ...]:
        """The domain alone: a frame without programs need not have a column of their tests."""
        return ("domain",)

    @property
    def optional(self) -> tuple[str, ...]:
        """What the members read; one whose input is not there abstains on the rows of its domain."""
        return tuple(c for c in (*super().required, *super().optional) if c != "domain")

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """What the filters of the problem's own domain say; they must all keep it, so the first complaint counts."""
        reasons = [pl.lit(None, pl.String)]
        for domain, chain in self.chains.items():
            own = self._is_of(domain)
            reasons += [pl.when(own).then(pl.lit(f.unverifiable(problems))) for f in chain]
        return problems.select(pl.coalesce(reasons)).to_series()

    def verdicts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Run each domain's chain on its rows."""
        domain = pl.col("domain")
        rows = rows.with_columns(pl.lit(None).alias(c) for c in self.optional if c not in rows.columns)
        decisions, explanations = [], []
        for name, chain in self.chains.items():
            own = rows.select(self._is_of(name).fill_null(False)).to_series()
            inputs = rows.filter(own)
            judged = Chain(chain).judge_batches(lambda inputs=inputs: [inputs]) if chain else pl.DataFrame()  # type: ignore[misc]
            explanations += [spread(c, own) for c in explaining(f"{self.column()}.{name}", judged)]
            last = [attributed(f"{self.column()}.{name}.{f.name()}") for f in reversed(chain)]
            decisions.append(pl.coalesce(last) if last else pl.when(self._is_of(name)).then(_plain("keep", None)))
        decisions.append(pl.when(domain.is_null()).then(_plain("abstain", MISSING_INPUT)))
        decision = pl.coalesce(*decisions, _plain("abstain", "unnamed_domain"))
        return (
            rows.select(domain.cast(pl.String))
            .hstack(explanations)
            .select(decision.alias(self.column()), *(c.name for c in explanations))
        )

    def _is_of(self, name: str) -> pl.Expr:
        domain = pl.col("domain").cast(pl.String)
        return ~domain.is_in([d for d in self.chains if d != OTHER]) if name == OTHER else domain == name


def _plain(outcome: str, reason: str | None) -> pl.Expr:
    return pl.struct(outcome=pl.lit(outcome), reason=pl.lit(reason), score=None, evidence=None).cast(VERDICT)
