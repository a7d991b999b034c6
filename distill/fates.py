"""What became of each trajectory: the filter that it fell to, with the outcome and the reason.

Said by its verdicts, and kept beside them: a list of a million rows needs neither their scores nor their evidence.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from distill.store import KEY, write_parquet
from filters import VERDICT, verdict_columns

OUTCOMES = ("keep", "reject", "abstain", "undecided", "none")
"""What became of a row: ``undecided`` where a filter of the chain has not judged it, ``none`` where no filter has."""
_OUTCOME = next(field.dtype for field in VERDICT.fields if field.name == "outcome")
_FILE = "fates.parquet"
_GROUP_ROWS = 1 << 18


def fell(columns: Sequence[str], *fields: str) -> dict[str, pl.Expr]:
    """Of each row the `filter` that it fell to, and these fields of what that said; null where it was kept.

    `columns` have the verdicts that decide, in chain order.
    """
    filters = [column.removeprefix("verdict_") for column in columns]
    said = [pl.col(column).struct for column in columns]
    # As numbers, of which 0 is keep: comparing text takes seconds.
    falls = [pl.when(verdict.field("outcome").cast(_OUTCOME).to_physical() > 0) for verdict in said]
    places = [fall.then(pl.lit(place, pl.UInt8)) for place, fall in enumerate(falls)]
    found = {"filter": pl.coalesce(*places, pl.lit(None, pl.UInt8)).cat.to(pl.Enum(filters))}
    return found | {
        field: pl.coalesce(*(fall.then(verdict.field(field)) for fall, verdict in zip(falls, said, strict=True)), None)
        for field in fields
    }


def fates(verdicts: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
    """The key of every row, its `outcome`, and the `filter` and `reason` that it fell to, null where it was kept.

    `columns` have the verdicts that decide, in chain order. A row that no filter has judged has the outcome null.
    """
    asked = pl.sum_horizontal(pl.lit(0), *(pl.col(column).is_not_null() for column in columns))
    whole = pl.when(asked == len(columns)).then(pl.lit("keep")).otherwise(pl.lit("undecided"))
    found, outcomes = fell(columns, "outcome", "reason"), pl.Enum(OUTCOMES)
    return verdicts.select(
        *KEY,
        filter=found["filter"],
        outcome=pl.coalesce(found["outcome"].cast(outcomes), pl.when(asked > 0).then(whole.cast(outcomes))),
        reason=found["reason"].cast(pl.Categorical()),
    )


def keep_fates(verdicts: pl.DataFrame, folder: Path) -> None:
    """Write what verdicts come to into the folder that has them."""
    found = fates(verdicts.lazy(), verdict_columns(verdicts)).collect()
    write_parquet(found, folder / _FILE, group_rows=_GROUP_ROWS)


def kept_fates(folder: Path) -> pl.LazyFrame | None:
    """What was written beside the verdicts; None where an older version made these."""
    path = folder / _FILE
    return pl.scan_parquet(path, glob=False) if path.is_file() else None
