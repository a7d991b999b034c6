"""Small signatures of a text's words: how different the samples of one problem are from each other.

One permutation hashing (Li, Owen, Zhang 2012): every word 3-gram falls into one of 64 bins by its hash, and each bin
remembers its smallest. Good enough to rank siblings; near duplicates are found, and proven, by `dedup_near`.
"""

from typing import Any

import polars as pl

from filters._text import batches, whole_text, words

SIZE = 64
"""Bins: the estimate of a similarity has a standard error of 0.06 at most."""
_BIN_BITS = 6


def signatures(texts: pl.Series) -> pl.Series:
    """The signature of each text, Array(UInt16, 64); 0 is a bin into which nothing fell.

    A text of fewer than three words has its words in place of 3-grams, and an empty one has nothing.
    """
    import numpy as np

    rows = np.zeros((len(texts), SIZE), dtype=np.uint16)
    row = 0
    for batch in batches(texts):
        for hashes in words(batch):
            rows[row] = _signature(hashes.to_numpy())
            row += 1
    return pl.Series("signature", rows, dtype=pl.Array(pl.UInt16, SIZE))


def _signature(hashes: Any) -> Any:
    import numpy as np

    grams = hashes[:-2] * np.uint64(3) + hashes[1:-1] * np.uint64(5) + hashes[2:] if len(hashes) > 2 else hashes
    smallest = np.full(SIZE, 2**64 - 1, dtype=np.uint64)
    bins = (grams >> np.uint64(64 - _BIN_BITS)).astype(np.intp)
    np.minimum.at(smallest, bins, grams << np.uint64(_BIN_BITS))
    # Of the smallest hash the middle bits are kept: its high ones are zeros, the smaller the more grams there are.
    kept = (smallest >> np.uint64(16)).astype(np.uint16)
    return np.where(np.bincount(bins, minlength=SIZE) > 0, np.maximum(kept, 1), 0)


def similarities(many: Any, one: Any) -> Any:
    """Estimated Jaccard index (0..1) of the word 3-grams of one text and of each of many; of two empty ones 1."""
    import numpy as np

    seen = (many != 0) | (one != 0)
    same = ((many == one) & seen).sum(axis=1)
    filled = seen.sum(axis=1)
    return np.where(filled > 0, same / np.maximum(filled, 1), 1.0)


def most_different_first(sketches: pl.DataFrame, keep: int) -> pl.DataFrame:
    """Greedy choice in each problem: the shortest, then whichever is least similar to those before it.

    Columns rank and similarity (0..1, to the nearest of those chosen before; null for the first). Only the first
    ``keep`` are chosen one by one; the others follow from short to long.
    """
    import numpy as np

    ordered = sketches.with_row_index("place").sort("problem_id", "tokens", "characters", "sample")
    places, found = ordered["place"].to_numpy(), ordered["signature"].to_numpy()
    ranks = np.zeros(len(ordered), dtype=np.int64)
    nearest = np.full(len(ordered), np.nan)
    for start, end in _groups(ordered["problem_id"]):
        order, nearest[places[start:end]] = _greedy(found[start:end], keep)
        ranks[places[start:end][order]] = np.arange(end - start)
    return pl.DataFrame({"rank": ranks, "similarity": nearest}).with_columns(pl.col("similarity").fill_nan(None))


def _greedy(found: Any, keep: int) -> tuple[list[int], Any]:
    """Rows in the order of their choice, and how similar each is to the nearest that was chosen before it."""
    import numpy as np

    chosen, left = [0], list(range(1, len(found)))
    nearest = similarities(found, found[0])
    while left and len(chosen) < keep:
        best = min(left, key=lambda row: (nearest[row], row))
        chosen.append(best)
        left.remove(best)
        nearest[left] = np.maximum(nearest[left], similarities(found[left], found[best]))
    nearest[0] = np.nan
    return [*chosen, *left], nearest


def mean_similarity(rows: pl.DataFrame) -> float | None:
    """Mean estimated similarity of all pairs of rows of the same problem; None without a pair."""
    ordered = rows.sort("problem_id")
    found = signatures(ordered.select(whole_text()).to_series()).to_numpy()
    pairs: list[float] = []
    for start, end in _groups(ordered["problem_id"]):
        for row in range(start, end - 1):
            pairs += similarities(found[row + 1 : end], found[row]).tolist()
    return sum(pairs) / len(pairs) if pairs else None


def _groups(ordered: pl.Series) -> list[tuple[int, int]]:
    """Start and end of each run of equal values."""
    lengths = ordered.rle().struct.field("len").to_list()
    ends = pl.Series(lengths, dtype=pl.Int64).cum_sum().to_list()
    return [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
