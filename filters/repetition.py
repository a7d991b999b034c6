"""Repetition: text that goes round in circles, at the level of words, lines or phrases.

Both measures look at exact repeats of tokens. A list of cases with other numbers in each is not repetition, and
a paraphrase of the same thought is not found.
"""

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import polars as pl
from pydantic import Field, PositiveInt

from filters import Filter, Verdict, reject
from filters._text import batches_of_words, in_parallel, ngrams, spans, whole_text, words

if TYPE_CHECKING:
    from filters import _repeats

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
        from filters import _repeats

        def measured(words: pl.Series) -> "list[_repeats.Repeats]":
            return _repeats.repeats(words, WINDOW_TOKENS, LOOP_WINDOW_TOKENS, self.loop_repeats, self.loop_tokens)

        parts = in_parallel(measured, batches_of_words(rows["words"]))
        texts = rows.select(whole_text()).to_series()
        for row, (recurring, share, loop) in enumerate(chain.from_iterable(parts)):
            if loop:
                yield reject("loop", share, f"{loop.repeats} x {_excerpt(texts[row], loop.begin, loop.period)}")
            elif share > self.max_repeated_share and recurring >= FEWEST_RECURRING:
                yield reject("repeated_text", share, _most_repeated(texts[row]))
            else:
                yield Verdict("keep", None, share)


def _most_repeated(text: str) -> str:
    grams = ngrams(words(pl.Series([text])), WINDOW_TOKENS).explode()
    counts = pl.DataFrame({"gram": grams}).with_row_index("place").group_by("gram").agg(pl.len(), pl.col("place").min())
    often, place = counts.sort("len", "place", descending=[True, False]).select("len", "place").row(0)
    return f"{often} x {_excerpt(text, place, WINDOW_TOKENS)}"


def _excerpt(text: str, begin: int, length: int) -> str:
    places = spans(text)
    return text[places[begin][0] : places[begin + min(length, 60) - 1][1]]
