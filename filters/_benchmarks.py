"""Benchmark items, as they stand in files. What holds one of them is found by `_contamination`."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import polars as pl

from filters._verdict import FilterError

TEXT_COLUMNS = ("problem", "question", "prompt", "Question", "question_content", "text")
READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".jsonl": pl.read_ndjson,
    ".ndjson": pl.read_ndjson,
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
}


class Item(NamedTuple):
    """One problem of a benchmark."""

    name: str
    text: str


def read_items(paths: Sequence[str], texts: Sequence[str]) -> list[Item]:
    """The items of benchmark files (JSONL, Parquet, CSV), named ``file:row``, and those given as texts."""
    items = [Item(f"text:{number}", text) for number, text in enumerate(texts)]
    for path in map(Path, paths):
        if not path.is_file():
            raise FilterError(f"no benchmark file {str(path)!r}: give the path of a JSONL, Parquet or CSV file.")
        texts = _column(path, path.stat().st_mtime_ns)
        items += [Item(f"{path.stem}:{row}", text) for row, text in enumerate(texts) if text]
    return items


@lru_cache(maxsize=64)
def _column(path: Path, mtime_ns: int) -> list[str]:
    """The problems in a file; read again only if it has changed."""
    if path.suffix not in READERS:
        raise FilterError(f"the benchmark file {str(path)!r} should end in {', '.join(READERS)}.")
    frame = READERS[path.suffix](path)
    for name in TEXT_COLUMNS:
        if name in frame.columns:
            return frame[name].cast(pl.String).to_list()
    raise FilterError(
        f"the benchmark file {str(path)!r} has none of the columns {', '.join(TEXT_COLUMNS)}; "
        f"it has {', '.join(frame.columns)}. Rename the one that holds the problems."
    )


def digest(items: Sequence[Item]) -> str:
    """Of names and texts: what is found, and what it is called, depends on both."""
    return hashlib.sha256(repr(items).encode()).hexdigest()[:16]
