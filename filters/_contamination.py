"""Texts that hold benchmark items: both as n-grams of hashed, normalised words. Knows nothing of verdicts."""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import polars as pl

from filters._benchmarks import Item
from filters._text import array_loops, batches_of_words, flat, in_parallel, listed, spans, words
from filters._tokens import SIGN_BIT, Hashes, Places

FEWEST_CONTAINED_WORDS = 4
"""A shorter item, such as ``2 + 2``, is found only where it is the whole text."""
LATEX_NOISE = ("left", "right", "displaystyle", "quad", "qquad", "text", "mathrm", "mathbf", "big", "limits")
"""Commands that change how a formula looks. Signs and white space, LaTeX's included, are dropped with them."""
LATEX_SAME = {"dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "geq": "ge", "neq": "ne"}


@lru_cache(maxsize=1)
def _latex() -> tuple[Hashes, Hashes, Hashes]:
    """Hashes of noise, sorted; of the commands that have another name, sorted; and of those names."""
    hashed = words(pl.Series([*LATEX_NOISE, *LATEX_SAME, *LATEX_SAME.values()])).explode().to_numpy()
    noise, other, same = np.split(hashed, [len(LATEX_NOISE), len(LATEX_NOISE) + len(LATEX_SAME)])
    order = np.argsort(other)
    return np.sort(noise), other[order], same[order]


def normalised(hashes: Hashes, starts: Places) -> tuple[Hashes, Places]:
    """Words and numbers alone, as `filters._text.flat` returns them: no punctuation, no LaTeX that is only looks."""
    noise, other, same = _latex()
    plain = hashes < SIGN_BIT
    looks = array_loops().found(hashes, np.sort(np.concatenate([noise, other])))
    plain[looks[np.isin(hashes[looks], noise)]] = False
    kept = np.flatnonzero(plain)
    words = hashes.take(kept)
    renamed = np.searchsorted(kept, looks[plain[looks]])
    words[renamed] = same[np.searchsorted(other, words[renamed])]
    return words, np.searchsorted(kept, starts)


@dataclass(frozen=True)
class Index:
    """The n-grams of benchmark items. An item of fewer than n words is one gram of its own length."""

    items: tuple[Item, ...]
    n: int
    grams: Hashes
    """Distinct, sorted; a gram's place here is its number."""
    of_items: pl.DataFrame
    """Columns item, gram (numbers) and place (of the gram's first word in the item): distinct grams of each item."""
    short: tuple[int, ...]
    """Lengths of the items that are shorter than n, in words."""

    def hits(self, texts: pl.Series, *, short: bool) -> pl.Series:
        """Numbers of the grams that occur in each of the hashed texts (`filters._text.words`), List(UInt64), distinct.

        Short items are looked for only if asked: in a long text they are there by chance.
        """
        lengths = (self.n, *self.short) if short else (self.n,)
        return listed(in_parallel(lambda part: self._hits(part, lengths), batches_of_words(texts)))

    def _hits(self, texts: pl.Series, lengths: tuple[int, ...]) -> tuple[Hashes, Places]:
        loops, (hashes, starts) = array_loops(), normalised(*flat(texts))
        hits = [np.zeros(0, np.int64)]
        for n in lengths:
            grams, firsts = loops.windows(hashes, starts, n)
            places = loops.found(grams, self.grams)
            rows = np.searchsorted(firsts, places, side="right") - 1
            if n < min(self.n, FEWEST_CONTAINED_WORDS):
                whole = np.diff(starts)[rows] == n
                places, rows = places[whole], rows[whole]
            hits.append(rows * len(self.grams) + np.searchsorted(self.grams, grams[places]))
        rows, numbers = np.divmod(np.unique(np.concatenate(hits)), max(len(self.grams), 1))
        return numbers.astype(np.uint64), np.searchsorted(rows, np.arange(len(texts) + 1))

    def span(self, item: int, first: int, last: int) -> str:
        """The item's text from the first word of its gram at place ``first`` to the last word of that at ``last``."""
        text = self.items[item].text
        (hashes,) = words(pl.Series([text])).to_list()
        noise = set(_latex()[0].tolist())
        plain = [span for span, h in zip(spans(text), hashes, strict=True) if h < SIGN_BIT and h not in noise]
        end = min(last + self.n, len(plain)) - 1
        return re.sub(r"\s+", " ", text[plain[first][0] : plain[end][1]])


@lru_cache(maxsize=4)
def index(items: tuple[Item, ...], n: int) -> Index:
    """The n-grams of the items; of several that read the same, the first counts. Kept for the next call."""
    hashes, starts = normalised(*flat(words(pl.Series([item.text for item in items], dtype=pl.String))))
    distinct: dict[bytes, int] = {}
    for item, (begin, end) in enumerate(pairwise(starts.tolist())):
        if end > begin:
            distinct.setdefault(hashes[begin:end].tobytes(), item)
    kept = list(distinct.values())
    lengths = [int(starts[item + 1] - starts[item]) for item in kept]
    grams, numbers, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number, (item, length) in enumerate(zip(kept, lengths, strict=True)):
        own = hashes[starts[item] : starts[item + 1]]
        grams.append(array_loops().windows(own, np.array([0, length]), min(n, length))[0])
        numbers.append(np.full(len(grams[-1]), number))
        places.append(np.arange(len(grams[-1])))
    known, gram = np.unique(np.concatenate(grams), return_inverse=True)
    table = pl.DataFrame({"item": np.concatenate(numbers), "gram": gram, "place": np.concatenate(places)})
    of_items = table.cast({"gram": pl.UInt64}).unique(["item", "gram"], keep="first", maintain_order=True)
    return Index(tuple(items[i] for i in kept), n, known, of_items, tuple(sorted({m for m in lengths if m < n})))
