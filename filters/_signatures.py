"""Small MinHash signatures of a text's words: how different the samples of one problem are from each other.

Good enough to rank siblings; near duplicates are found, and proven, by `dedup_near`.
"""

from typing import Any

import polars as pl

from filters._text import whole_text, words

SIZE = 64
"""Hash functions: the estimate of a similarity has a standard error of 0.06 at most."""
WORDS_A_GRAM = 3


def signatures(texts: pl.Series) -> pl.Series:
    """The signature of each text, Array(UInt16, 64); of one with fewer than three words, that of a set of its own."""
    import numpy as np

    random = np.random.default_rng(0)
    factors = random.integers(1, 2**63, SIZE, dtype=np.uint64) | np.uint64(1)
    rows = np.zeros((len(texts), SIZE), dtype=np.uint16)
    for row, hashes in enumerate(words(texts)):
        found = hashes.to_numpy()
        grams = found[:-2] * np.uint64(3) + found[1:-1] * np.uint64(5) + found[2:] if len(found) > 2 else found
        if len(grams):
            mixed = np.unique(grams)[:, None] * factors[None, :]
            rows[row] = (mixed.min(axis=0) >> np.uint64(13)).astype(np.uint16)
    return pl.Series("signature", rows, dtype=pl.Array(pl.UInt16, SIZE))


def most_different_first(sketches: pl.DataFrame, keep: int) -> pl.Series:
    """Rank of each row within its problem: the shortest, then whichever is farthest from those before it.

    Only the first ``keep`` are chosen one by one; the others follow in the order of their samples.
    """
    import numpy as np

    ordered = sketches.with_row_index("place").sort("problem_id", "tokens", "characters", "sample")
    ranks = np.zeros(len(sketches), dtype=np.int64)
    for group in ordered.partition_by("problem_id", maintain_order=True):
        places, found = group["place"].to_numpy(), group["signature"].to_numpy()
        left = list(range(1, len(group)))
        chosen, distance = [0], _distances(found, found[0])
        while left and len(chosen) < keep:
            best = max(left, key=lambda i: (distance[i], -i))
            chosen.append(best)
            left.remove(best)
            distance = np.minimum(distance, _distances(found, found[best]))
        ranks[places[[*chosen, *left]]] = np.arange(len(group))
    return pl.Series("rank", ranks)


def mean_similarity(rows: pl.DataFrame) -> float | None:
    """Mean estimated Jaccard index of all pairs of rows of the same problem; None without a pair."""
    import numpy as np

    signed = rows.select("problem_id", signature=signatures(rows.select(whole_text()).to_series()))
    similarities: list[float] = []
    for group in signed.partition_by("problem_id"):
        found = group["signature"].to_numpy()
        for i in range(len(found) - 1):
            similarities += (1 - _distances(found[i + 1 :], found[i])).tolist()
    return float(np.mean(similarities)) if similarities else None


def _distances(found: Any, one: Any) -> Any:
    return (found != one).mean(axis=1)
