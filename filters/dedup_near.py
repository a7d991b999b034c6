"""Near deduplication: texts that differ in a few words teach the same thing twice.

MinHash signatures (Broder 1997) and banding find candidates; each candidate is then compared exactly, so that
nothing is called a duplicate by chance. Paraphrases are not found.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from filters import KEEP, Filter, Verdict, reject
from filters._text import batches, grams, tokens, whole_text

PERMUTATIONS = 128
BAND_ROWS = 8
"""16 bands of 8 rows find 99.4 % of the pairs at similarity 0.85."""
SCREEN = 0.15
"""A candidate whose estimated similarity is this far under the threshold is not compared exactly (4 sigma)."""
CACHED_SHINGLES = 20_000_000
"""Shingles of kept rows held for exact comparison (8 bytes each); those of older rows are made again when needed."""
WORD = r"[\p{L}\p{M}]+|\p{N}+|[^\p{L}\p{M}\p{N}\s]"


class DedupNear(Filter):
    """Keep the first of each group of nearly equal trajectories.

    Similarity is the Jaccard index of the sets of word n-grams of reasoning and response, each number one word.
    A row is a duplicate if it is that similar to an earlier row that was *kept*, so a chain of small changes does
    not collapse texts that are far apart. Rows too short for one n-gram are kept: `dedup_exact` judges those.

    Score: similarity (0..1) to the kept row that it duplicates, 0 if there is none at or above the threshold.
    Rejects: near_duplicate.
    Abstains: missing_input.
    """

    threshold: Annotated[float, Field(ge=0.75, le=1)] = 0.85
    """Least similarity of a duplicate. Below 0.75 the bands would miss too many pairs."""
    ngram_words: Annotated[int, Field(ge=1, le=32)] = 5
    """Words in an n-gram."""
    within: Literal["dataset", "problem"] = "dataset"
    """``problem`` compares only samples of the same problem: formulaic texts of different problems are close."""

    reads = ("problem_id", "reasoning", "response")
    nullable = ("reasoning",)
    scope = "dataset"
    libraries = ("datasketch",)
    examples = (
        ({"problem_id": "a", "reasoning": " ".join(map(str, range(90))), "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "reasoning": " ".join(map(str, range(90))), "response": "It's 42."}, "near_duplicate"),
        ({"problem_id": "b", "reasoning": " ".join(map(str, range(91))), "response": "It is 42."}, "near_duplicate"),
        ({"problem_id": "b", "reasoning": " ".join(map(str, range(60))), "response": "It is 42."}, "keep"),
        ({"problem_id": "b", "reasoning": None, "response": "It is 42."}, "keep"),
        ({"problem_id": "b", "reasoning": "42", "response": None}, "missing_input"),
    )

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Look up each row among the rows kept so far, in order."""
        texts = rows.select(whole_text()).to_series()
        problems = rows["problem_id"].to_list()
        index = _Index(texts, self.ngram_words, self.threshold)
        for row, (signature, shingles) in enumerate(_sketches(texts, self.ngram_words)):
            group = problems[row] if self.within == "problem" else None
            match = None if signature is None else index.find_or_add(row, signature, shingles, group)
            if match is None:
                yield Verdict(KEEP.outcome, score=0.0)
            else:
                original, similarity = match
                evidence = f"{similarity:.3f} similar to trajectory {original} (problem {problems[original]})"
                yield reject("near_duplicate", similarity, evidence)


class _Index:
    """Kept rows, to be found by the bands of their signatures."""

    def __init__(self, texts: pl.Series, ngram_words: int, threshold: float) -> None:
        self.texts, self.ngram_words, self.threshold = texts, ngram_words, threshold
        self.signatures: dict[int, Any] = {}
        self.buckets: defaultdict[tuple[Any, int, bytes], list[int]] = defaultdict(list)
        self.cached: dict[int, pl.Series] = {}
        self.cached_shingles = 0

    def find_or_add(self, row: int, signature: Any, shingles: pl.Series, group: Any) -> tuple[int, float] | None:
        """The most similar kept row at or above the threshold and its similarity; without one, the row is kept."""
        keys = [(group, number, band.tobytes()) for number, band in enumerate(signature.reshape(-1, BAND_ROWS))]
        candidates = {other for key in keys for other in self.buckets.get(key, ())}
        likely = [c for c in sorted(candidates) if (signature == self.signatures[c]).mean() >= self.threshold - SCREEN]
        similarities = [(_jaccard(shingles, self._shingles(other)), -other) for other in likely]
        similarity, other = max(similarities, default=(0.0, 0))
        if similarity >= self.threshold:
            return -other, similarity
        self.signatures[row] = signature
        self._remember(row, shingles)
        for key in keys:
            self.buckets[key].append(row)
        return None

    def _shingles(self, row: int) -> pl.Series:
        if row in self.cached:
            return self.cached[row]
        return grams(tokens(self.texts[row : row + 1], WORD), self.ngram_words)["gram"].unique()

    def _remember(self, row: int, shingles: pl.Series) -> None:
        self.cached[row] = shingles
        self.cached_shingles += len(shingles)
        while self.cached_shingles > CACHED_SHINGLES:
            self.cached_shingles -= len(self.cached.pop(next(iter(self.cached))))


def _jaccard(a: pl.Series, b: pl.Series) -> float:
    import numpy as np

    both = len(np.intersect1d(a.to_numpy(), b.to_numpy(), assume_unique=True))
    return both / (len(a) + len(b) - both)


def _sketches(texts: pl.Series, ngram_words: int) -> Iterator[tuple[Any, pl.Series]]:
    """MinHash signature and distinct shingles of each text, in order; no signature where there is no n-gram."""
    from datasketch import MinHash

    for batch in batches(texts):
        windows = grams(tokens(batch, WORD), ngram_words)
        shingles = windows.group_by("row", maintain_order=True).agg(pl.col("gram").unique())
        # datasketch hashes what it is given with hashfunc: these are hashes already, and 32 bits suffice for a sketch.
        hashes = ((gram.to_numpy() >> 32).tolist() for gram in shingles["gram"])
        sketches = MinHash.generator(hashes, num_perm=PERMUTATIONS, hashfunc=int, scheme="affine32")
        found = {
            row: (sketch.hashvalues, gram)
            for row, sketch, gram in zip(shingles["row"], sketches, shingles["gram"], strict=True)
        }
        nothing = (None, pl.Series([], dtype=pl.UInt64))
        yield from (found.get(row, nothing) for row in range(len(batch)))
