"""Benchmark items, as they stand in files. What holds one of them is found by `_contamination`."""

import hashlib
import re
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


HUB_ID = re.compile(r"([\w.-]+/[\w.-]+?)(?::([\w.-]+?))?(?::([\w.-]+?))?(?:@([\w./-]+))?", re.ASCII)
"""``owner/name``, ``owner/name:config:split@revision``."""

HubReader = Callable[[str, str | None, str, str | None], tuple[pl.DataFrame, str]]
hub: HubReader | None = None
"""Rows and commit of a Hub dataset, by id, config, split and revision. distill sets it: this package knows no Hub."""


class Item(NamedTuple):
    """One problem of a benchmark."""

    name: str
    text: str


def read_items(paths: Sequence[str], texts: Sequence[str]) -> list[Item]:
    """The items of benchmark files or Hub datasets, named ``file:row``, and those given as texts."""
    items = [Item(f"text:{number}", text) for number, text in enumerate(texts)]
    for path in paths:
        name, texts = _of_hub(path)[:2] if _is_on_hub(path) else _of_file(Path(path))
        items += [Item(f"{name}:{row}", text) for row, text in enumerate(texts) if text]
    return items


def commits(paths: Sequence[str]) -> dict[str, str]:
    """The commit that each Hub dataset was read at, by the name that it is given here."""
    return {path: _of_hub(path)[2] for path in paths if _is_on_hub(path)}


def _is_on_hub(path: str) -> bool:
    return Path(path).suffix not in READERS


def _of_file(path: Path) -> tuple[str, list[str]]:
    if not path.is_file():
        raise FilterError(f"no benchmark file {str(path)!r}: give the path of a JSONL, Parquet or CSV file.")
    return path.stem, _column(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _of_hub(dataset: str) -> tuple[str, list[str], str]:
    match = HUB_ID.fullmatch(dataset)
    if match is None:
        endings = ", ".join(READERS)
        raise FilterError(
            f"benchmark {dataset!r}: expected a file ending in {endings}, or a Hub id such as openai/gsm8k."
        )
    if hub is None:
        raise FilterError(f"benchmark {dataset!r}: Hub datasets are read by distill only; here, give a file.")
    name, config, split, revision = match.groups()
    rows, commit = hub(name, config, split or "test", revision)
    return name, _texts(rows, f"dataset {name!r}"), commit


@lru_cache(maxsize=64)
def _column(path: Path, mtime_ns: int) -> list[str]:
    """The problems in a file; read again only if it has changed."""
    return _texts(READERS[path.suffix](path), f"file {str(path)!r}")


def _texts(frame: pl.DataFrame, what: str) -> list[str]:
    for name in TEXT_COLUMNS:
        if name in frame.columns:
            return frame[name].cast(pl.String).to_list()
    raise FilterError(
        f"the benchmark {what} has none of the columns {', '.join(TEXT_COLUMNS)}; "
        f"it has {', '.join(frame.columns)}. Rename the one that holds the problems."
    )


def digest(items: Sequence[Item]) -> str:
    """Of names and texts: what is found, and what it is called, depends on both."""
    return hashlib.sha256(repr(items).encode()).hexdigest()[:16]
