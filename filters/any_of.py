"""Either: a trajectory passes if one of several filters keeps it, such as a rule, and a judge for what that rejects."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import polars as pl
from pydantic import field_validator

from filters import Chain, Filter, FilterEntry, RowsAt
from filters._combinator import Combinator, attributed, explaining
from filters._verdict import MISSING_INPUT, NOT_APPLICABLE, VERDICT, is_keep, spread


class AnyOf(Combinator):
    """Keep a trajectory that any of the filters keeps; each one sees only what those before it did not keep.

    Written as a list, ``any_of: [verify_math, judge]``, cheapest first. Where none keeps a row, one that could not
    decide speaks before one that rejected, since it might have kept the row. A filter that abstains because its input
    is missing, or because the row is not its concern, has no say.

    Score: that of the filter which decided; its name stands before its evidence.
    Rejects: for the reason of the last filter that rejected, such as wrong_answer or too_short.
    Abstains: for the reason of the first filter that could not decide, such as unparsable_gold; where none has a say,
        for that of the first, missing_input or not_applicable.
    """

    filters: tuple[FilterEntry, ...] = ()
    """The filters in order, as in ``verdicts``; at least one."""

    entry_field = "filters"
    example_parameters: ClassVar[dict[str, Any]] = {"filters": [{"length": {"min_tokens": 9}}, "verify_math"]}
    examples = (
        ({"completion_tokens": 9, "response": "A: 41", "reference_answer": "42"}, "keep"),
        ({"completion_tokens": 8, "response": "A: 42", "reference_answer": "42"}, "keep"),
        ({"completion_tokens": 8, "response": "A: 41", "reference_answer": "42"}, "wrong_answer"),
        ({"completion_tokens": 8, "response": "A: 41", "reference_answer": None}, "too_short"),
        ({"completion_tokens": 8, "response": "A: 41", "reference_answer": r"\ref{} ???"}, "unparsable_gold"),
        ({"completion_tokens": None, "response": None, "reference_answer": "42"}, "missing_input"),
    )

    @field_validator("filters", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"any_of takes a list of filters, such as [verify_math, judge]; found {value!r}")
        return value

    @field_validator("filters")
    @classmethod
    def _each_once(cls, value: tuple[Filter, ...]) -> tuple[Filter, ...]:
        Chain(value)
        return value

    @classmethod
    def parameters_schema(cls, entry: dict[str, Any]) -> dict[str, Any]:
        """A list of entries."""
        return {"type": "array", "items": entry, "minItems": 1}

    def members(self) -> Iterator[Filter]:
        """In order."""
        return iter(self.filters)

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """A problem that no member can verify: the first one's reason."""
        reasons = pl.DataFrame([m.unverifiable(problems).alias(str(i)) for i, m in enumerate(self.filters)])
        never = pl.all_horizontal(pl.all().is_not_null())
        return reasons.select(pl.when(never).then(pl.coalesce(pl.all()))).to_series()

    def verdicts(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Ask the members in turn."""
        return self._either(rows.height, lambda m, left: m.verdicts(rows.filter(left)))

    def sketches(self, rows: pl.DataFrame) -> pl.Series:
        """One field a member: the sketch of a wide one, the verdicts of the others."""
        left = pl.repeat(True, rows.height, dtype=pl.Boolean, eager=True)
        fields = []
        for member in self.filters:
            if member.wide:
                fields.append(member.sketches(rows).alias(member.name()))
                continue
            judged = member.verdicts(rows.filter(left))
            fields.append(pl.DataFrame([spread(c, left) for c in judged.get_columns()]).to_struct(member.name()))
            left &= ~spread(is_keep(judged.to_series()), left).fill_null(False)
        return pl.DataFrame(fields).to_struct("sketch")

    def verdicts_of_sketches(self, sketches: pl.Series, rows_at: RowsAt) -> pl.DataFrame:
        """Ask the members in turn, the wide ones about their sketches."""

        def judge(member: Filter, left: pl.Series) -> pl.DataFrame:
            own = sketches.struct.field(member.name()).filter(left)
            if not member.wide:
                return own.struct.unnest()
            places = left.arg_true()

            def members_rows_at(wanted: pl.Series) -> Iterator[pl.DataFrame]:
                for rows in rows_at(places.gather(wanted)):
                    yield rows.with_columns(place=places.search_sorted(rows["place"]))

            return member.verdicts_of_sketches(own, members_rows_at)

        return self._either(len(sketches), judge)

    def _either(self, height: int, judge: Callable[[Filter, pl.Series], pl.DataFrame]) -> pl.DataFrame:
        left = pl.repeat(True, height, dtype=pl.Boolean, eager=True)
        explanations: list[pl.Series] = []
        for member in self.filters:
            judged = judge(member, left)
            explanations += [spread(column, left) for column in explaining(self.column(), judged)]
            left &= ~spread(is_keep(judged.to_series()), left).fill_null(False)
        return pl.DataFrame(explanations).select(self._decision().alias(self.column()), *explanations)

    def _decision(self) -> pl.Expr:
        columns = [f"{self.column()}.{member.name()}" for member in self.filters]
        verdicts = [attributed(column) for column in columns]
        unconcerned = [pl.col(c).struct.field("reason").is_in([MISSING_INPUT, NOT_APPLICABLE]) for c in columns]

        def those(outcome: str) -> list[pl.Expr]:
            has = [pl.col(c).struct.field("outcome") == outcome for c in columns]
            return [pl.when(h).then(v) for h, v in zip(has, verdicts, strict=True)]

        undecided = [pl.when(~u).then(a) for u, a in zip(unconcerned, those("abstain"), strict=True)]
        choices = [*those("keep"), *undecided, *reversed(those("reject")), *those("abstain")]
        nothing = pl.struct(outcome=pl.lit("abstain"), reason=pl.lit(MISSING_INPUT), score=None, evidence=None)
        return pl.coalesce(*choices, nothing.cast(VERDICT))
