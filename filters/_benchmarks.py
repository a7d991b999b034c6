"""Benchmark items, as they stand in files. What holds one of them is found by `_contamination`."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from filters._verdict import FilterError

TEXT_COLUMNS = ("problem", "question", "prompt", "Question", "question_content", "text")


class Item(NamedTuple):
    """One problem of a benchmark."""

    name: str
    text: str


def read_items(paths: Sequence[str], texts: Sequence[str]) -> list[Item]:
    """The items of benchmark files (JSONL, Parquet, CSV), named ``file:row``, and those given as texts."""
    items = [Item(f"text:{number}", text) for number, text in enumerate(texts)]
    for path in map(Path, paths):
        items += [Item(f"{path.stem}:{row}", text) for row, text in enumerate(_column(path)) if text]
    return items


def _column(path: Path) -> list[str]:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".jsonl": pl.read_ndjson,
        ".ndjson": pl.read_ndjson,
        ".parquet": pl.read_parquet,
        ".csv": pl.read_csv,
    }
    if not path.is_file():
        raise FilterError(f"there is no benchmark file {str(path)!r}: give the path of a JSONL, Parquet or CSV file.")
    if path.suffix not in readers:
        raise FilterError(f"the benchmark file {str(path)!r} should end in {', '.join(readers)}.")
    frame = readers[path.suffix](path)
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
