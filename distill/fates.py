"""What became of each trajectory: the filter that it fell to, with the outcome and the reason.

Said by its verdicts, and kept beside them: a list of a million rows needs neither their scores nor their evidence.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from distill.store import KEY, write_parquet
from filters import verdict_columns

OUTCOMES = ("keep", "reject", "abstain", "undecided", "none")
"""What became of a row: ``undecided`` where a filter of the chain has not judged it, ``none`` where no filter has."""
_FILE = "fates.parquet"
_GROUP_ROWS = 1 << 18


def fates(verdicts: pl.LazyFrame, filters: Sequence[str]) -> pl.LazyFrame:
    """The key of every row, its `outcome`, and the `filter` and `reason` that it fell to, null where it was kept.

    `filters` are the names of those that decide, in chain order. A row that none has judged has the outcome null.
    """
    types = {"filter": pl.Enum(filters), "outcome": pl.Enum(OUTCOMES), "reason": pl.Categorical()}
    if not filters:
        return verdicts.select(*KEY, *(pl.lit(None, dtype).alias(name) for name, dtype in types.items()))
    said = [pl.col(f"verdict_{name}").struct for name in filters]
    code = [verdict.field("outcome").to_physical() for verdict in said]  # 0 is keep; comparing text takes seconds
    fell = [pl.when(outcome > 0) for outcome in code]
    asked = pl.sum_horizontal(outcome.is_not_null() for outcome in code)
    whole = pl.when(asked == len(said)).then(OUTCOMES.index("keep")).when(asked > 0).then(OUTCOMES.index("undecided"))
    found = verdicts.select(
        *KEY,
        filter=pl.coalesce(fallen.then(pl.lit(number, pl.UInt8)) for number, fallen in enumerate(fell)),
        outcome=pl.coalesce(*(fallen.then(outcome) for fallen, outcome in zip(fell, code, strict=True)), whole),
        reason=pl.coalesce(verdict.field("reason") for verdict in said).cast(types["reason"]),
    )
    return found.with_columns(pl.col(name).cast(pl.UInt8).cat.to(types[name]) for name in ("filter", "outcome"))


def keep_fates(verdicts: pl.DataFrame, folder: Path) -> None:
    """Write what verdicts come to into the folder that has them."""
    filters = [column.removeprefix("verdict_") for column in verdict_columns(verdicts)]
    write_parquet(fates(verdicts.lazy(), filters).collect(), folder / _FILE, group_rows=_GROUP_ROWS)


def kept_fates(folder: Path) -> pl.LazyFrame | None:
    """What was written beside the verdicts; None where an older version made these."""
    path = folder / _FILE
    return pl.scan_parquet(path, glob=False) if path.is_file() else None
