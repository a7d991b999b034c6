"""Random choices that depend on nothing but names: hashes of (seed, problem_id, sample), never a generator's state."""

import hashlib

import polars as pl


def draws(seed: int, keys: pl.DataFrame) -> pl.Series:
    """A uniform UInt64 for each row of keys."""
    texts = ("/".join(map(str, (seed, *key))) for key in keys.iter_rows())
    digests = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return pl.Series("draw", [int.from_bytes(digest) for digest in digests], dtype=pl.UInt64)
