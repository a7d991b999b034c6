"""Every row of a run without its texts: what became of it, and which of them somebody wants to see.

A million rows take some 60 MB. The scores of a filter are read when they are first asked for.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, field_validator

from distill.fates import OUTCOMES
from distill.lookup import at
from distill.store import KEY
from distill.view.sources import METHOD, Source

METHODS = (*METHOD.categories, "continued")
MOST_SOURCES = 200


class Query(BaseModel):
    """Which rows, in which order; what is not given does not matter."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    outcome: Literal["keep", "reject", "abstain", "undecided", "none"] | None = None
    fell: str | None = None
    """The filter that the row fell to, or ``<filter>:<reason>``."""
    source: str | None = None
    method: Literal["plain", "refine", "hint", "continued"] | None = None
    """How the row came to be; ``continued`` where it was cut and went on, whatever it answers."""
    label: Literal["good", "bad", "any", "none"] | None = None
    min_tokens: int | None = None
    max_tokens: int | None = None
    score_of: str | None = None
    """The filter whose score is shown, compared and sorted by."""
    min_score: float | None = None
    max_score: float | None = None
    search: str | None = None
    """Beginning of a problem's id, or words of its text."""
    sort: Literal["order", "tokens", "-tokens", "score", "-score"] = "order"

    @field_validator("*", mode="before")
    @classmethod
    def _left_empty(cls, value: Any, info: Any) -> Any:
        """A field of a form that nobody has filled in."""
        return cls.model_fields[info.field_name].default if value == "" else value


class Table:
    """The rows of a source, numbered in the run's order."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.filters = source.filters
        rows = source.thin()
        fates = source.fates()
        self._same_order = all(rows[name].equals(fates[name]) for name in KEY)
        self.rows = rows.hstack(self._aligned(rows, fates)).with_columns(pl.col("outcome").fill_null("none"))
        self._scores: dict[str, pl.Series] = {}

    def siblings(self, problem_id: str) -> pl.DataFrame:
        """All samples of a problem with their texts and verdicts, and the number of each `row`; empty if none."""
        numbers = (self.rows["problem_id"] == problem_id).arg_true()
        rows = self.source.read(numbers.to_list()).with_columns(row=numbers)
        if self.source.verdicts is not None:
            if self._same_order:
                said = at(self.source.verdicts, numbers.to_list())
            else:
                said = self.source.verdicts.filter(pl.col("problem_id") == problem_id).collect()
            rows = rows.join(said, on=KEY, how="left", maintain_order="left")
        return rows.sort("sample")

    def score(self, filter: str) -> pl.Series:
        """A filter's score of every row, null where it has none."""
        if filter not in self._scores:
            assert self.source.verdicts is not None
            score = pl.col(f"verdict_{filter}").struct.field("score")
            read = self.source.verdicts.select(*KEY, score=score).collect()
            self._scores[filter] = self._aligned(self.rows, read)["score"]
        return self._scores[filter]

    def select(self, query: Query, labels: pl.DataFrame) -> pl.DataFrame:
        """The wanted rows in the order in which they are: their number, `row`, and `score` where one is asked for."""
        rows = self.rows.with_row_index("row")
        known = query.score_of in self.filters
        rows = rows.with_columns(score=self.score(str(query.score_of)) if known else pl.lit(None, pl.Float64))
        rows = rows.filter(self._wanted(query))
        if query.label:
            said = labels if query.label in ("any", "none") else labels.filter(pl.col("label") == query.label)
            how: Literal["anti", "semi"] = "anti" if query.label == "none" else "semi"
            rows = rows.join(said.select(KEY), on=KEY, how=how, maintain_order="left")
        if query.sort != "order":
            by = "completion_tokens" if query.sort.endswith("tokens") else "score"
            rows = rows.sort(by, descending=query.sort.startswith("-"), nulls_last=True, maintain_order=True)
        return rows.select("row", "score")

    @cached_property
    def facets(self) -> Mapping[str, Any]:
        """How many rows there are of each outcome, of each filter and reason, of each method, and of each source."""
        outcomes = dict(self.rows["outcome"].value_counts().iter_rows())
        fallen = self.rows.filter(pl.col("filter").is_not_null()).group_by("filter", "outcome", "reason").len()
        sources = self.rows.drop_nulls("source")["source"].value_counts(sort=True).head(MOST_SOURCES)
        methods = {**dict(self.rows["method"].value_counts().iter_rows()), "continued": self.rows["continued"].sum()}
        reasons = fallen.sort("filter", "len", descending=[False, True])
        return {
            "outcomes": {name: outcomes[name] for name in OUTCOMES if name in outcomes},
            "fell": {str(name[0]): group.to_dicts() for name, group in reasons.group_by("filter", maintain_order=True)},
            "methods": {name: methods[name] for name in METHODS if methods.get(name)},
            "sources": dict(sources.cast({"source": pl.String}).iter_rows()),
        }

    def _aligned(self, rows: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
        """What was read of the verdicts, on the rows: mostly they lie in the same order."""
        if not self._same_order:
            read = rows.select(KEY).join(read, on=KEY, how="left", maintain_order="left")
        return read.drop(KEY)

    def _wanted(self, query: Query) -> pl.Expr:
        wanted = [pl.lit(True)]
        filter, _, reason = (query.fell or "").partition(":")
        for name, value in (
            ("outcome", query.outcome), ("filter", filter), ("reason", reason), ("source", query.source),
        ):  # fmt: skip
            if value:
                wanted.append(pl.col(name).cast(pl.String) == value)
        for column, low, high in (
            ("completion_tokens", query.min_tokens, query.max_tokens),
            ("score", query.min_score, query.max_score),
        ):
            wanted += [pl.col(column) >= low] if low is not None else []
            wanted += [pl.col(column) <= high] if high is not None else []
        if query.method:
            wanted.append(pl.col("continued") if query.method == "continued" else pl.col("method") == query.method)
        if query.search:
            wanted.append(self._found(query.search))
        return pl.all_horizontal(wanted)

    def _found(self, search: str) -> pl.Expr:
        by_id = pl.col("problem_id").str.starts_with(search)
        if self.rows.select(by_id.any()).item():
            return by_id
        return pl.col("problem_id").is_in(self.source.asking(search).implode())
