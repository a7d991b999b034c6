"""The tokens of our filters as words between blanks, so that a peer's ``text.split()`` sees the same ones."""

from collections.abc import Callable
from itertools import pairwise

import polars as pl

from filters._text import Hashed, flat, spans, words


def as_words(texts: pl.Series, keep: Callable[..., Hashed] = lambda hashes, starts: (hashes, starts)) -> list[str]:
    """Each text as lower-case tokens joined by blanks; ``keep`` drops or renames tokens by their hashes."""
    hashed = words(texts)
    names: dict[int, str] = {}
    for text, hashes in zip(texts, hashed, strict=True):
        names |= {h: text[a:b].lower().replace(" ", "_") for h, (a, b) in zip(hashes, spans(text), strict=True)}
    kept, starts = keep(*flat(hashed))
    tokens = [names[h].strip() or "_" for h in kept.tolist()]
    return [" ".join(tokens[a:b]) for a, b in pairwise(starts.tolist())]
