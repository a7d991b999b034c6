"""What people say of the rows of a run: read from, and written to, its ``labels.parquet`` at once.

Several viewers may write it by turns; what one has written the other sees when it writes.
"""

import datetime
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl

from distill.store import KEY, LABELS, write_parquet
from filters._labels import LABEL, read_labels


class Labels:
    """The labels of a run's folder. Raises FilterError where the file is none of labels."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LABELS
        self.frame = self._read()
        """Each labelled row once, with the columns of `filters._labels.LABEL`."""

    def say(self, problem_id: str, sample: int, label: Literal["good", "bad", "none"], text_digest: str) -> None:
        """Label a row by what was read of it, or take its label away; it is on disk when this returns."""
        now = datetime.datetime.now(datetime.UTC)
        said = [] if label == "none" else [(problem_id, sample, label, text_digest, now)]
        with self._alone():
            others = self._read().filter((pl.col("problem_id") != problem_id) | (pl.col("sample") != sample))
            self.frame = pl.concat([others, pl.DataFrame(said, schema=LABEL, orient="row")])
            write_parquet(self.frame, self.path)

    def of(self, problem_id: str) -> dict[int, tuple[str, str]]:
        """Label and digest of the text, by sample."""
        said = self.frame.filter(pl.col("problem_id") == problem_id).select("sample", "label", "text_digest")
        return {sample: (label, digest) for sample, label, digest in said.iter_rows()}

    def on(self, keys: pl.DataFrame) -> list[str | None]:
        """The label of each row."""
        joined = keys.select(KEY).join(self.frame, on=KEY, how="left", maintain_order="left")
        return joined["label"].cast(pl.String).to_list()

    def _read(self) -> pl.DataFrame:
        if not self.path.is_file():
            return pl.DataFrame(schema=LABEL)
        read_labels(self.path)  # says what is wrong with it
        return pl.read_parquet(self.path, columns=list(LABEL)).cast(LABEL)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
