"""MinHash signatures of texts (Broder 1997): short sketches whose agreement estimates the Jaccard index of sets.

The scheme is datasketch's "affine32", value for value, but computed for many texts at once: datasketch itself makes
one Python object a text and one Python integer a shingle. Which signatures are compared is not decided here.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from filters import _tokens
from filters._text import array_loops, batches_of_words, flat, in_parallel
from filters._tokens import Hashes, Places

PERMUTATIONS = 128
NOTHING = np.uint32(0xFFFFFFFF)
"""Every value of the signature of a set without elements, and as good as never a value of another."""
SIGNATURE = pl.Array(pl.UInt32, PERMUTATIONS)

Signatures = NDArray[np.uint32]
"""One row a text, one column a permutation."""


def signatures(words: pl.Series, n: int) -> pl.Series:
    """The signatures of the sets of n-grams of `words`, as `SIGNATURE`."""
    sign = _sign()
    loops = array_loops()
    parts = in_parallel(lambda part: sign(*loops.windows(*flat(part), n)), batches_of_words(words))
    return pl.Series(np.concatenate([np.empty((0, PERMUTATIONS), np.uint32), *parts]), dtype=SIGNATURE)


def shingles(words: pl.Series, n: int) -> list[Hashes]:
    """The set of n-grams of each text: distinct hashes, ascending."""
    loops = array_loops()

    def sets(part: pl.Series) -> list[Hashes]:
        grams, firsts = loops.windows(*flat(part), n)
        return [np.unique(grams[begin:end]) for begin, end in pairwise(firsts)]

    return [found for part in in_parallel(sets, batches_of_words(words)) for found in part]


def jaccard(a: Hashes, b: Hashes) -> float:
    """Shared elements of two of the `shingles`, divided by all their elements; of two empty ones, 0."""
    both = len(_tokens.found(a, b))
    return both / max(len(a) + len(b) - both, 1)


def sign(grams: Hashes, firsts: Places) -> Signatures:
    """Signatures of sets laid end to end, given the place of the first element of each (and the end).

    An element may stand in a set more than once.
    """
    a, b = permutations()
    signed = np.full((PERMUTATIONS, len(firsts) - 1), NOTHING)
    some = np.flatnonzero(np.diff(firsts))
    hashes, permuted = mixed(grams), np.empty(len(grams), np.uint32)
    for k in range(PERMUTATIONS if len(some) else 0):
        np.multiply(hashes, a[k], out=permuted)
        np.add(permuted, b[k], out=permuted)
        signed[k, some] = np.minimum.reduceat(permuted, firsts[some])
    return signed.T


def mixed(grams: Hashes) -> NDArray[np.uint32]:
    """The upper half of each hash, through the finaliser of MurmurHash3."""
    hashes = (grams >> np.uint64(32)).astype(np.uint32)
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


@lru_cache(maxsize=1)
def permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Factors and summands of the permutations ``a * h + b`` modulo 2^32."""
    from datasketch import MinHash

    a, b = MinHash(num_perm=PERMUTATIONS, seed=1, scheme="affine32").permutations
    return a, b


def _sign() -> Any:
    """`sign`, compiled where `_text.array_loops` finds that worth while."""
    if array_loops() is _tokens:
        return sign
    from filters import _minhash_kernel

    return _minhash_kernel.sign
