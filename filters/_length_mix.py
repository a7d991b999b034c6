"""Choosing samples so that the lengths kept of all problems come in stated proportions."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import polars as pl

from filters._draw import draws

GOLDEN = 0.6180339887498949
"""Steps of the golden ratio spread any number of places evenly over a circle."""


def length_mix_first(
    sketches: pl.DataFrame, keep: int, shares: Mapping[int, float], seed: int
) -> tuple[pl.Series, pl.Series]:
    """Rank of each row within its problem, and the class of lengths (its largest, in tokens) that it was chosen for.

    ``shares`` gives each class, by its largest length, its share of a whole. A problem draws a place in the whole from
    its name, and the classes of its first, second, … choice are those of places a golden ratio apart: over many
    problems as over many choices of one, the classes come in their shares. Each choice is the shortest sample in that
    class, or the one nearest to it; the class is null behind the first ``keep``. An unknown length is a quarter of the
    characters.
    """
    import numpy as np

    problems = sketches.select(pl.col("problem_id").unique())
    starts = problems.with_columns(start=draws(seed, problems) / 2**64)
    rows = sketches.select(
        "problem_id", "sample", place=pl.int_range(pl.len()), length=pl.coalesce("tokens", pl.col("characters") // 4)
    ).join(starts, on="problem_id", maintain_order="left")
    limits = np.array(sorted(shares))
    floors = np.array([0, *limits[:-1] + 1])
    ends = np.array([*accumulate(shares[limit] for limit in limits.tolist())][:-1])
    ranks = np.zeros(len(rows), dtype=np.int64)
    wanted: list[Any] = [None] * len(rows)
    for choice in range(keep):
        if rows.is_empty():
            break
        part = np.searchsorted(ends, (rows["start"].to_numpy() + choice * GOLDEN) % 1, side="right")
        classes = rows.with_columns(least=pl.Series(floors[part]), most=pl.Series(limits[part]))
        away = pl.max_horizontal(pl.lit(0), pl.col("least") - pl.col("length"), pl.col("length") - pl.col("most"))
        nearest = pl.struct(away.alias("away"), "length", "sample").rank("ordinal").over("problem_id") == 1
        is_chosen = classes.select(nearest).to_series()
        places = rows["place"].filter(is_chosen).to_list()
        ranks[places] = choice
        for place, limit in zip(places, limits[part][is_chosen.to_numpy()].tolist(), strict=True):
            wanted[place] = limit
        rows = rows.filter(~is_chosen)
    behind = pl.struct("length", "sample").rank("ordinal").over("problem_id").cast(pl.Int64) - 1
    ranks[rows["place"].to_list()] = rows.select(behind + keep).to_series().to_numpy()
    return pl.Series("rank", ranks), pl.Series("wanted", wanted, dtype=pl.Int64)
