"""Repetition: text that goes round in circles, at the level of words, lines or phrases.

Both measures look at exact repeats of tokens. A list of cases with other numbers in each is not repetition, and
a paraphrase of the same thought is not found.
"""

from collections.abc import Iterable
from typing import Annotated

import polars as pl
from pydantic import Field, PositiveInt

from filters import Filter, Verdict, reject
from filters._text import TOKEN, batches, grams, whole_text

WINDOW_TOKENS = 20
"""Window for the repeated share: long enough that formulas and step-by-step phrases seldom recur by chance."""
LOOP_WINDOW_TOKENS = 8
"""Window for following a loop: its repeats are then told apart by their distance."""
WORTH_A_LOOK = 0.01
"""Share of recurring windows under which a text cannot hold a loop of a rejectable size."""


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
    examples = [
        ({"reasoning": "Ones: 9 times 6 is 54, write 4 carry 5.", "response": r"\boxed{354}"}, "keep"),
        ({"reasoning": None, "response": r"It is \boxed{354}."}, "keep"),
        ({"reasoning": "No. " + "Wait, let me check this again. " * 12, "response": r"So \boxed{4}."}, "loop"),
        ({"reasoning": "x = 0." + "18" * 60, "response": r"\boxed{4}"}, "loop"),
        (
            {
                "reasoning": " ".join(
                    f"{i}. " + "We can use the numbers 1, 2 and 4 to build up the number 9, as they are all we have. " * 2
                    for i in range(12)
                ),
                "response": "9",
            },
            "repeated_text",
        ),
        ({"reasoning": None, "response": None}, "missing_input"),
    ]

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Count recurring windows of all texts at once, then follow loops in the few texts that have any."""
        for texts in batches(rows.select(whole_text()).to_series()):
            yield from self._judge_texts(texts)

    def _judge_texts(self, texts: pl.Series) -> list[Verdict]:
        windows = grams(texts, LOOP_WINDOW_TOKENS)
        suspects = _recurring_share(windows, len(texts)) > WORTH_A_LOOK
        share = _recurring_share(grams(texts, WINDOW_TOKENS), len(texts))
        loops = self._loops(windows, texts, suspects)
        verdicts = []
        for row, text in enumerate(texts):
            if row in loops:
                verdicts.append(reject("loop", share[row], loops[row]))
            elif share[row] > self.max_repeated_share:
                verdicts.append(reject("repeated_text", share[row], _most_repeated(text)))
            else:
                verdicts.append(Verdict("keep", None, share[row]))
        return verdicts

    def _loops(self, windows: pl.DataFrame, texts: pl.Series, suspects: pl.Series) -> dict[int, str]:
        """The longest loop of each text that has one, as "times x unit".

        In a loop of period p, each window was last seen exactly p tokens ago, over an unbroken run of places.
        """
        suspected = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True).filter(suspects)})
        place = pl.col("place").cast(pl.Int64)
        runs = (
            windows.join(suspected, on="row", how="semi")
            .with_columns(period=place - place.shift(1).over("row", "gram"))
            .with_columns(run=pl.struct("row", "period").rle_id())
            .filter(pl.col("period").is_not_null())
            .group_by("row", "run")
            .agg(pl.col("period").first(), end=place.max(), begin=place.min())
            .with_columns(covered=pl.col("end") - pl.col("begin") + LOOP_WINDOW_TOKENS + pl.col("period"))
            .with_columns(repeats=pl.col("covered") // pl.col("period"), begin=pl.col("begin") - pl.col("period"))
            .filter((pl.col("repeats") >= self.loop_repeats) & (pl.col("covered") >= self.loop_tokens))
            .sort("row", "covered", "begin", descending=[False, True, False])
            .unique("row", keep="first", maintain_order=True)
        )
        return {
            loop["row"]: f"{loop['repeats']} x {_excerpt(texts[loop['row']], loop['begin'], loop['period'])}"
            for loop in runs.iter_rows(named=True)
        }


def _recurring_share(windows: pl.DataFrame, rows: int) -> pl.Series:
    shares = windows.group_by("row").agg(share=1 - pl.col("gram").n_unique() / pl.len())
    every_row = pl.DataFrame({"row": pl.int_range(rows, dtype=pl.UInt32, eager=True)})
    return every_row.join(shares, on="row", how="left", maintain_order="left")["share"].fill_null(0.0)


def _most_repeated(text: str) -> str:
    windows = grams(pl.Series([text]), WINDOW_TOKENS)
    counts = windows.group_by("gram").agg(pl.len(), pl.col("place").min()).sort("len", "place", descending=[True, False])
    return f"{counts['len'][0]} x {_excerpt(text, counts['place'][0], WINDOW_TOKENS)}"


def _excerpt(text: str, begin: int, tokens: int) -> str:
    words = pl.Series([text]).str.extract_all(TOKEN).list.slice(begin, min(tokens, 60))
    return " ".join(words[0])
