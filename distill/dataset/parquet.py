"""A table as Parquet shards that the Hub viewer, `datasets` and every trainer read.

Polars' own writer uses Arrow's large types and row groups by row count, which at 20 to 50 KB a row are gigabytes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BYTES = 100_000_000
"""The most in a row group before compression; the Hub viewer reads at most about 286 MiB at once."""

SHARD_BYTES = 500_000_000
"""The most in a file before compression."""


def write(table: pl.DataFrame, folder: Path, *, shard_bytes: int = SHARD_BYTES, group_bytes: int = GROUP_BYTES) -> None:
    """Write `train-00000-of-0000n.parquet` files into a new folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    layout = table.head(0).to_arrow().schema
    layout = pa.schema([pa.field(field.name, _portable(field.type)) for field in layout])
    shards = list(_parts(table, shard_bytes))
    for number, shard in enumerate(shards):
        path = folder / f"train-{number:05d}-of-{len(shards):05d}.parquet"
        # The page index and content-defined chunks let the Hub seek in a file, and re-upload only what changed.
        with pq.ParquetWriter(path, layout, write_page_index=True, use_content_defined_chunking=True) as writer:
            for group in _parts(shard, group_bytes):
                writer.write_table(group.to_arrow().cast(layout), row_group_size=max(1, group.height))


def _parts(table: pl.DataFrame, most_bytes: int) -> Iterator[pl.DataFrame]:
    """A table halved until each part is small enough: rows of one source can be many times as long as another's."""
    if table.height < 2 or table.estimated_size() <= most_bytes:
        yield table
        return
    half = table.height // 2
    yield from _parts(table.head(half), most_bytes)
    yield from _parts(table.tail(table.height - half), most_bytes)


def _portable(dtype: "pa.DataType") -> "pa.DataType":
    """The type with Arrow's large strings and lists as ordinary ones, which old readers and viewers know."""
    import pyarrow as pa

    if pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype):
        return pa.string()
    if pa.types.is_large_list(dtype):
        return pa.list_(_portable(dtype.value_type))
    if pa.types.is_struct(dtype):
        return pa.struct([pa.field(field.name, _portable(field.type)) for field in dtype])
    return dtype
