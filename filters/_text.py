"""Model text as columns: the text that filters look at, its tokens, and n-grams of tokens. The one home of each."""

from collections.abc import Iterator
from itertools import pairwise

import polars as pl


def text(column: str) -> pl.Expr:
    """A text column as strings, also where a frame holds nothing but nulls and so no type."""
    return pl.col(column).cast(pl.String)


def whole_text() -> pl.Expr:
    """Reasoning and response as one text; either may be null."""
    return pl.concat_str(text("reasoning"), text("response"), separator="\n", ignore_nulls=True)


TOKEN = r"\p{Han}|\p{Hiragana}|\p{Katakana}|\p{Thai}|\p{N}|[\p{L}\p{M}]{1,12}|[^\p{L}\p{M}\p{N}\s]|\s{8}"
"""One token: an unspaced character, a digit, up to 12 letters, a sign, or eight white spaces.

Digits and long words are cut so that ``181818…`` and ``aaaa…`` are runs of tokens and not one odd word.
"""


BATCH_BYTES = 16 << 20
"""Text tokenised at a time: tokens take about ten times the memory of their text."""


def batches(texts: pl.Series) -> Iterator[pl.Series]:
    """The texts in order, in slices of about `BATCH_BYTES`."""
    batch = texts.cast(pl.String).str.len_bytes().fill_null(0).cum_sum() // BATCH_BYTES
    starts = [0, *(batch.diff().fill_null(0) > 0).arg_true(), len(texts)]
    for start, end in pairwise(starts):
        if end > start:
            yield texts[start:end]


def tokens(texts: pl.Series, token: str = TOKEN) -> pl.DataFrame:
    """Hashes of the lower-cased tokens of each text, in order: columns row (index of the text) and word (UInt64)."""
    rows = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.UInt32, eager=True), "text": texts.cast(pl.String)})
    words = rows.select("row", pl.col("text").str.to_lowercase().str.extract_all(token).alias("word"))
    return words.explode("word").drop_nulls().with_columns(pl.col("word").hash())


def words(texts: pl.Series) -> pl.Series:
    """The hashed tokens of each text, List(UInt64)."""
    hashed = pl.DataFrame({"word": texts.cast(pl.String).str.to_lowercase().str.extract_all(TOKEN)})
    return hashed.select(pl.col("word").list.eval(pl.element().hash())).to_series()


def grams(words: pl.DataFrame, n: int) -> pl.DataFrame:
    """Hashes of all n-grams of `tokens`, in order: columns row, place (of its first token) and gram (UInt64).

    A text of fewer than n tokens has none.
    """
    # A polynomial hash over wrapping 64-bit integers: the n-gram that starts here, in n vectorised steps.
    gram = pl.lit(0, pl.UInt64)
    for lag in range(n):
        gram = gram * pl.lit(0x9E3779B97F4A7C15, pl.UInt64) + pl.col("word").shift(-lag)
    place = pl.int_range(pl.len(), dtype=pl.UInt32).over("row")
    inside = pl.col("row") == pl.col("row").shift(-(n - 1))
    return (
        words.select("row", place.alias("place"), gram.alias("gram"), inside.alias("inside"))
        .filter("inside")
        .drop("inside")
    )
