"""A table as Parquet shards that the Hub viewer, `datasets` and every trainer read.

Polars' own writer uses Arrow's large types and row groups by row count, which at 20 to 50 KB a row are gigabytes.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

GROUP_BYTES = 100_000_000
"""Size of a row group before compression; the Hub viewer reads at most about 286 MiB at once."""

SHARD_BYTES = 500_000_000
"""Size of a file before compression."""


def write(table: pl.DataFrame, folder: Path, *, shard_bytes: int = SHARD_BYTES, group_bytes: int = GROUP_BYTES) -> None:
    """Write `train-00000-of-0000n.parquet` files of about equal row counts into a new folder.

    Sizes are estimated from the mean row, before compression.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    row_bytes = max(1.0, table.estimated_size() / max(1, table.height))
    shards = max(1, math.ceil(table.height * row_bytes / shard_bytes))
    group_rows = max(1, int(group_bytes / row_bytes))
    layout = table.head(0).to_arrow().schema
    layout = pa.schema([pa.field(field.name, _portable(field.type)) for field in layout])
    for shard in range(shards):
        start, stop = (table.height * edge // shards for edge in (shard, shard + 1))
        path = folder / f"train-{shard:05d}-of-{shards:05d}.parquet"
        # The page index and content-defined chunks let the Hub seek in a file, and re-upload only what changed.
        with pq.ParquetWriter(path, layout, write_page_index=True, use_content_defined_chunking=True) as writer:
            for first in range(start, stop, group_rows):
                group = table.slice(first, min(group_rows, stop - first)).to_arrow().cast(layout)
                writer.write_table(group, row_group_size=group_rows)


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
