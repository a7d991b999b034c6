"""Where the rows of a run lie: in its finished tables, or, while it is sampling, in its journal.

Reads only. Texts are read for the rows that are looked at, everything else once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from distill import lineage
from distill.chat import split_completions
from distill.fates import fates, kept_fates
from distill.journal import read_rows
from distill.lookup import at
from distill.samples import FAILED, JOURNAL, JOURNALED
from distill.store import KEY, RunError

THIN = ("problem_id", "sample", "source", "completion_tokens", "method", "continued")
"""Columns that are held of every row."""
METHOD = pl.Enum(["plain", "refine", "hint"])
"""What a row answers: the plain question, a sample that is to be mended, or a question with its answer."""

Fingerprint = tuple[tuple[int, int] | None, ...]
"""When each file was last written, and its size."""


def fingerprint(folder: Path) -> Fingerprint:
    """What changes when there is something new to see."""
    manifests = [folder / "manifests" / f"{stage}.json" for stage in ("trajectories", "verdicts")]
    return tuple(_stamp(path) for path in (_journal(folder), _table(folder), _verdicts(folder), *manifests))


@dataclass(frozen=True)
class Source:
    """The trajectories and verdicts of a run's folder, as they lie there now."""

    trajectories: pl.LazyFrame
    """Rows with their texts; of a run that is sampling, every row of its journal, with a whole `text`."""
    verdicts: pl.LazyFrame | None
    journaled: pl.DataFrame | None
    """Of a run that is sampling: its samples, each with the place of its `row` in the journal. None of another run.

    The row of a sample that was cut and continued is that of its second part, which has the whole text.
    """
    questions: pl.LazyFrame | None
    """Of a run that is sampling: its problems."""
    outdated: bool
    """Whether the verdicts are of an earlier time: no manifest vouches for them."""
    kept_fates: pl.LazyFrame | None = None
    """What became of the rows as it was written with the verdicts; None where they are outdated or of an older run."""

    @classmethod
    def of(cls, folder: Path) -> "Source":
        """Raises RunError where there is no trajectory yet."""
        judged = pl.scan_parquet(_verdicts(folder), glob=False) if _verdicts(folder).is_file() else None
        outdated = judged is not None and not (folder / "manifests" / "verdicts.json").is_file()
        said = None if outdated else kept_fates(_verdicts(folder).parent)
        finished = (folder / "manifests" / "trajectories.json").is_file() or not _journal(folder).is_file()
        if finished and _table(folder).is_file():
            return cls(pl.scan_parquet(_table(folder), glob=False), judged, None, None, outdated, said)
        if not _journal(folder).is_file():
            raise RunError(f"{folder} has no trajectories yet: run `distill trajectories` with its recipe first")
        rows = read_rows(_journal(folder), JOURNALED, check=False)  # who samples checks the shards
        questions = pl.scan_parquet(folder / "problems.parquet", glob=False).drop("split")
        samples = rows.select(*KEY, "finish_reason", "completion_tokens").with_row_index("row")
        samples = _whole(samples.unique(KEY, keep="last", maintain_order=True).filter(~FAILED))
        samples = samples.join(questions.select("problem_id", "source"), on="problem_id", maintain_order="left")
        return cls(rows, judged, samples.collect(), questions, outdated, said)

    @property
    def filters(self) -> list[str]:
        """Names of the filters that judged, in chain order; members of combinators left out."""
        columns = [] if self.verdicts is None else self.verdicts.collect_schema().names()
        names = [column.removeprefix("verdict_") for column in columns if column.startswith("verdict_")]
        return [name for name in names if "." not in name]

    def thin(self) -> pl.DataFrame:
        """The columns `THIN` of every row, in the run's order."""
        rows = self.trajectories if self.journaled is None else self.journaled.lazy()
        named = rows.with_columns(
            pl.col("source").cast(pl.Categorical),
            method=lineage.method(pl.col("sample")).fill_null("plain").cast(METHOD),
            continued=pl.col("continued_at").is_not_null(),
        )
        return named.select(THIN).collect()

    def fates(self) -> pl.DataFrame:
        """What became of every row that was judged, in the order of the verdicts; of every row where none was."""
        if self.verdicts is None:
            return fates(self.thin().lazy(), ()).collect()
        columns = [f"verdict_{name}" for name in self.filters]
        kept = fates(self.verdicts, columns) if self.kept_fates is None else self.kept_fates
        return kept.collect()

    def read(self, rows: list[int], columns: Iterable[str] | None = None) -> pl.DataFrame:
        """The rows of these numbers, in their order, or some columns of them."""
        if self.journaled is None:
            return at(self.trajectories if columns is None else self.trajectories.select(columns), rows)
        assert self.questions is not None
        found = at(self.trajectories, self.journaled["row"].gather(rows).to_list())
        found = found.with_columns(self.journaled[rows].select(*KEY, "completion_tokens", "continued_at"))
        asked = self.questions.filter(pl.col("problem_id").is_in(found["problem_id"].unique().implode())).collect()
        found = found.join(asked, on="problem_id", how="left", maintain_order="left")
        number = pl.col("sample")
        found = found.with_columns(method=lineage.method(number), parent=lineage.parent(number))
        found = found.with_columns(*split_completions(found["text"])).drop("text")
        return found if columns is None else found.select(columns)

    def asking(self, words: str) -> pl.Series:
        """The ids of the problems whose text has these words, in any case."""
        asked = self.trajectories if self.questions is None else self.questions
        has = pl.col("problem").str.to_lowercase().str.contains(words.lower(), literal=True)
        return asked.filter(has).select("problem_id").unique().collect()["problem_id"]


def _whole(samples: pl.LazyFrame) -> pl.LazyFrame:
    """Samples of a journal with the tokens of their second parts, and `continued_at`, the tokens before those."""
    second = pl.col("sample") < 0
    parts = samples.filter(second).select(
        "problem_id", sample=lineage.continuation(pl.col("sample")), part="row", further="completion_tokens"
    )
    both = samples.filter(~second).join(parts, on=KEY, how="left", maintain_order="left")
    return both.select(
        *KEY,
        row=pl.coalesce("part", "row"),
        continued_at=pl.when(pl.col("part").is_not_null()).then("completion_tokens"),
        completion_tokens=pl.col("completion_tokens") + pl.col("further").fill_null(0),
    )


def _journal(folder: Path) -> Path:
    return folder / "trajectories" / JOURNAL


def _table(folder: Path) -> Path:
    return folder / "trajectories" / "trajectories.parquet"


def _verdicts(folder: Path) -> Path:
    return folder / "verdicts" / "verdicts.parquet"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size
