"""Some rows of a run's large tables, read without the others."""

from collections.abc import Iterable, Sequence

import polars as pl

from distill.store import BATCH_ROWS, KEY


def at(table: pl.LazyFrame, rows: Sequence[int]) -> pl.DataFrame:
    """The rows of a table that have these numbers, in the order of `rows`; those of a row group are read together."""
    groups: dict[int, list[int]] = {}
    for row in sorted(rows):
        groups.setdefault(row // BATCH_ROWS, []).append(row)
    parts = []
    for group in groups.values():
        begin, end = group[0], group[-1] + 1
        parts.append(table.slice(begin, end - begin).collect()[[row - begin for row in group]])
    places = {row: place for place, row in enumerate(row for group in groups.values() for row in group)}
    read: pl.DataFrame = pl.concat(parts or [table.clear().collect()])
    return read[[places[row] for row in rows]]


def whole(keys: pl.DataFrame, tables: Iterable[pl.LazyFrame]) -> pl.DataFrame:
    """The rows of these keys, in their order, with the columns of all the tables."""
    rows = keys.select(KEY)
    for table in tables:
        numbered = table.select(KEY).with_row_index("row")
        numbers = numbered.join(rows.lazy(), on=KEY, how="semi").select("row").collect()["row"]
        rows = rows.join(at(table, numbers.to_list()), on=KEY, how="left", maintain_order="left")
    return rows


def beside(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The rows of one table with the columns of another; mostly both lie in the same order."""
    if rows.height == others.height and all(rows[name].equals(others[name]) for name in KEY):
        return rows.hstack(others.drop(KEY))
    return rows.join(others, on=KEY, how="left", maintain_order="left")
