"""Where a filter's threshold lies, read off its verdicts, and the rows on either side of it.

Found from scores, so that it works for any filter, also one whose code is not at hand. A parameter is named where one
lies between what was kept and what was rejected.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Literal

import polars as pl

from distill.look.rows import Reader, Rows
from distill.store import KEY
from filters import Filter
from filters._display import STYLE, number
from filters._evidence import visible


@dataclass(frozen=True, slots=True)
class Threshold:
    """The scores at which a filter begins to reject for one reason."""

    reason: str
    side: Literal["above", "below"]
    """Where the rejected scores lie."""
    kept: float
    """The kept score that lies furthest to that side."""
    rejected: float
    """The rejected score that lies nearest to the kept ones."""
    parameter: str | None = None
    """The filter's parameter that lies between the two."""
    value: float | None = None

    @property
    def separates(self) -> bool:
        """Whether the score alone decides: no kept row lies beyond a rejected one."""
        return self.rejected > self.kept if self.side == "above" else self.rejected < self.kept

    @property
    def line(self) -> float:
        """Where a chart draws it: the parameter, else the middle between kept and rejected."""
        return self.value if self.value is not None else (self.kept + self.rejected) / 2

    def __str__(self) -> str:
        if self.parameter and self.value is not None:
            return f"{self.reason}: {self.parameter} = {number(self.value)}"
        if self.separates:
            low, high = sorted((self.kept, self.rejected))
            return f"{self.reason}: between {number(low)} and {number(high)}"
        reach = f"kept rows reach {number(self.kept)}, rejected ones {number(self.rejected)}"
        return f"{self.reason}: not by the score alone, {reach}"


def thresholds(scores: pl.DataFrame, filter: Filter | None = None) -> list[Threshold]:
    """One for each reason to reject that has scores, the most frequent first.

    Takes the columns outcome, reason and score. Where nothing was kept, or the scores of kept and rejected rows do not
    lie apart, there is none.
    """
    scored = scores.filter(pl.col("score").is_finite())
    kept = scored.filter(pl.col("outcome") == "keep")["score"]
    rejected = scored.filter(pl.col("outcome") == "reject")
    if kept.is_empty():
        return []
    found = []
    for reason in rejected["reason"].value_counts(sort=True)["reason"]:
        fallen = rejected.filter(pl.col("reason") == reason)["score"]
        middle, other = float(fallen.median()), float(kept.median())  # type: ignore[arg-type]
        if middle > other:
            found.append(_named(Threshold(reason, "above", float(kept.max()), float(fallen.min())), filter))  # type: ignore[arg-type]
        elif middle < other:
            found.append(_named(Threshold(reason, "below", float(kept.min()), float(fallen.max())), filter))  # type: ignore[arg-type]
    return found


def _named(threshold: Threshold, filter: Filter | None) -> Threshold:
    """With the parameter that says where it is: `max_…` for scores above, `min_…` below, or `threshold`."""
    if filter is None or not threshold.separates:
        return threshold
    low, high = sorted((threshold.kept, threshold.rejected))
    prefix = "max_" if threshold.side == "above" else "min_"
    for name in type(filter).model_fields:
        value = getattr(filter, name)
        if name.startswith((prefix, "threshold")) and isinstance(value, int | float) and low <= value <= high:
            return Threshold(threshold.reason, threshold.side, threshold.kept, threshold.rejected, name, float(value))
    return threshold


@dataclass(frozen=True, repr=False)
class Borderline:
    """The rows just on either side of a filter's thresholds."""

    filter: str
    thresholds: list[Threshold]
    scores: pl.DataFrame
    """problem_id, sample, outcome, reason and score of every row that it judged."""
    rows: int
    read: Reader

    def rejected(self, reason: str) -> Rows:
        """The rejected rows nearest to the kept ones, the nearest first."""
        return self._nearest(reason, kept=False)

    def kept(self, reason: str) -> Rows:
        """The kept rows nearest to the rejected ones."""
        return self._nearest(reason, kept=True)

    def _nearest(self, reason: str, *, kept: bool) -> Rows:
        above = next(t for t in self.thresholds if t.reason == reason).side == "above"
        where = pl.col("outcome") == "keep" if kept else pl.col("reason") == reason
        keys = self.scores.filter(where & pl.col("score").is_finite())
        keys = keys.sort(["score", *KEY], descending=[above == kept, False, False]).head(self.rows)
        return Rows(f"{keys.height} rows just {'kept' if kept else 'rejected'}", keys, self.read, self.filter)

    def _parts(self) -> Iterator[tuple[str, Rows, Rows]]:
        for threshold in self.thresholds:
            yield f"{self.filter}, {threshold}", self.rejected(threshold.reason), self.kept(threshold.reason)

    def _repr_html_(self) -> str:
        parts = [
            f"<h3>{escape(visible(title))}</h3>{rejected._repr_html_()}{kept._repr_html_()}"
            for title, rejected, kept in self._parts()
        ]
        return "".join(parts) or f'{STYLE}<div class="distill"><p>{escape(self._nothing())}</p></div>'

    def __repr__(self) -> str:
        return (
            "\n\n".join(f"{visible(title)}\n\n{rejected!r}\n\n{kept!r}" for title, rejected, kept in self._parts())
            or self._nothing()
        )

    def _nothing(self) -> str:
        return f"no threshold of {self.filter} in these rows: it has both to keep and to reject some, with a score"
