"""Any frame that filters have judged, for a person: what they rejected, where their thresholds lie, siblings."""

import difflib
from collections.abc import Iterable, Sequence

import polars as pl

from distill.fates import fell
from distill.look.funnel import Funnel
from distill.look.plots import Plots
from distill.look.rates import solved
from distill.look.rows import Rows, Siblings
from distill.look.threshold import Borderline, thresholds
from distill.lookup import beside, whole
from distill.store import KEY
from filters import Chain, Filter, FilterError


class Judged:
    """Trajectories with their verdict columns.

    >>> chain = Chain([Length(max_tokens=8192)])
    >>> judged = Judged(chain.judge(rows), chain)
    >>> judged.rejected("length").sample(5)

    Of a lazy frame, texts are read only for the rows that are looked at. A frame without problem_id and sample gets
    the number of each row for them. With the chain that judged, thresholds are named by its parameters.
    """

    def __init__(self, frame: pl.DataFrame | pl.LazyFrame, judges: Chain | None = None) -> None:
        self._chain = judges
        lazy = frame.lazy()
        columns = lazy.collect_schema().names()
        if "problem_id" not in columns:
            lazy = lazy.with_row_index("problem_id").with_columns(pl.format("row {}", "problem_id").alias("problem_id"))
        if "sample" not in columns:
            lazy = lazy.with_columns(sample=pl.int_range(pl.len(), dtype=pl.Int32).over("problem_id"))
        self._frame = lazy

    @property
    def _tables(self) -> Sequence[pl.LazyFrame]:
        """The rows; where their verdicts lie apart, these are the last."""
        return (self._frame,)

    @property
    def judged(self) -> pl.LazyFrame:
        """Every trajectory with one verdict column per filter."""
        rows, *others = self._tables
        for table in others:
            rows = rows.join(table, on=KEY, how="left", maintain_order="left")
        return rows

    @property
    def filters(self) -> list[str]:
        """Names of the filters that judged, in chain order; members of combinators left out."""
        return [name for name in self._members() if "." not in name]

    @property
    def funnel(self) -> Funnel:
        """Where trajectories fell, and why."""
        tokens = [name for name in ("completion_tokens",) if name in self._columns()]
        return Funnel(self._thin(tokens, [pl.col("^verdict_.*$")]))

    @property
    def kept(self) -> Rows:
        """What every filter kept."""
        keep = [_outcome(name).eq_missing(pl.lit("keep")) for name in self.filters]
        return self._select("rows kept", pl.all_horizontal(pl.lit(bool(keep)), *keep))

    def rejected(self, filter: str | None = None, reason: str | None = None) -> Rows:
        """What a filter rejected, or any of them; for one reason if it is given."""
        return self._fallen("reject", filter, reason)

    def abstained(self, filter: str | None = None, reason: str | None = None) -> Rows:
        """What a filter could not decide, or any of them."""
        return self._fallen("abstain", filter, reason)

    def problem(self, problem: str) -> Siblings:
        """All samples of a problem side by side, by its id, the beginning of its id, or its text."""
        ids = self._tables[0].select("problem_id").unique().collect()["problem_id"].cast(pl.String)
        named = ids.filter(ids == problem)
        if named.is_empty():
            named = ids.filter(ids.str.starts_with(problem)) if problem else named
        if named.is_empty() and "problem" in self._columns():
            asked = pl.col("problem").cast(pl.String) == problem
            found = self._tables[0].filter(asked).select("problem_id").unique().collect()
            named = found["problem_id"].cast(pl.String)
        if len(named) != 1:
            near = named.sort().head(5).to_list() or difflib.get_close_matches(problem, ids.to_list(), n=3, cutoff=0)
            many = f"{len(named)} problems" if len(named) else "no problem"
            raise FilterError(
                f"{many} of the id {problem!r} among {len(ids):,}; there are, for example, {', '.join(near)}"
            )
        keys = self._tables[0].select(KEY).filter(pl.col("problem_id").cast(pl.String) == named[0])
        return Siblings(self._read(keys.sort("sample").collect()))

    def borderline(self, filter: str, rows: int = 3) -> Borderline:
        """The rows whose scores lie just above and just below what the filter rejects, reason by reason."""
        scores = self.scores(filter)
        return Borderline(filter, thresholds(scores, self.filter_of(filter)), scores, rows, self._read)

    @property
    def plots(self) -> Plots:
        """Charts; they need the extra `plots`."""
        return Plots(self)

    def scores(self, filter: str, *columns: str) -> pl.DataFrame:
        """problem_id, sample, outcome, reason and score of every row that reached a filter; more columns if named."""
        self._known(filter)
        verdict = pl.col(f"verdict_{filter}")
        there = [pl.col(c) if c in self._columns() else pl.lit(None, pl.Int64).alias(c) for c in columns]
        said = [verdict.struct.field(name) for name in ("outcome", "reason", "score")]
        return self._thin(there, [*said, verdict.is_not_null().alias("reached")]).filter("reached").drop("reached")

    def fates(self, *columns: str) -> pl.DataFrame:
        """problem_id, sample and `fate` of every row: ``kept``, or the filter that rejected it or abstained."""
        fate = fell([f"verdict_{name}" for name in self.filters])["filter"].cast(pl.String).fill_null("kept")
        return self._thin(columns, [fate.alias("fate")])

    def solved(self, filter: str | None = None) -> pl.DataFrame:
        """problem_id, sample, source and `solved` of every row: whether it passed a filter and those before it.

        Every filter if none is named. Null where one of them abstained: then it is not known.
        """
        if filter is not None and filter not in self.filters:
            self._known(filter)
            raise FilterError(f"{filter} is a member of another filter, and decides nothing by itself")
        until = self.filters[: self.filters.index(filter) + 1 if filter else None]
        source = pl.col("source") if "source" in self._columns() else pl.lit(None, pl.String).alias("source")
        return self._thin([source], [solved([f"verdict_{name}" for name in until]).alias("solved")])

    def filter_of(self, name: str) -> Filter | None:
        """The filter that gave the verdicts, where it is known: its parameters name thresholds."""
        filters = {leaf.name(): leaf for f in self._judges for leaf in (*f.leaves, f)}
        return filters.get(name.rpartition(".")[2])

    @property
    def _judges(self) -> Sequence[Filter]:
        return self._chain.filters if self._chain else ()

    def _fallen(self, outcome: str, filter: str | None, reason: str | None) -> Rows:
        if filter:
            self._known(filter)
        where = pl.lit(False)
        for name in [filter] if filter else self.filters:
            fell = _outcome(name).eq_missing(pl.lit(outcome))
            if reason is not None:
                fell &= pl.col(f"verdict_{name}").struct.field("reason").eq_missing(pl.lit(reason))
            where |= fell
        words = "rejected" if outcome == "reject" else "abstained on"
        by = f" by {filter}" if filter else ""
        rows = self._select(f"rows {words}{by}{f': {reason}' if reason else ''}", where, filter)
        if reason is not None and not len(rows):
            self._check_reason(outcome, filter, reason)
        return rows

    def _check_reason(self, outcome: str, filter: str | None, reason: str) -> None:
        tally = self.funnel.frame.filter(
            (pl.col("outcome") == outcome) & (pl.col("filter") == (filter or pl.col("filter")))
        )
        raise FilterError(
            f"no row {'rejected' if outcome == 'reject' else 'abstained on'} for the reason {reason!r}; "
            f"there are {', '.join(tally['reason'].unique().sort()) or 'none'}"
        )

    def _select(self, words: str, where: pl.Expr, focus: str | None = None) -> Rows:
        keys = self._tables[-1].filter(where).select(KEY).collect()
        return Rows(f"{keys.height:,} {words}", keys, self._read, focus)

    def _read(self, keys: pl.DataFrame) -> pl.DataFrame:
        """The whole rows of the keys, in their order."""
        return whole(keys, self._tables)

    def _thin(self, columns: Iterable[str | pl.Expr], said: Iterable[pl.Expr]) -> pl.DataFrame:
        """Of every row its key, some columns, and something of its verdicts; no texts are read for it."""
        rows, verdicts = self._tables[0], self._tables[-1]
        return beside(rows.select(*KEY, *columns).collect(), verdicts.select(*KEY, *said).collect())

    def _known(self, filter: str) -> None:
        names = self._members()
        if filter not in names:
            close = difflib.get_close_matches(filter, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise FilterError(f"no verdicts of {filter!r}.{hint} Filters that judged: {', '.join(names) or 'none'}.")

    def _members(self) -> list[str]:
        return [column.removeprefix("verdict_") for column in self._columns() if column.startswith("verdict_")]

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(name for table in self._tables for name in table.collect_schema().names()))


def _outcome(name: str) -> pl.Expr:
    return pl.col(f"verdict_{name}").struct.field("outcome")
