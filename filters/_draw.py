"""Random choices that depend on nothing but names: hashes of (seed, problem_id, sample), never a generator's state."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate

import polars as pl


def draws(seed: int, keys: pl.DataFrame) -> pl.Series:
    """A uniform UInt64 for each row of keys."""
    texts = ("/".join(map(str, (seed, *key))) for key in keys.iter_rows())
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return pl.Series("draw", [int.from_bytes(digest) for digest in digests], dtype=pl.UInt64)


def shares(drawn: pl.Series, parts: Sequence[float]) -> list[int]:
    """For each draw the number of the part of a whole that it falls into."""
    ends = [*accumulate(parts)][:-1]
    return [sum(place >= end for end in ends) for place in (drawn / 2**64).to_list()]
