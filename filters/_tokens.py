"""Texts as arrays of hashed tokens, and n-grams of them, in whole-array steps of NumPy.

What a token is stands here alone; `_kernels` compiles the same loops, and the tests hold both to the slow obvious
version. Hashes depend on neither machine nor library, so that sketches of different runs can be compared.
"""

import unicodedata
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8] | NDArray[np.uint32]
"""Code points; of bytes where none is above 255, which is much faster."""
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

SPACE, LETTER, DIGIT, ALONE, SIGN = range(5)
CUT = np.array([8, 12, 3, 1, 1], np.int64)
"""Characters of one token by kind; a longer run is cut.

So ``181818…``, ``aaaa…`` and a page of white space are runs of equal tokens and not one odd word, while most words and
numbers stay whole. Fewer than eight white spaces are no token.
"""
SIGN_BIT = np.uint64(1 << 63)
"""Set in the hashes of signs and white space, clear in those of words, numbers and unspaced characters."""

FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Of the polynomial hashes over wrapping 64-bit integers; odd, so that it has an inverse."""
INVERSE = np.uint64(pow(int(FACTOR), -1, 1 << 64))
WORK_BYTES = 1 << 18
"""Text that one thread works on at a time: few enough for whole arrays of it to stay in the processor's cache."""
USUAL = 1 << 20
"""Characters in a batch, seldom exceeded: the powers of so many places are kept."""
_UNSPACED = [
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x31FF),  # CJK radicals, kana, bopomofo
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width kana
    (0x20000, 0x3FFFF),
]


class Tables(NamedTuple):
    """Kind, and lower case (0 of white space) of each code point."""

    kind: NDArray[np.uint8]
    lower: NDArray[np.uint64]


@lru_cache(maxsize=1)
def tables() -> Tables:
    """Made once, in about 50 ms. Characters beyond the third plane are signs."""
    kind = np.full(0x110000, SIGN, np.uint8)
    lower = np.arange(0x110000, dtype=np.uint64)
    kinds = {"L": LETTER, "M": LETTER, "N": DIGIT, "Z": SPACE}
    for code in range(0x20000):
        character = chr(code)
        kind[code] = SPACE if character.isspace() else kinds.get(unicodedata.category(character)[0], SIGN)
        lowered = character.lower()
        lower[code] = ord(lowered) if len(lowered) == 1 else code
    lower[kind == SPACE] = 0
    kind[0x20000:0x40000] = LETTER
    for first, last in _UNSPACED:
        block = kind[first : last + 1]
        block[block == LETTER] = ALONE
    return Tables(kind, lower)


def powers(size: int) -> tuple[Hashes, Hashes]:
    """Powers of `FACTOR` and of its inverse."""
    up, down = _usual_powers() if size <= USUAL else _powers(size)
    return up[:size], down[:size]


@lru_cache(maxsize=1)
def _usual_powers() -> tuple[Hashes, Hashes]:
    return _powers(USUAL)


def _powers(size: int) -> tuple[Hashes, Hashes]:
    both = np.ones((2, size), np.uint64)
    both[0, 1:], both[1, 1:] = FACTOR, INVERSE
    return np.cumprod(both[0]), np.cumprod(both[1])


class Tokens(NamedTuple):
    """Tokens of texts laid end to end: place and length in characters, and kind."""

    begin: Places
    length: Places
    kind: NDArray[np.uint8]


def tokens(codes: Codes, starts: Places) -> Tokens:
    """The tokens of texts, given their code points and the place of the first of each text (and the end)."""
    kinds, edge, is_token = _edges(codes, starts)
    begin, edges = np.flatnonzero(is_token), np.flatnonzero(edge)
    end = edges.take(np.searchsorted(edges, begin, side="right"))
    return Tokens(begin, end - begin, kinds.take(begin))


def hashed(codes: Codes, starts: Places) -> tuple[Hashes, Places]:
    """The hashed tokens of texts laid end to end, in order.

    Args:
        codes: Code points of all texts.
        starts: Place of the first character of each text, and at the end the number of characters.

    Returns:
        The hashes, and for each text the place of its first token (with their number at the end, as in ``starts``).
    """
    kinds, _, is_token = _edges(codes, starts)
    begin = np.flatnonzero(is_token)
    up, down = powers(len(codes))
    prefix = np.zeros(len(codes) + 1, np.uint64)
    np.multiply(_looked_up(tables().lower, codes), up, out=prefix[1:])
    np.cumsum(prefix, out=prefix)
    # White space adds nothing, so a token may be taken to end where the next one begins.
    hashes = np.diff(prefix.take(begin), append=prefix[-1:])
    hashes *= down.take(begin)
    hashes = mixed(hashes)
    hashes &= ~SIGN_BIT
    kinds = kinds.take(begin)
    signs = ((kinds == SIGN) | (kinds == SPACE)).astype(np.uint64)
    signs <<= np.uint64(63)
    hashes |= signs
    return hashes, np.searchsorted(begin, starts)


