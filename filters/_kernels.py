"""The loops of `_tokens` compiled by Numba, for whoever has it: the same results, several times faster.

Compiled once a machine: the machine code is cached beside this file, or in the user's cache where that folder cannot
be written, or in NUMBA_CACHE_DIR. Importing this file imports Numba.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from filters import _tokens
from filters._tokens import CUT, FACTOR, INVERSE, SIGN, SIGN_BIT, SPACE, Codes, Hashes, Places

Loop = TypeVar("Loop", bound=Callable[..., Any])
WORK_BYTES = 1 << 20
"""As in `_tokens`; these loops hold one token at a time, and their output alone."""
ONE, SHIFT = np.uint64(1), np.uint64(33)
FIRST, SECOND = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)


def hashed(codes: Codes, starts: Places) -> tuple[Hashes, Places]:
    """As `_tokens.hashed`."""
    table = _tokens.tables()
    hashes, firsts = np.empty(len(codes), np.uint64), np.empty(len(starts), np.int64)
    count = _hashed(codes, starts, table.kind, table.lower, hashes, firsts)
    return hashes[:count].copy(), firsts


def windows(words: Hashes, starts: Places, n: int) -> tuple[Hashes, Places]:
    """As `_tokens.windows`."""
    firsts = np.zeros(len(starts), np.int64)
    np.cumsum(np.maximum(np.diff(starts) - (n - 1), 0), out=firsts[1:])
    grams = np.empty(firsts[-1], np.uint64)
    _windows(words, starts, n, grams)
    return grams, firsts


def recurring(grams: Hashes, starts: Places) -> NDArray[np.bool_]:
    """As `_tokens.recurring`."""
    longest = int(np.diff(starts).max(initial=0))
    slots = np.zeros(1 << (2 * longest).bit_length(), np.int64)
    again = np.zeros(len(grams), np.bool_)
    _recurring(grams, starts, slots, again)
    return again


def found(hashes: Hashes, wanted: Hashes) -> Places:
    """As `_tokens.found`."""
    bits, maybe = _tokens.low_bits(wanted)
    places = np.empty(len(hashes), np.int64)
    return places[: _found(hashes, wanted, bits, maybe, places)].copy()


def compiled(loop: Loop) -> Loop:
    """The loop as machine code, which holds no lock of Python's while it runs."""
    return cast(Loop, njit(cache=True, nogil=True)(loop))


@compiled
def _mixed(h: Any) -> Any:
    h = (h ^ (h >> SHIFT)) * FIRST
    h = (h ^ (h >> SHIFT)) * SECOND
    return h ^ (h >> SHIFT)


@compiled
def _hashed(codes: Codes, starts: Places, kinds: Any, lower: Hashes, hashes: Hashes, firsts: Places) -> int:
    count = 0
    for text in range(len(starts) - 1):
        firsts[text] = count
        place, end = starts[text], starts[text + 1]
        while place < end:
            kind = kinds[codes[place]]
            last = min(place + CUT[kind], end)
            total, power = np.uint64(0), ONE
            begin = place
            while place < last and kinds[codes[place]] == kind:
                total += lower[codes[place]] * power
                power *= FACTOR
                place += 1
            if kind == SPACE and place - begin < CUT[SPACE]:
                continue
            total = _mixed(total) & ~SIGN_BIT
            hashes[count] = total | SIGN_BIT if kind in (SIGN, SPACE) else total
            count += 1
    firsts[-1] = count
    return count


@compiled
def _windows(words: Hashes, starts: Places, n: int, grams: Hashes) -> None:
    top = ONE
    for _ in range(n - 1):
        top *= FACTOR
    at = 0
    for text in range(len(starts) - 1):
        if starts[text + 1] - starts[text] < n:
            continue
        total, power = np.uint64(0), ONE
        for place in range(starts[text], starts[text] + n):
            total += words[place] * power
            power *= FACTOR
        grams[at] = total
        at += 1
        for place in range(starts[text] + n, starts[text + 1]):
            total = (total - words[place - n]) * INVERSE + words[place] * top
            grams[at] = total
            at += 1


@compiled
def _recurring(grams: Hashes, starts: Places, slots: Places, again: NDArray[np.bool_]) -> None:
    # Open addressing; a slot holds a place + 1. One table serves all texts, as far as each needs it.
    for text in range(len(starts) - 1):
        begin, end = starts[text], starts[text + 1]
        size = 2
        while size < 2 * (end - begin):
            size *= 2
        mask = np.uint64(size - 1)
        slots[:size] = 0
        for place in range(begin, end):
            slot = _mixed(grams[place]) & mask
            while slots[slot] and grams[slots[slot] - 1] != grams[place]:
                slot = (slot + ONE) & mask
            if slots[slot]:
                again[place] = True
            else:
                slots[slot] = place + 1


@compiled
def _found(hashes: Hashes, wanted: Hashes, bits: np.uint64, maybe: NDArray[np.bool_], places: Places) -> int:
    count = 0
    for place in range(len(hashes)):
        h = hashes[place]
        if maybe[h & bits]:
            nearest = np.searchsorted(wanted, h)
            if nearest < len(wanted) and wanted[nearest] == h:
                places[count] = place
                count += 1
    return count
