"""Repetition: text that goes round in circles, at the level of words, lines or phrases.

Both measures look at exact repeats of tokens. A list of cases with other numbers in each is not repetition, and
a paraphrase of the same thought is not found.
"""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field, PositiveInt

from filters import Filter, Verdict, reject
from filters._text import array_loops, batches_of_words, flat, in_parallel, ngrams, spans, whole_text, words

WINDOW_TOKENS = 20
"""Window for the repeated share: long enough that formulas and step-by-step phrases seldom recur by chance."""
FEWEST_RECURRING = 40
"""Recurring windows below which a share means nothing: a short text may well be one long decimal."""
LOOP_WINDOW_TOKENS = 8
"""Window for following a loop: its repeats are then told apart by their distance."""


class Repetition(Filter):
    """Keep trajectories that do not repeat themselves, judged over reasoning and response as one text.

    A *loop* is the same run of tokens many times back to back, wherever it sits: a word, a line, a paragraph, or
    digits without a space. The *repeated share* also sees repeats that are interrupted or change their order.

    Score: share (0..1) of windows of 20 tokens that occurred before in the same text.
    Rejects: loop, repeated_text.
    Abstains: missing_input.
    """

    max_repeated_share: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Largest share of repeated windows of a trajectory that is kept."""
    loop_repeats: Annotated[int, Field(ge=2)] = 4
    """Fewest times that a run of tokens follows itself in a loop."""
    loop_tokens: PositiveInt = 80
    """Fewest tokens that a loop covers, all its repeats together; shorter ones occur in good mathematics."""

    reads = ("reasoning", "response")
    nullable = ("reasoning",)
    features = ("words",)
    examples = (
        ({"reasoning": "Ones: 9 times 6 is 54, write 4 carry 5.", "response": r"\boxed{354}"}, "keep"),
        ({"reasoning": None, "response": r"It is \boxed{354}."}, "keep"),
        ({"reasoning": "No. " + "Wait, let me check this again. " * 12, "response": r"So \boxed{4}."}, "loop"),
        ({"reasoning": "x = 0." + "18" * 150, "response": r"\boxed{4}"}, "loop"),
        (
            {
                "reasoning": " ".join(
                    f"{i}. "
                    + "We can use the numbers 1, 2 and 4 to build up the number 9, as they are all we have. " * 2
                    for i in range(12)
                ),
                "response": "9",
            },
            "repeated_text",
        ),
        ({"reasoning": None, "response": None}, "missing_input"),
    )

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Count recurring windows of all texts, then follow the loops of the few that may have one."""
        repeats = chain.from_iterable(in_parallel(self._repeats, batches_of_words(rows["words"])))
        texts = rows.select(whole_text()).to_series()
        for text, (recurring, share, loop) in zip(texts, repeats, strict=True):
            if loop:
                yield reject("loop", share, f"{loop.repeats} x {_excerpt(text, loop.begin, loop.period)}")
            elif share > self.max_repeated_share and recurring >= FEWEST_RECURRING:
                yield reject("repeated_text", share, _most_repeated(text))
            else:
                yield Verdict("keep", None, share)

    def _repeats(self, words: pl.Series) -> list[tuple[int, float, "_Loop | None"]]:
        """Of each text: its recurring windows, their share, and its longest loop."""
        recurring, shares = repeated_shares(words, WINDOW_TOKENS)
        loops: list[_Loop | None] = [None] * len(words)
        again, grams, firsts = _recurring(words, LOOP_WINDOW_TOKENS)
        for text in self._suspects(again, firsts):
            loops[text] = self._longest_loop(grams[firsts[text] : firsts[text + 1]])
        return list(zip(recurring, shares, loops, strict=True))

    def _suspects(self, again: Any, firsts: Any) -> list[int]:
        """Texts with as many recurring windows in a row as a loop has: all but those of the first time round."""
        fewest = max(1, math.ceil(self.loop_tokens * (1 - 1 / self.loop_repeats)) - LOOP_WINDOW_TOKENS + 1)
        before = np.concatenate([[0], again.cumsum()])
        # The first window of a text never recurs, so that no run goes on from one text to the next.
        begins = np.flatnonzero(before[fewest:] - before[:-fewest] == fewest)
        return sorted(set((firsts.searchsorted(begins, side="right") - 1).tolist()))

    def _longest_loop(self, grams: Any) -> "_Loop | None":
        """The loop that covers most of the text, given the hashes of its windows.

        In a loop of period p, each window was last seen exactly p tokens ago, over an unbroken run of places.
        """
        runs = (
            pl.DataFrame({"place": np.arange(len(grams)), "gram": grams})
            .select("place", period=pl.col("place").diff().over("gram"))
            .drop_nulls()
            .sort("period", "place")
            .with_columns(run=pl.col("place") - pl.int_range(pl.len()))
            .group_by("period", "run")
            .agg(begin=pl.col("place").min() - pl.col("period").first(), end=pl.col("place").max() + LOOP_WINDOW_TOKENS)
            .with_columns(covered=pl.col("end") - pl.col("begin"))
            .with_columns(repeats=pl.col("covered") // pl.col("period"))
            .filter((pl.col("repeats") >= self.loop_repeats) & (pl.col("covered") >= self.loop_tokens))
            .sort("covered", "begin", descending=[True, False])
            .select("begin", "period", "repeats")
        )
        return _Loop(*runs.row(0)) if runs.height else None


class _Loop(NamedTuple):
    begin: int
    period: int
    repeats: int


def repeated_shares(words: pl.Series, n: int) -> tuple[list[int], list[float]]:
    """Of each text: how many of its windows of n tokens occurred before in it, and their share of all windows."""
    again, _, firsts = _recurring(words, n)
    before = np.concatenate([[0], again.cumsum()])
    recurring = before[firsts[1:]] - before[firsts[:-1]]
    return recurring.tolist(), (recurring / np.diff(firsts).clip(1)).tolist()


def _recurring(words: pl.Series, n: int) -> tuple[Any, Any, Any]:
    """Which windows of n tokens occurred before in their text, their hashes, and the place of each text's first."""
    grams, firsts = array_loops().windows(*flat(words), n)
    return array_loops().recurring(grams, firsts), grams, firsts


def _most_repeated(text: str) -> str:
    grams = ngrams(words(pl.Series([text])), WINDOW_TOKENS).explode()
    counts = pl.DataFrame({"gram": grams}).with_row_index("place").group_by("gram").agg(pl.len(), pl.col("place").min())
    often, place = counts.sort("len", "place", descending=[True, False]).select("len", "place").row(0)
    return f"{often} x {_excerpt(text, place, WINDOW_TOKENS)}"


def _excerpt(text: str, begin: int, length: int) -> str:
    places = spans(text)
    return text[places[begin][0] : places[begin + min(length, 60) - 1][1]]
