"""What the number of a sample says of where it came from.

Samples of the plain question are 0, 1, 2, …; those that follow from another one have numbers of their own, which do not
depend on how many others there are. Does not ask for any of them.
"""

from typing import TypeVar

import polars as pl

Key = tuple[str, int]
"""problem_id and the number of a sample."""

Number = TypeVar("Number", int, pl.Expr)

ROOM = 1_000_000
"""The plain question has fewer samples than this. A sample that mends another one has its number and ROOM more."""
HINTED = 1_000 * ROOM
"""Samples from here on were given the answer."""


def continuation(number: Number) -> Number:
    """The number under which a journal holds the second part of a truncated sample, and back."""
    return -1 - number


def whole(key: Key) -> Key:
    """The sample that a second part belongs to, or the sample itself."""
    return (key[0], continuation(key[1])) if is_continuation(key[1]) else key


def is_continuation(number: int) -> bool:
    """Whether a number is that of a second part, which no table shows: it is merged with the first."""
    return number < 0


def is_follow_up(number: pl.Expr) -> pl.Expr:
    """Whether samples follow from others, or from there being none."""
    return (number < 0) | (number >= ROOM)


def plain(number: int) -> int:
    """The number of the plain sample that one descends from, or of the turn among the hinted ones."""
    return number % ROOM


def round_of(number: int) -> int:
    """How often a sample has been mended; 0 for the plain question."""
    return number // ROOM


def method(number: pl.Expr) -> pl.Expr:
    """How samples were asked for: null for the plain question, refine, or hint."""
    return pl.when(number >= HINTED).then(pl.lit("hint")).when(number >= ROOM).then(pl.lit("refine"))


def parent(number: pl.Expr) -> pl.Expr:
    """The sample that each one mends, or null."""
    return pl.when(number.is_between(ROOM, HINTED, closed="left")).then(number - ROOM)


def said(number: int) -> str:
    """The number of a sample for people: #3, #3 mended, #3 mended twice, #0 hinted."""
    if number < ROOM:
        return f"#{number}"
    times = {1: "", 2: " twice"}.get(round_of(number), f" {round_of(number)} times")
    return f"#{plain(number)} hinted" if number >= HINTED else f"#{plain(number)} mended{times}"
