"""Model text as columns: the text that filters look at, its tokens, and n-grams of tokens. The one home of each."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import polars as pl

if TYPE_CHECKING:
    from filters import _tokens


def text(column: str) -> pl.Expr:
    """A text column as strings, also where a frame holds nothing but nulls and so no type."""
    return pl.col(column).cast(pl.String)


def whole_text() -> pl.Expr:
    """Reasoning and response as one text; either may be null."""
    return pl.concat_str(text("reasoning"), text("response"), separator="\n", ignore_nulls=True)


BATCH_BYTES = 16 << 20
"""Text looked at at a time: what is derived from it takes many times its memory."""
WORK_WORDS = 1 << 19
"""Tokens that one thread works on at a time."""
NUMBA_FROM_BYTES = 64 << 20
"""Numba takes a second to start: it is used when this much text has been seen."""
numba: Literal["auto", "never", "always"] = "auto"
"""Whether the compiled loops are used, where Numba is installed. The results are the same."""

Sliced = TypeVar("Sliced", pl.Series, pl.DataFrame)
Work = TypeVar("Work")
Result = TypeVar("Result")
Hashed = tuple["_tokens.Hashes", "_tokens.Places"]


def batches(texts: pl.Series, size: int = BATCH_BYTES) -> Iterator[pl.Series]:
    """The texts in order, in slices of about ``size`` bytes."""
    return _slices(texts, texts.cast(pl.String).str.len_bytes(), size)


def batches_of_rows(rows: pl.DataFrame, size: int = BATCH_BYTES) -> Iterator[pl.DataFrame]:
    """The rows in order, in slices of about ``size`` bytes of text; one slice at least."""
    sizes = rows.select(pl.sum_horizontal(pl.lit(0), pl.col(pl.String).str.len_bytes().cast(pl.Int64))).to_series()
    if not rows.height:
        yield rows
    yield from _slices(rows, sizes, size)


def words(texts: pl.Series) -> pl.Series:
    """The hashed tokens of each text, List(UInt64); of a null, none.

    The hash of a sign has its highest bit set, that of a word or a number has not. `_tokens` says what a token is.
    """
    texts = texts.cast(pl.String).fill_null("")
    loops = array_loops(int(texts.str.len_bytes().sum()))
    return listed(in_parallel(lambda part: loops.hashed(*_laid_out(part)), batches(texts, loops.WORK_BYTES)))


def ngrams(words: pl.Series, n: int) -> pl.Series:
    """Hashes of the n-grams of `words`, in order, List(UInt64); a text of fewer than n tokens has none."""
    loops = array_loops()
    return listed(in_parallel(lambda part: loops.windows(*flat(part), n), batches_of_words(words)))


def spans(text: str) -> list[tuple[int, int]]:
    """Where the tokens of one text begin and end, in characters."""
    from filters import _tokens

    found = _tokens.tokens(*_laid_out(pl.Series([text])))
    return list(zip(found.begin.tolist(), (found.begin + found.length).tolist(), strict=True))


def flat(lists: pl.Series) -> Hashed:
    """The elements of all lists, and the place of the first one of each (with their number at the end)."""
    import numpy as np

    lengths = lists.list.len().fill_null(0)
    starts = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lengths.to_numpy(), out=starts[1:])
    return lists.rechunk().to_arrow().flatten().to_numpy(), starts


def batches_of_words(words: pl.Series) -> Iterator[pl.Series]:
    """Lists in order, in slices that one thread works on at a time."""
    return _slices(words, words.list.len(), WORK_WORDS)


def in_parallel(work: Callable[[Work], Result], parts: Iterable[Work]) -> list[Result]:
    """The results in order, by as many threads as Polars has: the loops over arrays do not hold Python's lock."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(pl.thread_pool_size()) as threads:
        return list(threads.map(work, parts))


def _slices(values: Sliced, sizes: pl.Series, size: int) -> Iterator[Sliced]:
    batch: pl.Series = sizes.fill_null(0).cast(pl.UInt64).cum_sum() // size
    starts = [0, *(batch.diff().fill_null(0) > 0).arg_true(), len(values)]
    for start, end in pairwise(starts):
        if end > start:
            yield values[start:end]


def _laid_out(texts: pl.Series) -> tuple["_tokens.Codes", "_tokens.Places"]:
    """Code points of all texts, none of them null, and the place of the first one of each."""
    import numpy as np

    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(texts.str.len_chars().to_numpy(), out=starts[1:])
    utf8 = np.frombuffer(_utf8(texts), np.uint8)
    if len(utf8) == starts[-1]:
        return utf8, starts
    text = str(utf8.data, "utf-8")
    try:
        return np.frombuffer(text.encode("latin-1"), np.uint8), starts
    except UnicodeEncodeError:
        return np.frombuffer(text.encode("utf-32-le"), np.uint32), starts


def _utf8(texts: pl.Series) -> Any:
    """The bytes of all texts end to end, without a Python string of each."""
    _, _, data = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    return data or b""


def listed(parts: list[Hashed]) -> pl.Series:
    """The lists that `flat` lays out, List(UInt64)."""
    import pyarrow as pa

    lists = [pa.LargeListArray.from_arrays(starts, hashes) for hashes, starts in parts]
    return pl.Series(pa.chunked_array(lists, pa.large_list(pa.uint64())))


def array_loops(more_bytes: int = 0) -> Any:
    """`_kernels` where Numba is installed, can cache what it compiles and is worth its start, else `_tokens`."""
    global _seen_bytes
    from filters import _tokens

    _seen_bytes += more_bytes
    if numba == "never" or (numba == "auto" and _seen_bytes < NUMBA_FROM_BYTES):
        return _tokens
    try:
        from filters import _kernels
    except (ImportError, RuntimeError):  # RuntimeError: no folder for the cache can be written
        return _tokens
    return _kernels


_seen_bytes = 0
