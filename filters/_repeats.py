"""Repeats within texts of hashed tokens: how much recurs, and the longest loop. Knows nothing of verdicts."""

import math
from typing import NamedTuple

import numpy as np
import polars as pl

from filters._text import array_loops, flat
from filters._tokens import Hashes, Places


class Loop(NamedTuple):
    """The same run of tokens several times back to back."""

    begin: int
    """Place of its first token."""
    period: int
    """Tokens of the run."""
    repeats: int


class Repeats(NamedTuple):
    """What repeats in a text."""

    recurring: int
    """Windows that occurred before."""
    share: float
    """Of such windows."""
    loop: Loop | None
    """The one that covers most tokens."""


def repeats(words: pl.Series, window: int, loop_window: int, loop_repeats: int, loop_tokens: int) -> list[Repeats]:
    """The repeats of each text, by windows of so many tokens; loops of that many repeats and tokens at least."""
    recurring, shares = repeated_shares(words, window)
    loops: list[Loop | None] = [None] * len(words)
    again, grams, firsts = _recurring(words, loop_window)
    # A loop has so many recurring windows in a row: all but those of the first time round.
    fewest = max(1, math.ceil(loop_tokens * (1 - 1 / loop_repeats)) - loop_window + 1)
    for text in _suspects(again, firsts, fewest):
        loops[text] = longest_loop(grams[firsts[text] : firsts[text + 1]], loop_window, loop_repeats, loop_tokens)
    return [Repeats(*row) for row in zip(recurring, shares, loops, strict=True)]


def repeated_shares(words: pl.Series, n: int) -> tuple[list[int], list[float]]:
    """Of each text: how many of its windows of n tokens occurred before in it, and their share of all windows."""
    again, _, firsts = _recurring(words, n)
    recurring = np.diff(again.searchsorted(firsts))
    return recurring.tolist(), (recurring / np.diff(firsts).clip(1)).tolist()


def _recurring(words: pl.Series, n: int) -> tuple[Places, Hashes, Places]:
    """Places of the windows of n tokens that occurred before in their text; all windows; each text's first place."""
    loops = array_loops()
    grams, firsts = loops.windows(*flat(words), n)
    return np.flatnonzero(loops.recurring(grams, firsts)), grams, firsts


def _suspects(again: Places, firsts: Places, fewest: int) -> list[int]:
    """Texts with at least so many recurring windows in a row."""
    # The first window of a text never recurs, so that no run goes on from one text to the next.
    last = again[fewest - 1 :]
    begins = again[: len(last)][last - again[: len(last)] == fewest - 1]
    return sorted(set((firsts.searchsorted(begins, side="right") - 1).tolist()))


def longest_loop(grams: Hashes, window: int, loop_repeats: int, loop_tokens: int) -> Loop | None:
    """The loop that covers most of a text, given all its windows of so many tokens.

    In a loop of period p, each window was last seen exactly p tokens ago, over an unbroken run of places.
    """
    order = np.argsort(grams, kind="stable")
    seen = np.flatnonzero(grams[order[1:]] == grams[order[:-1]])
    period = np.zeros(len(grams), np.int64)
    period[order[seen + 1]] = order[seen + 1] - order[seen]
    first = np.flatnonzero(np.diff(period, prepend=-1))
    period, windows = period[first], np.diff(first, append=len(grams))
    covered = windows - 1 + window + period
    repeats = covered // np.maximum(period, 1)
    is_loop = (period > 0) & (repeats >= loop_repeats) & (covered >= loop_tokens)
    if not is_loop.any():
        return None
    longest = np.where(is_loop, covered, 0).argmax()
    return Loop(int(first[longest] - period[longest]), int(period[longest]), int(repeats[longest]))
