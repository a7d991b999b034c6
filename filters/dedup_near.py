"""Near deduplication: texts that differ in a few words teach the same thing twice.

MinHash signatures and banding find candidates (`_minhash`, `_bands`); each is then compared exactly, so that nothing
is called a duplicate by chance. Only the texts of candidates are read again. Paraphrases are not found.
"""

from collections import defaultdict
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Literal

import polars as pl
from pydantic import Field

from filters import VERDICT, Filter, RowsAt, verdict_where

if TYPE_CHECKING:
    from filters._bands import Candidates
    from filters._minhash import Signatures
    from filters._shingles import Shingles
    from filters._tokens import Hashes, Places

_NUMBERS = " ".join(map(str, range(90)))


class DedupNear(Filter):
    """Keep the first of each group of nearly equal trajectories.

    Similarity is the Jaccard index of the sets of word n-grams of reasoning and response. A row is a duplicate if it
    is that similar to an earlier row that was *kept*, so a chain of small changes does not collapse texts that are far
    apart, and the kept row that the evidence names stands for its cluster. Rows too short for one n-gram are kept:
    `dedup_exact` judges those.

    At the threshold itself up to 0.5 % of the pairs are missed, above it fewer; whatever is found was compared
    exactly. Numbers are words, cut every three digits, so that formulaic solutions with other numbers differ in every
    n-gram around them; where they still come close, ``within: problem`` keeps problems apart.

    Score: exact similarity (0..1) to the most similar row kept before it; below the threshold a lower bound, 0 if no
    row was compared. `rethreshold` applies a higher threshold to verdicts.
    Rejects: near_duplicate.
    Abstains: missing_input.
    """

    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.85
    """Least similarity of a duplicate. The lower it is, the more rows must be compared."""
    ngram_words: Annotated[int, Field(ge=1, le=32)] = 5
    """Words in an n-gram."""
    within: Literal["dataset", "problem"] = "dataset"
    """``problem`` compares only samples of the same problem: formulaic texts of different problems are close."""

    reads = ("problem_id", "sample", "reasoning", "response")
    nullable = ("sample", "reasoning")
    features = ("words",)
    scope = "dataset"
    libraries = ("datasketch",)
    examples = (
        ({"problem_id": "a", "sample": 0, "reasoning": _NUMBERS, "response": "It is 42."}, "keep"),
        ({"problem_id": "a", "sample": 1, "reasoning": _NUMBERS, "response": "It's 42."}, "near_duplicate"),
        ({"problem_id": "b", "sample": 0, "reasoning": _NUMBERS + " 90", "response": "It is 42."}, "near_duplicate"),
        ({"problem_id": "b", "sample": 1, "reasoning": _NUMBERS[:180], "response": "It is 42."}, "keep"),
        ({"problem_id": "b", "sample": None, "reasoning": None, "response": "It is 42."}, "keep"),
        ({"problem_id": "b", "sample": 2, "reasoning": "42", "response": None}, "missing_input"),
    )

    def sketch(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Signature (512 bytes) and, if only samples of one problem are compared, the hash of its id."""
        from filters._minhash import signatures

        group = pl.col("problem_id").hash() if self.within == "problem" else pl.lit(0, pl.UInt64)
        return rows.select(group=group, signature=pl.lit(signatures(rows["words"], self.ngram_words)))

    def judge_sketches(self, sketches: pl.DataFrame, rows_at: RowsAt) -> pl.Series:
        """Find candidates among all rows, then compare these, in order, with the ones kept before them."""
        from filters._bands import candidates
        from filters._shingles import Shingles

        signatures = sketches["signature"].to_numpy()
        found = candidates(signatures, sketches["group"].to_numpy(), self.threshold)
        with TemporaryFile(prefix="shingles-") as file:
            kept = _Kept(self, signatures, found, Shingles(file))
            judged = [verdict for rows in _read(rows_at, found.rows) for verdict in kept.judge(rows)]
        schema = {"place": pl.Int64, "score": pl.Float64, "evidence": pl.String}
        every = pl.DataFrame({"place": pl.int_range(len(sketches), eager=True)})
        every = every.join(pl.DataFrame(judged, schema, orient="row"), on="place", how="left", maintain_order="left")
        duplicate = pl.col("evidence").is_not_null()
        score = pl.col("score").fill_null(0)
        verdict = verdict_where(score=score, rejects={"near_duplicate": duplicate}, evidence=pl.col("evidence"))
        return every.select(verdict).to_series()


class _Kept:
    """The candidates kept so far, for later ones to be compared with."""

    def __init__(self, f: DedupNear, signatures: "Signatures", found: "Candidates", shingles: "Shingles") -> None:
        self.filter, self.signatures, self.found = f, signatures, found
        self.by_bucket: defaultdict[int, list[int]] = defaultdict(list)
        self.names: dict[int, str] = {}
        self.shingles = shingles
        """Of those that a later row may be compared with."""

    def judge(self, rows: pl.DataFrame) -> Iterator[tuple[int, float, str | None]]:
        """Place, best similarity and evidence of each of the next candidates; no evidence if it is kept."""
        from filters._minhash import jaccard, shingles

        names = rows.select(pl.concat_str("problem_id", pl.format("#{}", "sample"), ignore_nulls=True)).to_series()
        sets = shingles(rows["words"], self.filter.ngram_words)
        for place, name, own in zip(rows["place"], names, sets, strict=True):
            compared = ((jaccard(own, self.shingles[other]), -other) for other in self._likely(place))
            similarity, nearest = max(compared, default=(0.0, 0))
            if similarity >= self.filter.threshold:
                yield place, similarity, f"{similarity:.3f} similar to {self.names[-nearest]}"
            else:
                yield place, similarity, None
                self._keep(place, name, own)
        self._forget(rows["place"][-1])

    def _keep(self, place: int, name: str, own: "Hashes") -> None:
        if self.found.last[self.found.rows.searchsorted(place)] == place:
            return  # no later row is compared with it
        self.names[place], self.shingles[place] = name, own
        for bucket in self._buckets(place):
            self.by_bucket[bucket].append(place)

    def _buckets(self, place: int) -> list[int]:
        buckets = self.found.buckets[self.found.rows.searchsorted(place)]
        return list(map(int, buckets[buckets >= 0]))

    def _likely(self, place: int) -> list[int]:
        """Kept rows that share a bucket with this one and whose signature is not far from its own."""
        import numpy as np

        from filters._bands import SLACK, estimates

        others = np.array(sorted({o for bucket in self._buckets(place) for o in self.by_bucket[bucket]}), np.int64)
        alike = estimates(self.signatures, np.full(len(others), place), others) >= self.filter.threshold - SLACK
        return list(map(int, others[alike]))

    def _forget(self, now: int) -> None:
        """Drop the shingles that no row after this one is compared with."""
        import numpy as np

        held = np.array(self.shingles.held_places, np.int64)
        self.shingles.drop(held[self.found.last[self.found.rows.searchsorted(held)] <= now].tolist())


def rethreshold(verdicts: pl.Series, threshold: float) -> pl.Series:
    """Verdicts of `DedupNear` with a higher threshold than they were judged at: less similar duplicates are kept.

    Whatever is still rejected is that similar to the row its evidence names, which is kept. Judging anew may reject a
    few more: rows that are near one that was a duplicate before and now is not. A lower threshold needs judging anew.
    """
    verdict = pl.col("verdict").struct
    below = (verdict.field("reason") == "near_duplicate") & (verdict.field("score") < threshold)
    none = pl.lit(None, pl.String)
    kept = pl.struct(outcome=pl.lit("keep"), reason=none, score=verdict.field("score"), evidence=none).cast(VERDICT)
    raised = pl.when(below.fill_null(False)).then(kept).otherwise("verdict")
    return verdicts.alias("verdict").to_frame().select(raised.alias(verdicts.name)).to_series()


def _read(rows_at: RowsAt, places: "Places") -> Iterator[pl.DataFrame]:
    """The rows at these places; reading ends with the last of them."""
    left = len(places)
    batches = rows_at(pl.Series(places, dtype=pl.Int64)) if left else iter(())
    while left:
        rows = next(batches)
        left -= len(rows)
        yield rows
