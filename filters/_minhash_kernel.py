"""The loop of `_minhash` compiled by Numba, for whoever has it: the same signatures, several times faster."""

import numpy as np
from numpy.typing import NDArray

from filters._kernels import compiled
from filters._minhash import NOTHING, PERMUTATIONS, Signatures, mixed, permutations
from filters._tokens import Hashes, Places

BLOCK = 1024
"""Elements that pass through all permutations before the next ones: they stay in the fastest cache."""


def sign(grams: Hashes, firsts: Places) -> Signatures:
    """As `_minhash.sign`."""
    signed = np.full((len(firsts) - 1, PERMUTATIONS), NOTHING)
    _sign(mixed(grams), firsts, *permutations(), signed)
    return signed


@compiled
def _sign(
    hashes: NDArray[np.uint32], firsts: Places, a: NDArray[np.uint32], b: NDArray[np.uint32], signed: Signatures
) -> None:
    for text in range(len(firsts) - 1):
        for begin in range(firsts[text], firsts[text + 1], BLOCK):
            # A slice, whose places are known not to be negative: only then is the loop over it vectorised.
            block = hashes[begin : min(begin + BLOCK, firsts[text + 1])]
            for k in range(len(a)):
                factor, summand, least = a[k], b[k], signed[text, k]
                for place in range(len(block)):
                    least = min(least, np.uint32(factor * block[place] + summand))
                signed[text, k] = least
