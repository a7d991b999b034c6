"""Which rows are trained on together, and when."""

import itertools

import numpy as np

GROUPED_BATCHES = 50
"""Batches among which rows are exchanged for others of like length."""


def batch_order(lengths: list[int], *, batch_rows: int, steps: int, seed: int) -> list[int]:
    """Which row stands where in `steps` batches of `batch_rows`: rows of like length together, batches in random order.

    Every row is used once before one is used again. The trainer's own grouping runs from long to short rows over and
    over, so that training ends on the shortest; on a curve that is steep at its end this cost most of what was learned.
    """
    random = np.random.default_rng(seed)
    stream = (row for _ in itertools.count() for row in random.permutation(len(lengths)).tolist())
    order: list[int] = []
    while len(order) < steps * batch_rows:
        group = sorted(itertools.islice(stream, GROUPED_BATCHES * batch_rows), key=lambda row: lengths[row])
        batches = [group[start : start + batch_rows] for start in range(0, len(group), batch_rows)]
        order += [row for batch in random.permutation(len(batches)).tolist() for row in batches[batch]]
    return order[: steps * batch_rows]
