"""Which rows are trained on together, and when: the rows of each step, and those of each forward pass."""

import heapq
import itertools
import math
from collections.abc import Iterator

import numpy as np

from distill.recipe.student import Student

GROUPED_BATCHES = 50
"""Batches among which rows are exchanged for others of like length."""

Pass = list[int]
"""The rows of one forward pass on one device."""


def batch_order(lengths: list[int], *, batch_rows: int, steps: int, seed: int, grouped: bool = True) -> list[int]:
    """Which row stands where in `steps` batches of `batch_rows`, in random order; like lengths together if `grouped`.

    Every row is used once before one is used again. The trainer's own grouping runs from long to short rows over and
    over, so that training ends on the shortest; on a curve that is steep at its end this cost most of what was learned.
    """
    random = np.random.default_rng(seed)
    stream = (row for _ in itertools.count() for row in random.permutation(len(lengths)).tolist())
    if not grouped:
        return list(itertools.islice(stream, steps * batch_rows))
    order: list[int] = []
    # Not over several epochs, or a batch would hold the same row several times.
    batches_together = max(1, min(GROUPED_BATCHES, len(lengths) // batch_rows))
    while len(order) < steps * batch_rows:
        group = sorted(itertools.islice(stream, batches_together * batch_rows), key=lambda row: lengths[row])
        batches = [group[start : start + batch_rows] for start in range(0, len(group), batch_rows)]
        order += [row for batch in random.permutation(len(batches)).tolist() for row in batches[batch]]
    return order[: steps * batch_rows]


def passes(lengths: list[int], settings: Student, *, steps: int, packed: bool) -> Iterator[list[Pass]]:
    """The forward passes of each step, equally many in every step, and a multiple of those that run at the same time.

    None has more than `tokens_at_once`, counting what pads its rows where they are not packed. A step's rows are the
    same however many passes they take.
    """
    rows, at_once = settings.batch_rows, settings.batches_at_once
    order = batch_order(lengths, batch_rows=rows, steps=steps, seed=settings.seed, grouped=not packed)
    batches = [
        sorted(order[start : start + rows], key=lambda row: -lengths[row]) for start in range(0, len(order), rows)
    ]
    most = settings.device_batch_rows or rows
    fill = _pack if packed else _pad
    filled = [list(fill(batch, lengths, settings.tokens_at_once, most)) for batch in batches]
    count = math.ceil(max(len(groups) for groups in filled) / at_once) * at_once
    for batch, groups in zip(batches, filled, strict=True):
        even = _even(batch, lengths, count) if packed else []
        fits = even and all(sum(lengths[row] for row in one) <= settings.tokens_at_once for one in even)
        yield even if fits and max(map(len, even)) <= most else _split(groups, count)


def _pad(rows: list[int], lengths: list[int], tokens: int, most: int) -> Iterator[Pass]:
    """Rows, the longest first, in groups that hold `tokens` once padded to their longest."""
    start = 0
    while start < len(rows):
        count = max(1, min(most, tokens // lengths[rows[start]]))
        yield rows[start : start + count]
        start += count


def _pack(rows: list[int], lengths: list[int], tokens: int, most: int) -> list[Pass]:
    """Rows, the longest first, each in the first group with room for it."""
    groups: list[Pass] = []
    room: list[int] = []
    for row in rows:
        fits = (n for n, group in enumerate(groups) if lengths[row] <= room[n] and len(group) < most)
        if (number := next(fits, None)) is None:
            groups.append([row])
            room.append(tokens - lengths[row])
        else:
            groups[number].append(row)
            room[number] -= lengths[row]
    return groups


def _even(rows: list[int], lengths: list[int], count: int) -> list[Pass]:
    """Rows, the longest first, each in the group that has the fewest tokens so far: devices then finish together."""
    groups: list[Pass] = [[] for _ in range(count)]
    heap = [(0, number) for number in range(count)]
    for row in rows:
        tokens, number = heapq.heappop(heap)
        groups[number].append(row)
        heapq.heappush(heap, (tokens + lengths[row], number))
    return groups


def _split(groups: list[Pass], count: int) -> list[Pass]:
    """The groups, the fullest of them halved until there are `count`."""
    groups = list(groups)
    while len(groups) < count:
        fullest = max(range(len(groups)), key=lambda number: len(groups[number]))
        half = len(groups[fullest]) // 2
        groups[fullest : fullest + 1] = [groups[fullest][:half], groups[fullest][half:]]
    return groups
