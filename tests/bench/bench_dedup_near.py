"""dedup_near against datasketch (bulk signatures and MinHashLSH), rensa and the steps of text-dedup; and its banding.

    python tests/bench/bench_dedup_near.py --rows 20000

All look for near duplicates by word 5-grams at a similarity of 0.85, with 128 permutations in 16 bands, each with the
tokeniser of its kind, on the same rows. Ours alone also reads the candidates again and compares them exactly. The
baselines run on the first ``--baseline-rows`` and their time is scaled to all. text-dedup does not install beside this
project (it wants an older rich and urllib3), so its steps are written here after its `minhash.py`, in one process.

Truth is the slow way: every row against all kept ones of its problem and of the problem before, where the corpus
plants its copies. Recall is the share of true duplicates that are rejected, precision the share of rejected that are.
"""

import argparse
import hashlib
import re
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from corpus import frames
from datasketch import MinHash, MinHashLSH
from rensa import RMinHash, RMinHashDeduplicator
from table import HEADER, row, timed

from filters import _text
from filters._bands import candidates
from filters._minhash import PERMUTATIONS, jaccard, shingles
from filters.dedup_near import DedupNear

THRESHOLD, N, BANDS, BAND_LENGTH = 0.85, 5, 16, 8
WORD, NON_WORD = re.compile(r"\w+|[^\w\s]"), re.compile(r"\W")
FRAME_ROWS = 1000


class Found(NamedTuple):
    """What a method says, and what it took."""

    seconds: float
    tokenise_s: float
    duplicate: list[bool]


def by_datasketch(texts: list[str]) -> Found:
    """Keep what shares no bucket with a kept row of that estimated similarity."""
    tokenise_s, sets = timed(lambda: [[gram.encode() for gram in grams] for grams in _grams(texts)])

    def duplicates() -> Iterator[bool]:
        index, kept = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, BAND_LENGTH)), {}
        for place, sketch in enumerate(MinHash.bulk(sets, num_perm=PERMUTATIONS)):
            duplicate = any(sketch.jaccard(kept[other]) >= THRESHOLD for other in index.query(sketch))
            if not duplicate:
                index.insert(place, sketch)
                kept[place] = sketch
            yield duplicate

    seconds, duplicate = timed(lambda: list(duplicates()))
    return Found(tokenise_s + seconds, tokenise_s, duplicate)


def by_rensa(texts: list[str]) -> Found:
    """The same by rensa's own deduplicator."""
    tokenise_s, sets = timed(lambda: list(_grams(texts)))

    def duplicates() -> list[bool]:
        sketches = RMinHash.from_token_sets(sets, PERMUTATIONS, 42)
        index = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, BANDS)
        return [not index.add(str(place), sketch) for place, sketch in enumerate(sketches)]

    seconds, duplicate = timed(duplicates)
    return Found(tokenise_s + seconds, tokenise_s, duplicate)


def by_text_dedup(texts: list[str]) -> Found:
    """All but the first of each cluster of rows that share buckets, whatever their similarity."""
    prime, most = np.uint64((1 << 61) - 1), np.uint64((1 << 32) - 1)
    a, b = np.random.default_rng(42).integers(1, prime, (2, PERMUTATIONS), dtype=np.uint64)
    tokenise_s, sets = timed(lambda: [_sha1_of_grams(text) for text in texts])

    def duplicates() -> list[bool]:
        buckets, parent = defaultdict(list), list(range(len(texts)))
        for place, hashes in enumerate(sets):
            signature = (((hashes[:, None] * a + b) % prime) & most).min(axis=0, initial=most)
            for number, band in enumerate(signature.reshape(BANDS, BAND_LENGTH)):
                buckets[number, band.byteswap().tobytes()].append(place)
        for bucket in buckets.values():
            for place in bucket[1:]:
                low, high = sorted((_root(parent, bucket[0]), _root(parent, place)))
                parent[high] = low
        return [_root(parent, place) != place for place in range(len(texts))]

    seconds, duplicate = timed(duplicates)
    return Found(tokenise_s + seconds, tokenise_s, duplicate)


def _grams(texts: list[str]) -> Iterator[list[str]]:
    for text in texts:
        found = WORD.findall(text.lower())
        yield list({" ".join(found[i : i + N]) for i in range(len(found) - N + 1)})


def _sha1_of_grams(text: str) -> np.ndarray:
    found = NON_WORD.split(text)
    grams = {" ".join(found[i : i + N]).lower().encode() for i in range(len(found) - N + 1)}
    return np.array([int.from_bytes(hashlib.sha1(gram).digest()[:4], "little") for gram in grams], np.uint64)


