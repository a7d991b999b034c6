"""Filters in order: a fold over survivors. The first filter that does not keep a row decides."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from filters._features import feature
from filters._filter import Filter, RowsAt
from filters._funnel import verdict_columns
from filters._text import batches_of_rows
from filters._verdict import FilterError, is_keep, merge, spread

if TYPE_CHECKING:
    from filters._display import Explanation

Source = Callable[[], Iterable[pl.DataFrame]]
"""Reads the same rows from the start, in the same order, each time it is called; a batch at a time."""

BATCH_BYTES = 64 << 20
"""A frame is judged in slices of about this much text: what is derived from a text takes many times its memory."""


class Chain:
    """An ordered list of filters; each one sees only the survivors of those before it.

    The order is part of the meaning: a duplicate of a rejected row is not a duplicate.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = tuple(filters)
        names = [f.name() for f in self.filters]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise FilterError(
                f"the chain holds {twice[0]!r} more than once: drop one, a filter has one verdict column."
            )

    def judge(
        self, trajectories: pl.DataFrame, *, exhaustive: bool = False, known: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Add one verdict column per filter. Rows, order and other columns are unchanged.

        A verdict is null where the row had fallen before it reached that filter. Combinators such as ``any_of`` add
        columns ``verdict_any_of.<member>`` behind their own, which explain it.

        Args:
            trajectories: Any frame that has the columns that the filters read.
            exhaustive: Judge every row by every filter, for `overlap` and what-if tables. Costs as much as each
                filter alone on all rows, and a filter that compares rows then compares rejected ones too.
            known: Verdict columns of row-scope filters on the same rows, from an earlier judgement by the same filters
                (equal `provenance` digests). Where one is not null it is taken, and the row is not judged again.
        """
        if judged := verdict_columns(trajectories):
            raise FilterError(
                f"the frame already has the verdict column {judged[0]!r}; "
                "drop the verdict columns to judge it anew, or go on with kept(frame)."
            )
        verdicts = self.judge_batches(
            lambda: batches_of_rows(trajectories, BATCH_BYTES), exhaustive=exhaustive, known=known
        )
        return trajectories.hstack(verdicts)

    def judge_batches(
        self,
        source: Source,
        *,
        exhaustive: bool = False,
        known: pl.DataFrame | None = None,
        after: pl.DataFrame | None = None,
    ) -> pl.DataFrame:
        """The verdict columns alone, of rows that need not fit into memory.

        ``source`` is read once for each run of filters that ends in wide ones (problem or dataset scope). Of the rows
        that pass by, only verdicts and sketches are held. ``after`` are verdict columns of filters before these: the
        chain goes on with their survivors, and returns their columns before its own.
        """
        fold = _Fold(self.filters, source, exhaustive, pl.DataFrame() if known is None else known)
        if after is not None and after.width:
            fold.verdicts, fold.alive = [after], _survivors(after)
        for segment in _segments(self.filters):
            fold.judge(segment)
        return pl.concat(fold.verdicts, how="horizontal") if fold.verdicts else pl.DataFrame()

    def explain(
        self, row: Mapping[str, Any] | pl.DataFrame, *, among: pl.DataFrame | None = None, exhaustive: bool = False
    ) -> "Explanation":
        """What each filter says of one row, for a person: rich in a notebook, text where it is printed.

        Args:
            row: A mapping, or a frame of one row. Verdict columns that it has are left aside.
            among: All rows, where the chain has filters that compare them: the row is then looked up by problem_id and
                sample, and all are judged. Without it such filters are passed by, and their steps say so.
            exhaustive: Ask every filter, also those that the row would not have reached.

        Raises:
            FilterError: There is not exactly one such row.
        """
        from filters._explain import explained

        return explained(self, row, among, exhaustive)


@dataclass
class _Segment:
    """Filters that one pass over the rows serves: first those of row scope, then wide ones."""

    rows: list[Filter] = field(default_factory=list)
    wide: list[Filter] = field(default_factory=list)

    def takes(self, f: Filter) -> bool:
        """Whether the filter can be judged in the same pass: not if it looks at what this pass decides at its end."""
        return not self.wide or (f.wide and not {w.column() for w in self.wide} & {*f.required, *f.optional})


def _segments(filters: Sequence[Filter]) -> list[_Segment]:
    segments = [_Segment()] if filters else []
    for f in filters:
        if not segments[-1].takes(f):
            segments.append(_Segment())
        (segments[-1].wide if f.wide else segments[-1].rows).append(f)
    return segments


@dataclass
class _Passed:
    """What is left of a batch after a pass."""

    verdicts: pl.DataFrame
    """Of the row-scope filters, on all rows of the batch."""
    alive: pl.Series
    """The rows that they kept."""
    sketches: list[pl.Series]
    """Of each wide filter, on the rows that are alive."""


@dataclass
class _Fold:
    """The verdicts so far, and who is alive."""

    filters: tuple[Filter, ...]
    source: Source
    exhaustive: bool
    known: pl.DataFrame
    verdicts: list[pl.DataFrame] = field(default_factory=list)
    alive: pl.Series | None = None
    """None before the first pass, when not even the number of rows is known."""

    def judge(self, segment: _Segment) -> None:
        """Pass the rows by the segment's filters, then let its wide filters judge what they remember."""
        passed, start = [], 0
        for batch in self.source():
            _check(batch, self.filters)
            passed.append(self._pass(segment, batch, start))
            start += batch.height
        if not passed:
            raise FilterError("there is no batch of rows to judge; pass at least one, it may be empty.")
        sketched = self.alive = pl.concat([p.alive for p in passed])
        columns = [pl.concat([p.verdicts for p in passed], rechunk=True)] if segment.rows else []
        for number, f in enumerate(segment.wide):
            sketches = pl.concat([p.sketches[number] for p in passed]).filter(self.alive.filter(sketched))
            with _blaming(f):
                judged = f.verdicts_of_sketches(sketches, self._reader(self.alive.arg_true()))
            columns.append(judged.select(spread(column, self.alive) for column in judged.get_columns()))
            if not self.exhaustive:
                self.alive = is_keep(columns[-1].to_series())
        self.verdicts.append(pl.concat(columns, how="horizontal"))

    def _pass(self, segment: _Segment, batch: pl.DataFrame, start: int) -> _Passed:
        slices = [part[start : start + batch.height] for part in self.verdicts]
        alive = pl.repeat(True, batch.height, dtype=pl.Boolean, eager=True)
        if self.alive is not None and not self.exhaustive:
            alive = self.alive[start : start + batch.height]
        rows = pl.concat([batch, *slices], how="horizontal").filter(alive)
        verdicts: list[pl.Series] = []
        for f in segment.rows:
            rows = _with_features(rows, f)
            with _blaming(f, rows):
                judged = _judge(f, rows, self._known(f, start, batch.height, alive))
            verdicts += [spread(column, alive) for column in judged.get_columns()]
            rows = rows.with_columns(judged.to_series())
            if not self.exhaustive and not (keeps := is_keep(judged.to_series())).all():
                rows, alive = rows.filter(keeps), spread(keeps, alive).fill_null(False)
        sketches = []
        for f in segment.wide:
            rows = _with_features(rows, f)
            with _blaming(f, rows):
                sketches.append(f.sketches(rows))
        return _Passed(pl.DataFrame(verdicts), alive, sketches)

    def _known(self, f: Filter, start: int, height: int, alive: pl.Series) -> pl.DataFrame | None:
        """What is known of the filter's verdicts on the rows of a batch that are alive; None where nothing is."""
        if f.column() not in self.known.columns:
            return None
        columns = [c for c in self.known.columns if c == f.column() or c.startswith(f"{f.column()}.")]
        return self.known.select(columns)[start : start + height].filter(alive)

    def _reader(self, places: pl.Series) -> RowsAt:
        """Reads rows again, by their place among those that a wide filter has sketches of."""

        def rows_at(wanted: pl.Series) -> Iterator[pl.DataFrame]:
            wanted = wanted.sort()
            rows, start = places.gather(wanted), 0
            for batch in self.source():
                low, high = rows.search_sorted(start), rows.search_sorted(start + batch.height)
                if high > low:
                    inside = batch[rows[low:high] - start]
                    yield inside.with_columns(place=wanted[low:high])
                start += batch.height

        return rows_at


def _survivors(judged: pl.DataFrame) -> pl.Series:
    return judged.select(pl.all_horizontal(is_keep(judged[c]).alias(c) for c in verdict_columns(judged))).to_series()


def _judge(f: Filter, rows: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
    if known is None or known.to_series().null_count() == known.height:
        return f.verdicts(rows)
    is_known = known.to_series().is_not_null()
    judged = f.verdicts(rows.filter(~is_known))
    return judged.select(merge(is_known, known[c.name].filter(is_known), c) for c in judged.get_columns())


def _with_features(rows: pl.DataFrame, f: Filter) -> pl.DataFrame:
    return rows.hstack([feature(name, rows) for name in f.needed_features if name not in rows.columns])


@contextmanager
def _blaming(f: Filter, rows: pl.DataFrame | None = None) -> Iterator[None]:
    """Say which filter could not judge which columns, where Polars says only which expression failed."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        schema = {} if rows is None else rows.schema
        types = ", ".join(f"{name}: {schema[name]}" for name in (*f.required, *f.optional) if name in schema)
        raise FilterError(f"filter {f.name()!r} could not judge the columns ({types}): {error}") from error


def _check(rows: pl.DataFrame, filters: Sequence[Filter]) -> None:
    for f in filters:
        if missing := [c for c in f.required if c not in rows.columns]:
            raise FilterError(
                f"filter {f.name()!r} reads the column {missing[0]!r}, which the frame does not have. "
                f"Columns present: {', '.join(rows.columns) or 'none'}. "
                f"Rename or add the column, or take {f.name()!r} out of the chain."
            )
