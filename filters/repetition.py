"""Repetition: text that goes round in circles, at the level of words, lines or phrases.

Both measures look at exact repeats of tokens. A list of cases with other numbers in each is not repetition, and
a paraphrase of the same thought is not found.
"""

from collections.abc import Iterable
from typing import Annotated

import polars as pl
from pydantic import Field, PositiveInt

from filters import Filter, Verdict, reject
from filters._text import TOKEN, batches, grams, tokens, whole_text

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
    examples = (
        ({"reasoning": "Ones: 9 times 6 is 54, write 4 carry 5.", "response": r"\boxed{354}"}, "keep"),
        ({"reasoning": None, "response": r"It is \boxed{354}."}, "keep"),
        ({"reasoning": "No. " + "Wait, let me check this again. " * 12, "response": r"So \boxed{4}."}, "loop"),
        ({"reasoning": "x = 0." + "18" * 60, "response": r"\boxed{4}"}, "loop"),
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
        """Count recurring windows of all texts at once, then follow loops in the few texts that have any."""
        for texts in batches(rows.select(whole_text()).to_series()):
            yield from self._judge_texts(texts)

    def _judge_texts(self, texts: pl.Series) -> list[Verdict]:
        words = tokens(texts)
        counts = _recurring(grams(words, WINDOW_TOKENS))
        share = _per_text(counts, "share", len(texts))
        long_enough = _per_text(counts, "recurring", len(texts)) >= FEWEST_RECURRING
        loops = self._loops(grams(words, LOOP_WINDOW_TOKENS), texts)
        verdicts = []
        for row, text in enumerate(texts):
            if row in loops:
                verdicts.append(reject("loop", share[row], loops[row]))
            elif share[row] > self.max_repeated_share and long_enough[row]:
                verdicts.append(reject("repeated_text", share[row], _most_repeated(text)))
            else:
                verdicts.append(Verdict("keep", None, share[row]))
        return verdicts

    def _loops(self, windows: pl.DataFrame, texts: pl.Series) -> dict[int, str]:
        """The longest loop of each text that has one, as "times x unit".

        In a loop of period p, each window was last seen exactly p tokens ago, over an unbroken run of places.
        """
        # Of a loop's tokens, all but the first time round recur; texts with fewer recurring windows hold none.
        fewest = self.loop_tokens * (1 - 1 / self.loop_repeats) - LOOP_WINDOW_TOKENS
        suspects = _recurring(windows).filter(pl.col("recurring") >= fewest)
        seen = windows.join(suspects, on="row", how="semi").with_columns(pl.col("place").cast(pl.Int64))
        same = pl.struct("row", "gram") == pl.struct("row", "gram").shift(1)
        runs = (
            seen.sort("row", "gram", "place")
            .with_columns(period=pl.when(same).then(pl.col("place").diff()))
            .filter(pl.col("period").is_not_null())
            .sort("row", "period", "place")
            .with_columns(run=pl.col("place") - pl.int_range(pl.len()))
            .group_by("row", "period", "run")
            .agg(begin=pl.col("place").min() - pl.col("period").first(), end=pl.col("place").max() + LOOP_WINDOW_TOKENS)
            .with_columns(covered=pl.col("end") - pl.col("begin"))
            .with_columns(repeats=pl.col("covered") // pl.col("period"))
            .filter((pl.col("repeats") >= self.loop_repeats) & (pl.col("covered") >= self.loop_tokens))
            .sort("row", "covered", "begin", descending=[False, True, False])
            .unique("row", keep="first", maintain_order=True)
        )
        return {
            loop["row"]: f"{loop['repeats']} x {_excerpt(texts[loop['row']], loop['begin'], loop['period'])}"
            for loop in runs.iter_rows(named=True)
        }


def _recurring(windows: pl.DataFrame) -> pl.DataFrame:
    """Columns row, recurring (windows that occurred before in the same text) and their share."""
    counts = windows.group_by("row").agg(windows=pl.len(), recurring=pl.len() - pl.col("gram").n_unique())
    return counts.select("row", "recurring", share=pl.col("recurring") / pl.col("windows"))


def _per_text(counts: pl.DataFrame, column: str, texts: int) -> pl.Series:
    rows = pl.DataFrame({"row": pl.int_range(texts, dtype=pl.UInt32, eager=True)})
    return rows.join(counts, on="row", how="left", maintain_order="left")[column].fill_null(0)


def _most_repeated(text: str) -> str:
    windows = grams(tokens(pl.Series([text])), WINDOW_TOKENS)
    counts = (
        windows.group_by("gram").agg(pl.len(), pl.col("place").min()).sort("len", "place", descending=[True, False])
    )
    return f"{counts['len'][0]} x {_excerpt(text, counts['place'][0], WINDOW_TOKENS)}"


def _excerpt(text: str, begin: int, length: int) -> str:
    words = pl.Series([text]).str.extract_all(TOKEN).list.slice(begin, min(length, 60))
    return " ".join(words[0])