def _root(parent: list[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = place = parent[parent[place]]
    return place


def ours(parts: list[pl.DataFrame]) -> tuple[dict[str, float], Found]:
    """Seconds of each step, and what is found."""
    f = DedupNear(threshold=THRESHOLD, ngram_words=N)
    starts = np.cumsum([0, *map(len, parts)])

    def rows_at(places: pl.Series) -> Iterator[pl.DataFrame]:
        for part, (start, end) in zip(parts, pairwise(starts), strict=True):
            here = places.filter(places.is_between(start, end, closed="left"))
            if len(here):
                yield part[here - start].with_columns(place=here)

    tokenise_s, worded = timed(
        lambda: [p.with_columns(words=_text.words(p.select(_text.whole_text()).to_series())) for p in parts]
    )
    sign_s, sketches = timed(lambda: pl.concat([f.sketches(part) for part in worded]))
    signatures, groups = (sketches.struct.field(name).to_numpy() for name in ("signature", "group"))
    band_s, _ = timed(lambda: candidates(signatures, groups, THRESHOLD))
    judge_s, verdicts = timed(lambda: f.verdicts_of_sketches(sketches, rows_at).to_series())
    steps = {"tokenise": tokenise_s, "sign": sign_s, "band": band_s, "verify": judge_s - band_s}
    duplicate = (verdicts.struct.field("outcome") == "reject").to_list()
    return steps, Found(tokenise_s + sign_s + judge_s, tokenise_s, duplicate)


def slowly(parts: list[pl.DataFrame]) -> list[bool]:
    """Whether each row is a duplicate of one kept before it in its problem or the problem before."""
    duplicate, kept = [], {}
    for part in parts:
        number = part["problem_id"].str.extract(r"(\d+)$").cast(pl.Int64)
        sets = shingles(_text.words(part.select(_text.whole_text()).to_series()), N)
        for at, own in zip(number, sets, strict=True):
            near = [*kept.get(at - 1, []), *kept.setdefault(at, [])]
            duplicate.append(any(jaccard(own, other) >= THRESHOLD for other in near))
            if not duplicate[-1]:
                kept[at].append(own)
            kept.pop(at - 2, None)
    return duplicate


def quality(name: str, found: list[bool], true: list[bool]) -> str:
    """One line: recall and precision."""
    both = sum(f and t for f, t in zip(found, true, strict=False))
    recall, precision = both / max(sum(true[: len(found)]), 1), both / max(sum(found), 1)
    return f"{name:<44} {recall:>9.4f} {precision:>9.4f} of {sum(true[: len(found)])} duplicates"


def banding(rows: int) -> str:
    """Seconds and memory of banding random signatures, a twentieth of which are near copies of others."""
    random = np.random.default_rng(0)
    signatures = random.integers(0, 1 << 32, (rows, PERMUTATIONS), dtype=np.uint32)
    copies = random.choice(rows, rows // 20, replace=False)
    signatures[copies] = signatures[(copies + 1) % rows]
    signatures[copies[:, None], random.integers(0, PERMUTATIONS, (len(copies), 12))] = 0
    groups = np.zeros(rows, np.uint64)
    seconds, found = timed(lambda: candidates(signatures, groups, THRESHOLD))
    tracemalloc.start()
    candidates(signatures, groups, THRESHOLD)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (
        f"{rows:,} signatures banded: {seconds:.2f} s, {peak / 1e6:.0f} MB beside the signatures' "
        f"{signatures.nbytes / 1e6:.0f} MB, {len(found.rows):,} candidates   (target: <= 1 s, 0.5 GB)"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--baseline-rows", type=int, default=1000)
    parser.add_argument("--banded", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    parts = list(frames(options.rows, seed=options.seed, frame_rows=FRAME_ROWS))
    few = [text for part in parts for text in part.select(_text.whole_text()).to_series()][: options.baseline_rows]
    scale = options.rows / len(few)
    print(f"{options.rows} rows of {sum(map(len, few)) / len(few):.0f} characters; baselines on {len(few)}, scaled")
    steps, mine = ours(parts)
    peers: list[tuple[str, Callable[[list[str]], Found], str]] = [
        ("datasketch bulk + MinHashLSH", by_datasketch, ">= 15x"),
        ("rensa", by_rensa, ">= 1x"),
        ("text-dedup, its steps", by_text_dedup, ""),
    ]
    print(HEADER)
    found = {"ours": mine.duplicate}
    for name, peer, target in peers:
        theirs = peer(few)
        found[name] = theirs.duplicate
        print(row(name, theirs.seconds * scale, mine.seconds, target))
        rest = theirs.seconds - theirs.tokenise_s
        print(row("    without either tokeniser", rest * scale, mine.seconds - mine.tokenise_s))
        print(f"    its tokeniser is {theirs.tokenise_s / theirs.seconds:.0%} of its time")
    print("ours: " + ", ".join(f"{step} {seconds:.2f} s" for step, seconds in steps.items()))
    true = slowly(parts)
    print(f"\n{'':<44} {'recall':>9} {'precision':>9}")
    for name, flags in found.items():
        print(quality(name, flags, true))
    print(f"\n{banding(options.banded)}")


if __name__ == "__main__":
    main()
