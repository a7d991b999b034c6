"""Banding: which signatures are worth comparing (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).

A signature is cut into bands; rows that agree in a whole band share a *bucket*. All of this is done in whole-array
steps over all rows at once. No text is read: whether candidates are alike is decided elsewhere.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from filters._minhash import NOTHING, PERMUTATIONS, Signatures
from filters._tokens import FACTOR, Hashes, Places, found, mixed

RECALL = 0.995
"""Share of the pairs at the threshold itself that some band finds, at least; of more similar pairs it is larger."""
SLACK = 0.15
"""How far below the threshold an estimate may be of a pair that is looked at: at least 3.4 standard errors."""
PIVOTS = 32
"""Rows of a bucket that its others are compared with before the rest is taken for candidates unseen."""
AT_ONCE = 1 << 14
"""Signatures, or pairs of them, in one array step."""

Flags = NDArray[np.bool_]


class Buckets(NamedTuple):
    """The rows that share a bucket of one band with others."""

    rows: Places
    """Ascending within a bucket."""
    bucket: Places
    """Number of each row's bucket: ascending, without gaps."""

    def of(self, some: Flags) -> "Buckets":
        """Only some rows; the others are gone, and with them what has become a bucket of one."""
        rows, bucket = self.rows[some[self.rows]], self.bucket[some[self.rows]]
        shared = np.bincount(bucket, minlength=1)[bucket] > 1
        return Buckets(rows[shared], np.unique(bucket[shared], return_inverse=True)[1])


class Candidates(NamedTuple):
    """Rows that may be alike."""

    rows: Places
    """Those with a signature close enough to that of another one, ascending."""
    buckets: NDArray[np.int64]
    """For each of these rows its bucket in each band, or -1. Rows without a common bucket are not compared."""
    last: Places
    """For each of these rows the last row that shares a bucket with it."""


def candidates(signatures: Signatures, groups: Hashes, threshold: float) -> Candidates:
    """Rows of the same group that may have a Jaccard index of ``threshold`` or more."""
    bands = [_shared(keys) for keys in _keys(signatures, groups, band_length(threshold))]
    close = np.zeros(len(signatures), np.bool_)
    for band in bands:
        _mark_close(close, signatures, band, threshold)
    rows = np.flatnonzero(close)
    buckets = np.full((len(rows), len(bands)), -1)
    last = rows.copy()
    count = 0
    for number, band in enumerate(bands):
        members, bucket = band.of(close)
        places = np.searchsorted(rows, members)
        buckets[places, number] = count + bucket
        ends = np.flatnonzero(np.diff(bucket, append=-1))
        last[places] = np.maximum(last[places], members[ends][bucket])
        count += len(ends)
    return Candidates(rows, buckets, last)


def band_length(threshold: float) -> int:
    """The longest bands that find `RECALL` of the pairs at the threshold."""

    def recall(length: int) -> float:
        return 1 - float(1 - threshold**length) ** (PERMUTATIONS // length)

    return max(length for length in range(1, PERMUTATIONS + 1) if length == 1 or recall(length) >= RECALL)


def estimates(signatures: Signatures, rows: Places, others: Places) -> NDArray[np.float64]:
    """Estimated Jaccard index of each pair."""
    agree = [
        np.count_nonzero(signatures[rows[at : at + AT_ONCE]] == signatures[others[at : at + AT_ONCE]], axis=1)
        for at in range(0, len(rows), AT_ONCE)
    ]
    share: NDArray[np.float64] = np.concatenate([np.zeros(0, np.int64), *agree]) / PERMUTATIONS
    return share


def _keys(signatures: Signatures, groups: Hashes, length: int) -> Iterator[Hashes]:
    """For each band the hash of each row's part of it; of a row without elements, one that no other row has."""
    bands = PERMUTATIONS // length
    keys = np.empty((bands, len(signatures)), np.uint64)
    for at in range(0, len(signatures), AT_ONCE):
        part = np.ascontiguousarray(signatures[at : at + AT_ONCE, : bands * length].T).reshape(bands, length, -1)
        hashes = np.broadcast_to(groups[at : at + AT_ONCE], (bands, part.shape[2]))
        for column in range(length):
            hashes = hashes * FACTOR + part[:, column]
        keys[:, at : at + AT_ONCE] = mixed(hashes)
    empty = np.flatnonzero((signatures[:, 0] == NOTHING) & (signatures == NOTHING).all(axis=1))
    keys[:, empty] = mixed(empty.astype(np.uint64) * FACTOR)
    yield from keys


def _shared(keys: Hashes) -> Buckets:
    ordered = np.sort(keys)
    common = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    rows = found(keys, common)
    bucket = np.searchsorted(common, keys[rows])
    order = np.argsort(bucket, kind="stable")
    return Buckets(rows[order], bucket[order])


def _mark_close(close: Flags, signatures: Signatures, band: Buckets, threshold: float) -> None:
    """Mark the rows that are close to another one of their bucket.

    In a bucket of many alike, the first comparison marks all: only those not yet marked are compared further.
    """
    rows, bucket = band
    first = np.flatnonzero(np.diff(bucket, prepend=-1))[bucket]
    place = np.arange(len(rows))
    for pivot in range(PIVOTS):
        place = place[(place > first[place] + pivot)]
        others = rows[first[place] + pivot]
        open_ = ~(close[rows[place]] & close[others])
        a, b = rows[place[open_]], others[open_]
        alike = estimates(signatures, a, b) >= threshold - SLACK
        close[a[alike]] = close[b[alike]] = True
        if not len(place):
            return
    close[rows[place]] = True
