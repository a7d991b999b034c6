"""Charts of judged rows, drawn by Altair: the extra `plots`. Its home.

A chart holds counts, never a text of a row, and is as small for a million rows as for ten.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from distill.look.rates import by_source, rates
from distill.look.threshold import Threshold, thresholds
from filters import FilterError
from filters._display import number
from filters._evidence import visible

if TYPE_CHECKING:
    import altair as alt

    from distill.look.judged import Judged

COLOURS = {"keep": "#2d7dd2", "reject": "#c8572c", "abstain": "#97822f"}
BINS = 40
STEPS = 200
"""Points of a curve."""
WIDTH = 480


class Plots:
    """The charts of a run or of any judged frame: `run.plots.scores("length")`."""

    def __init__(self, judged: "Judged") -> None:
        if importlib.util.find_spec("altair") is None:
            raise FilterError("charts need Altair: pip install 'distill[plots]'")
        self._judged = judged

    def scores(self, filter: str) -> "alt.VConcatChart":
        """How many rows have which score, those kept apart from those rejected; thresholds are lines."""
        scores = self._scores(filter)
        groups = {
            (words, outcome): scores.filter(pl.col("outcome") == outcome)["score"]
            for words, outcome in (("kept", "keep"), ("rejected", "reject"), ("abstained on", "abstain"))
        }
        return _histograms(groups, f"score of {filter}", self._thresholds(filter, scores))

    def kept_against(self, filter: str, reason: str | None = None) -> "alt.VConcatChart":
        """Rows and tokens that a filter would keep with its threshold elsewhere; the line is where it is.

        Of rows that reached the filter and that it rejected for no other reason. What later filters would make of them
        is not replayed: `distill verdicts R --what-if` does. Raises FilterError where no score decides for the reason.
        """
        scores = self._scores(filter, "completion_tokens")
        found = self._thresholds(filter, scores)
        threshold = next((t for t in found if reason in (None, t.reason)), None)
        if threshold is None:
            decided = ", ".join(t.reason for t in found) or "none"
            raise FilterError(f"no threshold of {filter} for {reason or 'any reason'}; scores decide for: {decided}")
        curve = kept_rows(scores, threshold)
        shown = [("rows", "rows kept")]
        if curve["tokens"].is_not_null().any():
            shown.append(("tokens", "tokens kept"))
        name = visible(threshold.parameter or f"threshold of {threshold.reason}")
        import altair as alt

        steps = "step-after" if threshold.side == "above" else "step-before"
        axis = f"{filter}, {name}"
        charts = [_curve(curve, column, title, axis, threshold.line, steps) for column, title in shown]
        return alt.vconcat(*charts)

    def pass_rates(self, filter: str | None = None) -> "alt.LayerChart | alt.FacetChart":
        """By source, the mean share of a problem's samples that pass a filter and those before it; every filter if none
        is named. Lines are 95 % intervals over problems.
        """
        import altair as alt

        data = [{**row, "name": visible(row["name"])} for row in by_source(rates(self._judged.solved(filter)))]
        base = alt.Chart(_values(data)).encode(y=alt.Y("name:N", sort=None, title=None))
        scale = alt.Scale(domain=[0, 1])
        lines = base.mark_rule(color=COLOURS["keep"], strokeWidth=2).encode(
            x=alt.X("low:Q", scale=scale, title="pass rate"), x2="high:Q"
        )
        points = base.mark_point(color=COLOURS["keep"], filled=True, size=70, opacity=1).encode(
            x="value:Q", tooltip=["name:N", "value:Q", "low:Q", "high:Q", "problems:Q", "samples:Q"]
        )
        return alt.layer(lines, points).properties(width=WIDTH)

    def lengths(self) -> "alt.VConcatChart":
        """Completion tokens of what was kept, and of what fell at each filter, the filters that stopped most first."""
        rows = self._judged.fates("completion_tokens").drop_nulls()
        order = rows.filter(pl.col("fate") != "kept")["fate"].value_counts(sort=True)["fate"].head(8).to_list()
        groups = {
            (fate, "keep" if fate == "kept" else "reject"): rows.filter(fate=fate)["completion_tokens"]
            for fate in ("kept", *order)
        }
        return _histograms(groups, "completion tokens", ())

    def _scores(self, filter: str, *columns: str) -> pl.DataFrame:
        scores = self._judged.scores(filter, *columns).filter(pl.col("score").is_finite())
        if scores.is_empty():
            raise FilterError(f"{filter} gave no scores in these rows")
        return scores

    def _thresholds(self, filter: str, scores: pl.DataFrame) -> list[Threshold]:
        return thresholds(scores, self._judged.filter_of(filter))


def kept_rows(scores: pl.DataFrame, threshold: Threshold) -> pl.DataFrame:
    """Columns threshold, rows and tokens: what is kept with the threshold there, at up to STEPS places.

    Takes the columns outcome, reason, score and completion_tokens of the rows that a filter judged. Rows with the score
    of the threshold are kept.
    """
    open_ = (pl.col("outcome") == "keep") | (pl.col("reason") == threshold.reason)
    tokens = pl.col("completion_tokens").cast(pl.Int64)
    by_score = (
        scores.filter(open_)
        .group_by("score")
        .agg(rows=pl.len(), tokens=pl.when(tokens.is_not_null().all()).then(tokens.sum()))
        .sort("score", descending=threshold.side == "below")
        .select(threshold="score", rows=pl.col("rows").cum_sum(), tokens=pl.col("tokens").cum_sum())
    )
    places = np.unique(np.linspace(0, by_score.height - 1, min(STEPS, by_score.height)).astype(int))
    return by_score[places].sort("threshold")


def _curve(
    curve: pl.DataFrame, column: str, title: str, axis: str, line: float, steps: Any
) -> "alt.LayerChart | alt.FacetChart":
    import altair as alt

    step = alt.Chart(_values(curve.select("threshold", column).to_dicts())).mark_line(
        interpolate=steps, color=COLOURS["keep"]
    )
    x = alt.X("threshold:Q", title=axis, scale=alt.Scale(zero=False))
    drawn = step.encode(
        x=x, y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(format="~s")), tooltip=["threshold:Q", f"{column}:Q"]
    )
    return alt.layer(drawn, *_lines([(line, "now")])).properties(width=WIDTH, height=140)


def _histograms(
    groups: Mapping[tuple[str, str], pl.Series], title: str, lines: Iterable[Threshold]
) -> "alt.VConcatChart":
    """One histogram below the other, in the same bins, each with its own height: what is rare can be seen."""
    import altair as alt

    values = {key: series.cast(pl.Float64).to_numpy() for key, series in groups.items() if len(series)}
    dividing = [t for t in lines if t.separates]
    edges = _edges(np.concatenate([*values.values(), np.array([])]))
    edges = np.union1d(edges, [(t.kept + t.rejected) / 2 for t in dividing])  # no bar is on both sides of one
    marks = [(t.line, visible(f"{t.reason}: {t.parameter or 'about'} {number(t.line)}")) for t in dividing]
    domain = [float(edges[0]), float(edges[-1])]
    charts = []
    for place, ((words, outcome), some) in enumerate(values.items()):
        counts = np.histogram(some, edges)[0]
        data = [
            {"low": float(low), "high": float(high), "rows": int(rows)}
            for low, high, rows in zip(edges, edges[1:], counts, strict=False)
        ]
        last = place == len(values) - 1
        bars = (
            alt.Chart(_values(data), title=alt.Title(f"{visible(words)}: {some.size:,}", anchor="start", fontSize=12))
            .mark_bar(color=COLOURS[outcome])
            .encode(
                x=alt.X("low:Q", title=title if last else None, scale=alt.Scale(domain=domain)),
                x2="high:Q",
                y=alt.Y("rows:Q", title="rows", axis=alt.Axis(tickCount=3, format="~s")),
                y2=alt.datum(0),
                tooltip=["low:Q", "high:Q", "rows:Q"],
            )
        )
        lines_here = _lines(marks, named=not place) if marks else []
        charts.append(alt.layer(bars, *lines_here).properties(width=WIDTH, height=80))
    return alt.vconcat(*charts)


def _edges(values: Any) -> Any:
    """Of bins for these values: whole numbers get bins of a whole width."""
    if not values.size:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if low == high:
        return np.array([low, low + 1.0])
    if np.all(values == np.round(values)):
        width = max(1, int(np.ceil((high - low + 1) / BINS)))
        return np.arange(low, high + width + 1, width, dtype=float)
    return np.linspace(low, high, BINS + 1)


def _lines(marks: Iterable[tuple[float, str]], *, named: bool = True) -> "list[alt.Chart]":
    """Vertical lines at thresholds, with their names beside them."""
    import altair as alt

    base = alt.Chart(_values([{"at": at, "name": name} for at, name in marks])).encode(x="at:Q", tooltip=["name:N"])
    rule = base.mark_rule(strokeDash=[4, 3], color="#888888")
    words = base.mark_text(align="left", dx=4, baseline="bottom", color="#888888").encode(
        y=alt.value(-2), text="name:N"
    )
    return [rule, words] if named else [rule]


def _values(rows: list[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.InlineData(values=rows)
