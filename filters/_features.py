"""Columns derived from others that several filters look at: computed once a batch, whoever asks first."""

from collections.abc import Callable

import polars as pl

from filters import _text


def _words(rows: pl.DataFrame) -> pl.Series:
    return _text.words(rows.select(_text.whole_text()).to_series())


FEATURES: dict[str, Callable[[pl.DataFrame], pl.Series]] = {
    "words": _words,  # hashed tokens of reasoning and response, List(UInt64)
}


def feature(name: str, rows: pl.DataFrame) -> pl.Series:
    """The named feature of each row, from the columns that the filters which ask for it read."""
    return FEATURES[name](rows).alias(name)
