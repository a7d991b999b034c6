"""A local JSONL or Parquet file as Polars rows.

Does not rename columns and knows no stage; `hub.read_table` is how a stage reads what a recipe names.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from distill import chat


class TableError(ValueError):
    """A table that a recipe names is missing, broken, or lacks a column."""


def read_file(path: Path, limit: int | None, where: str) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The first `limit` rows, and the file's name, SHA-256 and number of texts that had to be cleaned.

    `where` names the recipe's key in errors. Raises TableError, with the line if a line is at fault.
    """
    readers = {".jsonl": _read_jsonl, ".parquet": _read_parquet}
    if not path.is_file():
        raise TableError(f"{where}: no file at {path} (relative paths start at {Path.cwd()})")
    if path.suffix not in readers:
        raise TableError(f"{where}: expected a .jsonl or .parquet file, found {path.name}")
    rows, cleaned = readers[path.suffix](path, limit)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return rows, {"file": path.name, "sha256": sha256, "cleaned_values": cleaned}


def _read_jsonl(path: Path, limit: int | None) -> tuple[pl.DataFrame, int]:
    rows: list[dict[str, Any]] = []
    cleaned = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if limit is not None and len(rows) >= limit:
                break
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                found = f"{_excerpt(line)} ({error})"
                raise TableError(f"{path}:{number}: expected one JSON object a line, found {found}") from None
            if not isinstance(row, dict):
                raise TableError(f"{path}:{number}: expected a JSON object, found {_excerpt(line)}")
            row, replaced = _clean(row)
            cleaned += replaced
            rows.append(row)
    try:
        # strict=False: a column with both 18 and "18" in it becomes text instead of an error.
        return pl.DataFrame(rows, infer_schema_length=None, strict=False), cleaned
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{path}: expected values of one kind in each column, found several: {error}") from error


def _excerpt(line: bytes) -> str:
    text = line[:60].decode("utf-8", "replace").rstrip("\n")
    return repr(text + "…" if len(line) > 60 else text)


def _clean(value: Any) -> tuple[Any, int]:
    """The value with every text in it cleaned, and how many texts that changed."""
    if isinstance(value, str):
        text = chat.clean_text(value)
        return text, int(text != value)
    if isinstance(value, dict):
        pairs = [(_clean(key), _clean(item)) for key, item in value.items()]
        return {key[0]: item[0] for key, item in pairs}, sum(key[1] + item[1] for key, item in pairs)
    if isinstance(value, list):
        items = [_clean(item) for item in value]
        return [item for item, _ in items], sum(changed for _, changed in items)
    return value, 0


def _read_parquet(path: Path, limit: int | None) -> tuple[pl.DataFrame, int]:
    try:
        rows = pl.read_parquet(path, n_rows=limit)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(f"{path}: not a readable Parquet file: {error}") from error
    return clean_columns(rows)


def clean_columns(rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The table with texts cleaned, and how many. Only NUL can be wrong in Arrow text; nested columns stay."""
    has_nul = pl.col(pl.String).str.contains("\x00", literal=True)
    cleaned = sum(rows.select(has_nul.sum()).row(0)) if pl.String in rows.dtypes else 0
    return rows.with_columns(pl.col(pl.String).str.replace_all("\x00", "\ufffd", literal=True)), cleaned
