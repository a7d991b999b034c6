"""What people have said of rows: the file that labels lie in, and which text each of them was said of."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from filters._verdict import FilterError

Word = Literal["good", "bad"]

LABEL = pl.Schema(
    [
        ("problem_id", pl.String),
        ("sample", pl.Int32),
        ("label", pl.Enum(["good", "bad"])),
        ("text_digest", pl.String),  # of the reasoning and response that the person saw
        ("labelled", pl.Datetime("us", "UTC")),
    ]
)

Key = tuple[str, int]


class Label(NamedTuple):
    """What a person said of one row."""

    label: Word
    text_digest: str | None
    """None: said of the row whatever its text."""


def text_digest(reasoning: str | None, response: str | None) -> str:
    """A name for the text of a trajectory, 16 hex digits: a label is no label of another text."""
    texts = ["-" if text is None else f"{len(text)} {text}" for text in (reasoning, response)]
    return hashlib.blake2b("".join(texts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def read_labels(path: Path) -> Mapping[Key, Label]:
    """The labels of a file by problem_id and sample; read again only if it has changed. Raises FilterError."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise FilterError(
            f"no file of labels {str(path)!r}: label rows in `distill view` first, or take the filter out of the chain."
        ) from None


@lru_cache(maxsize=8)
def _read(path: Path, mtime_ns: int) -> Mapping[Key, Label]:
    try:
        rows = pl.read_parquet(path, columns=list(LABEL)).cast(LABEL)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise FilterError(
            f"{str(path)!r} is no file of labels: expected Parquet with the columns {', '.join(LABEL)}; {error}"
        ) from None
    return {(row[0], row[1]): Label(row[2], row[3]) for row in rows.iter_rows()}