def _edges(codes: Codes, starts: Places) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Of each character: its kind, whether it begins a run (and, at the end, that the last one ends), and a token.

    Whole arrays of bits are cheap, and those of places are not: runs are cut, and white space is left out, before
    there are any.
    """
    kinds = _looked_up(tables().kind, codes)
    edge = np.empty(len(codes) + 1, np.bool_)
    np.not_equal(kinds[1:], kinds[:-1], out=edge[1:-1])
    edge[:-1] |= kinds >= ALONE
    edge[0] = True
    edge[starts] = True
    unbroken = _unbroken(edge[:-1])
    space = kinds == SPACE
    edge[_cuts(unbroken, kinds, space)] = True
    is_token = edge[:-1] & ~space
    if (unbroken[CUT[SPACE] - 1] & space).any():
        last = np.flatnonzero(_unbroken(edge[:-1])[CUT[SPACE] - 1] & space)
        is_token[last - (CUT[SPACE] - 1)] = True
    return kinds, edge, is_token


def _cuts(unbroken: dict[int, NDArray[np.bool_]], kinds: NDArray[np.uint8], space: NDArray[np.bool_]) -> Places:
    """Where a run that is longer than a token goes on as another."""
    over = unbroken[CUT[DIGIT]] & (kinds == DIGIT)
    over |= unbroken[CUT[SPACE]] & space
    over |= unbroken[CUT[LETTER]]
    places = _few(over)
    first = np.ones(len(places), np.bool_)
    np.greater(np.diff(places), 1, out=first[1:])
    beyond = places - np.maximum.accumulate(np.where(first, places, 0))
    cuts: Places = places[beyond % CUT.take(kinds.take(places)) == 0]
    return cuts


def _few(bits: NDArray[np.bool_]) -> Places:
    """``np.flatnonzero`` of bits that are seldom set, looked at eight at a time."""
    whole = len(bits) & ~7
    near = (np.flatnonzero(bits[:whole].view(np.uint64))[:, None] * 8 + np.arange(8)).ravel()
    return np.concatenate([near[bits[near]], whole + np.flatnonzero(bits[whole:])])


def _unbroken(edge: NDArray[np.bool_]) -> dict[int, NDArray[np.bool_]]:
    """By count, for those that tell a token's length: which characters, and count - 1 before them, are no edge."""
    powers = {1: ~edge}
    for count in (1, 2, 4):
        powers[2 * count] = _both(powers[count], count)
    return powers | {n: _both(powers[p], n - p) for n, p in ((3, 2), (7, 4), (12, 8))}


def _both(bits: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Which bits are set with that at the distance before them."""
    both = np.zeros(len(bits), np.bool_)
    np.logical_and(bits[distance:], bits[:-distance], out=both[distance:])
    return both


def _looked_up(table: NDArray[Any], codes: Codes) -> NDArray[Any]:
    """``table[codes]``, several times faster where no code is above 255 (the tables do not leave those below)."""
    if codes.dtype == np.uint8:
        return np.frombuffer(codes.tobytes().translate(table[:256].astype(np.uint8).tobytes()), np.uint8)
    return table.take(codes)


def mixed(hashes: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of the hash (the finaliser of MurmurHash3)."""
    hashes = hashes ^ (hashes >> np.uint64(33))
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes *= np.uint64(factor)
        hashes ^= hashes >> np.uint64(33)
    return hashes


def windows(words: Hashes, starts: Places, n: int) -> tuple[Hashes, Places]:
    """Hashes of all n-grams of each text, in order; a text of fewer than n tokens has none. Returns as `hashed`."""
    counts = np.maximum(np.diff(starts) - (n - 1), 0)
    grams = np.concatenate([[0], np.cumsum(counts)])
    if not grams[-1]:
        return np.zeros(0, np.uint64), grams
    up, down = powers(len(words))
    prefix = np.zeros(len(words) + 1, np.uint64)
    np.cumsum(words * up, out=prefix[1:])
    every = (prefix[n:] - prefix[:-n]) * down[: len(words) - n + 1]
    if len(every) == grams[-1]:
        return every, grams
    inside = np.ones(len(words), np.bool_)
    short = np.minimum(np.diff(starts), n - 1)
    last = np.repeat(starts[1:] - short, short) + np.arange(short.sum()) - np.repeat(np.cumsum(short) - short, short)
    inside[last] = False
    return every.take(np.flatnonzero(inside[: len(every)])), grams


def recurring(grams: Hashes, starts: Places) -> NDArray[np.bool_]:
    """Which n-grams occurred before in the same text."""
    keys = grams + np.repeat(np.arange(len(starts) - 1, dtype=np.uint64) * INVERSE, np.diff(starts))
    ordered = np.sort(keys)
    often = np.unique(ordered[1:].take(np.flatnonzero(ordered[1:] == ordered[:-1])))
    places = found(keys, often)
    again = np.zeros(len(keys), np.bool_)
    again[places] = True
    again[places[np.unique(keys[places], return_index=True)[1]]] = False
    return again


def found(hashes: Hashes, wanted: Hashes) -> Places:
    """Places of the hashes that are among the ``wanted``, which are sorted."""
    if not len(wanted):
        return np.zeros(0, np.int64)
    bits, maybe = low_bits(wanted)
    places: Places = np.flatnonzero(maybe.take((hashes & bits).view(np.int64)))
    nearest = np.minimum(np.searchsorted(wanted, hashes[places]), len(wanted) - 1)
    places = places[wanted[nearest] == hashes[places]]
    return places


def low_bits(wanted: Hashes) -> tuple[np.uint64, NDArray[np.bool_]]:
    """A mask, and by masked hash whether it may be wanted: sorts out nearly all where few are."""
    bits = np.uint64((1 << max(16, len(wanted).bit_length() + 6)) - 1)
    maybe = np.zeros(int(bits) + 1, np.bool_)
    maybe[wanted & bits] = True
    return bits, maybe
