"""Verdicts by which a run has sampled, so that a run that goes on does not judge its samples again.

A file beside the journal that may be lost or deleted: what it lacks is judged again. A verdict is remembered with its
complaint and its ballot, under a hash of all that it depends on: one on a sample, a problem or by a filter that has
changed is never found. One that did not decide is not remembered: it may have been the time limit's, or a server's.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from distill.opinion import Opinion
from distill.samples import COMPLETION
from distill.store import digest, write_parquet
from distill.vote import Ballot

FILE = "accepted.parquet"
SAVE_S = 30.0
"""Seconds of judging that a kill -9 makes it forget, about."""
_SAID = {"accepted": pl.Boolean, "complaint": pl.String, "answer": pl.String, "reward": pl.Float64}
_SCHEMA = pl.Schema({"content": pl.UInt64, **_SAID, "votes": pl.Boolean})
_CONTENT = pl.struct(*(name for name in COMPLETION if name != "text"), pl.col("text").hash(), "judged_by").hash()


class KnownVerdicts:
    """Of the samples in a folder. `judged_by` has for each problem_id a hash, judged_by, of what a verdict depends on
    besides the sample; without it nothing is remembered.
    """

    def __init__(self, folder: Path, judged_by: pl.DataFrame | None) -> None:
        self._path, self._judged_by = folder / FILE, judged_by
        self._parts: list[pl.DataFrame] = []
        self._saved, self._unsaved = time.monotonic(), False

    def find(self, samples: pl.LazyFrame) -> pl.DataFrame:
        """Key, row and completion_tokens of the samples on which a verdict is known, and whether it is `accepted`."""
        known = self._known().select("content", "accepted")
        columns = ("row", "problem_id", "sample", "finish_reason", "completion_tokens")
        if self._judged_by is None or known.is_empty():
            return samples.select(columns).clear().with_columns(accepted=pl.lit(None, pl.Boolean)).collect()
        named = samples.join(self._judged_by.lazy(), on="problem_id", how="left").select(*columns, content=_CONTENT)
        return named.collect(engine="streaming").join(known, on="content").drop("content").sort("row")

    def recall(self, completions: pl.DataFrame) -> list[Opinion | None]:
        """What was said of each of these samples; None where it is not known."""
        known = self._known()
        if self._judged_by is None or known.is_empty():
            return [None] * completions.height
        named = completions.join(self._judged_by, on="problem_id", how="left", maintain_order="left")
        found = named.select(_CONTENT.alias("content")).join(known, on="content", how="left", maintain_order="left")
        return [
            None if accepted is None else Opinion(accepted, complaint, ballot=Ballot(answer, reward) if votes else None)
            for accepted, complaint, answer, reward, votes in found.drop("content").iter_rows()
        ]

    def add(self, completions: pl.DataFrame, opinions: Sequence[Opinion]) -> None:
        """Remember verdicts on samples, and write them down from time to time."""
        if self._judged_by is None:
            return
        named = completions.join(self._judged_by, on="problem_id", how="left", maintain_order="left")
        ballots = [(*(each.ballot or Ballot(None)), each.ballot is not None) for each in opinions]
        said = [(each.accepted, each.complaint, *ballot) for each, ballot in zip(opinions, ballots, strict=True)]
        verdicts = pl.DataFrame(said, schema={**_SAID, "votes": pl.Boolean}, orient="row")
        decided = pl.Series([each.decided for each in opinions], dtype=pl.Boolean)
        self._parts.append(named.select(_CONTENT.alias("content")).hstack(verdicts).filter(decided))
        self._unsaved = True
        if time.monotonic() - self._saved > SAVE_S:
            self.save()

    def save(self) -> None:
        """Write them down. A disk that is full is the journal's to complain of."""
        if self._unsaved:
            with suppress(OSError, pl.exceptions.PolarsError):
                write_parquet(self._known(), self._path)
        self._unsaved = False
        self._saved = time.monotonic()

    def _known(self) -> pl.DataFrame:
        if len(self._parts) != 1:
            self._parts = [pl.concat(self._parts or [self._read()]).unique("content")]
        return self._parts[0]

    def _read(self) -> pl.DataFrame:
        try:
            return pl.read_parquet(self._path, schema=_SCHEMA, glob=False)
        except (OSError, pl.exceptions.PolarsError):
            return pl.DataFrame(schema=_SCHEMA)


def judged_by(problems: pl.DataFrame, *others: Any) -> pl.DataFrame:
    """The hash of each problem's row together with a digest of what else verdicts depend on."""
    return problems.select("problem_id", judged_by=pl.struct(pl.all(), pl.lit(digest(others)).alias("others")).hash())
