"""Any frame that filters have judged, for a person: what they rejected, where their thresholds lie, siblings."""

import difflib

import polars as pl

from distill.look.funnel import Funnel
from distill.look.rows import Rows, Siblings
from distill.look.threshold import Borderline, thresholds
from distill.store import KEY
from filters import Filter, FilterError


class Judged:
    """Trajectories with their verdict columns.

    >>> judged = Judged(Chain([Length(max_tokens=8192)]).judge(rows))
    >>> judged.rejected("length").sample(5)

    Of a lazy frame, texts are read only for the rows that are looked at. A frame without problem_id and sample gets
    the number of each row for them.
    """

    def __init__(self, frame: pl.DataFrame | pl.LazyFrame) -> None:
        lazy = frame.lazy()
        columns = lazy.collect_schema().names()
        if "problem_id" not in columns:
            lazy = lazy.with_row_index("problem_id").with_columns(pl.format("row {}", "problem_id").alias("problem_id"))
        if "sample" not in columns:
            lazy = lazy.with_columns(sample=pl.int_range(pl.len(), dtype=pl.Int32).over("problem_id"))
        self._frame = lazy

    @property
    def _rows(self) -> pl.LazyFrame:
        return self._frame

    @property
    def judged(self) -> pl.LazyFrame:
        """Every trajectory with one verdict column per filter."""
        return self._rows

    @property
    def filters(self) -> list[str]:
        """Names of the filters that judged, in chain order; members of combinators left out."""
        return [name for name in self._members() if "." not in name]

    @property
    def funnel(self) -> Funnel:
        """Where trajectories fell, and why."""
        tokens = [name for name in ("completion_tokens",) if name in self._rows.collect_schema().names()]
        return Funnel(self._rows.select(*tokens, "^verdict_.*$").collect())

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
        ids = self._rows.select("problem_id").unique().collect()["problem_id"].cast(pl.String)
        named = ids.filter(ids == problem)
        if named.is_empty():
            named = ids.filter(ids.str.starts_with(problem)) if problem else named
        if named.is_empty() and "problem" in self._rows.collect_schema().names():
            asked = pl.col("problem").cast(pl.String) == problem
            named = self._rows.filter(asked).select("problem_id").unique().collect()["problem_id"].cast(pl.String)
        if len(named) != 1:
            near = named.sort().head(5).to_list() or difflib.get_close_matches(problem, ids.to_list(), n=3, cutoff=0)
            found = f"{len(named)} problems" if len(named) else "no problem"
            raise FilterError(
                f"{found} of the id {problem!r} among {len(ids):,}; there are, for example, {', '.join(near)}"
            )
        rows = self._rows.filter(pl.col("problem_id").cast(pl.String) == named[0])
        return Siblings(rows.sort("sample").collect())

    def borderline(self, filter: str, rows: int = 3) -> Borderline:
        """The rows whose scores lie just above and just below what the filter rejects, reason by reason."""
        self._known(filter)
        verdict = pl.col(f"verdict_{filter}").struct
        scores = self._rows.select(*KEY, verdict.field("outcome", "reason", "score")).collect()
        return Borderline(filter, thresholds(scores, self._filter(filter)), scores, rows, self._read)

    def _filter(self, name: str) -> Filter | None:
        """The filter that gave the verdicts, where it is known: its parameters name thresholds."""
        return None

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
        keys = self._rows.filter(where).select(KEY).collect()
        return Rows(f"{keys.height:,} {words}", keys, self._read, focus)

    def _read(self, keys: pl.DataFrame) -> pl.DataFrame:
        """The whole rows of the keys, in their order."""
        few = self._rows.filter(pl.col("problem_id").is_in(keys["problem_id"].unique().implode())).collect()
        return keys.select(KEY).join(few, on=KEY, how="left", maintain_order="left")

    def _known(self, filter: str) -> None:
        names = self._members()
        if filter not in names:
            close = difflib.get_close_matches(filter, names, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise FilterError(f"no verdicts of {filter!r}.{hint} Filters that judged: {', '.join(names) or 'none'}.")

    def _members(self) -> list[str]:
        columns = self._rows.collect_schema().names()
        return [column.removeprefix("verdict_") for column in columns if column.startswith("verdict_")]


def _outcome(name: str) -> pl.Expr:
    return pl.col(f"verdict_{name}").struct.field("outcome")
