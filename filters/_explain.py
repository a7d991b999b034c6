"""What a chain says of a single row: the fold of `_chain` on one row, or on all and looked up."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from filters._display import Explanation, Step, explanation
from filters._verdict import FilterError

if TYPE_CHECKING:
    from filters._chain import Chain

KEY = ("problem_id", "sample")


def explained(
    chain: "Chain", row: Mapping[str, Any] | pl.DataFrame, among: pl.DataFrame | None, exhaustive: bool
) -> Explanation:
    """`Chain.explain`."""
    frame = row if isinstance(row, pl.DataFrame) else pl.DataFrame([dict(row)], infer_schema_length=None)
    frame = frame.select(pl.exclude("^verdict_.*$"))
    if frame.height != 1:
        raise FilterError(f"explain takes one row, found a frame of {frame.height}; pass frame[0], or a mapping.")
    if among is not None:
        rows = among.select(pl.exclude("^verdict_.*$"))
        place = _place(frame, rows)
        return explanation(chain.judge(rows, exhaustive=exhaustive).row(place, named=True))
    alone = type(chain)([f for f in chain.filters if not f.wide])
    said = explanation(alone.judge(frame, exhaustive=exhaustive).row(0, named=True))
    return Explanation(said.row, tuple(_with_wide(chain, said)))


def _with_wide(chain: "Chain", said: Explanation) -> list[Step]:
    steps: list[Step] = []
    for f in chain.filters:
        if f.wide:
            steps.append(Step(f.name(), None, "compares rows with each other: pass all of them as among="))
        else:
            own = (f.name(), f"{f.name()}.")
            steps += [s for s in said.steps if s.filter == own[0] or s.filter.startswith(own[1])]
    return steps


def _place(row: pl.DataFrame, rows: pl.DataFrame) -> int:
    for name in KEY:
        if name not in row.columns or name not in rows.columns:
            raise FilterError(f"to look a row up among others, both need the column {name!r}.")
    same = [pl.col(name).eq_missing(pl.lit(row[name][0])) for name in KEY]
    places = rows.select(pl.all_horizontal(same)).to_series().arg_true()
    if len(places) != 1:
        named = ", ".join(f"{name}={row[name][0]!r}" for name in KEY)
        raise FilterError(f"expected the row {named} once among the others, found it {len(places)} times.")
    return int(places[0])
