"""Near duplicates are exactly the rows that the slow definition names, and different problems stay apart."""

import itertools
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import Chain, _bands, _minhash, _shingles, _text
from filters.dedup_exact import DedupExact
from filters.dedup_near import DedupNear, rethreshold

WORDS = ["".join(letters) for letters in itertools.islice(itertools.product("abcdefgh", repeat=4), 400)]


def frame(texts, problems=None):
    problems = problems or ["p"] * len(texts)
    return pl.DataFrame(
        {"problem_id": problems, "sample": range(len(texts)), "reasoning": texts, "response": ["so"] * len(texts)}
    )


def rejected(rows, **parameters):
    verdicts = rows.select(DedupNear(**parameters).verdict()).to_series()
    return [v["outcome"] == "reject" for v in verdicts]


def shingles(text, n=5):
    words = f"{text}\nso".split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def slow(texts, threshold):
    kept, verdicts = [], []
    for text in texts:
        own = shingles(text)
        duplicate = any(len(own & other) / len(own | other) >= threshold for other in kept if own)
        verdicts.append(duplicate)
        if not duplicate and own:
            kept.append(own)
    return verdicts


def variants(seed: int, changes: tuple[int, ...]) -> list[str]:
    rng = random.Random(seed)
    base = rng.choices(WORDS, k=300)
    texts = []
    for count in changes:
        words = base.copy()
        for place in rng.sample(range(300), count):
            words[place] = "".join(rng.choices("xyz", k=12))
        texts.append(" ".join(words))
    return texts


def test_equal_to_the_slow_definition_on_graded_variants():
    """True Jaccard verification: no false positive; the bands miss at most 1 % at the threshold."""
    texts = [text for seed in range(40) for text in variants(seed, (0, 1, 2, 4, 8, 12, 30))]
    found, true = rejected(frame(texts)), slow(texts, 0.85)
    assert not any(f and not t for f, t in zip(found, true, strict=True))
    assert sum(found) >= 0.99 * sum(true)
    assert sum(true) >= 80


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), max_size=12).map(" ".join), max_size=10))
def test_identical_and_short_texts(texts):
    for found, true in zip(rejected(frame(texts), threshold=1.0), slow(texts, 1.0), strict=True):
        assert found == true


def test_formulaic_solutions_of_different_problems_are_kept():
    def solution(a, b):
        return (
            f"We start with {a}. Step 1: add {b}. ones: {a % 10} plus {b % 10} is {a % 10 + b % 10}, write "
            f"{(a + b) % 10} carry {(a % 10 + b % 10) // 10}. tens: {a // 10} plus {b // 10} is {a // 10 + b // 10}. "
            f"so {a + b}. Check: the last value is {a + b}. That matches."
        )

    pairs = [(a, b) for a in range(10, 50) for b in range(10, 50)]
    rows = frame([solution(a, b) for a, b in pairs], [f"{a}+{b}" for a, b in pairs])
    assert not any(rejected(rows))


def test_within_problem_compares_only_its_samples():
    [text] = variants(1, (0,))
    rows = frame([text] * 3, ["a", "b", "a"])
    assert rejected(rows) == [False, True, True]
    assert rejected(rows, within="problem") == [False, False, True]


def test_a_chain_of_small_changes_does_not_collapse():
    words = [f"w{i}" for i in range(300)]
    texts = [" ".join(["new"] * k + words[k:]) for k in range(0, 200, 10)]
    kept = [not r for r in rejected(frame(texts))]
    assert kept[0]
    assert 3 < sum(kept) < 20


def test_evidence_names_the_original():
    texts = variants(3, (0, 1))
    verdict = frame(texts, ["a", "b"]).select(DedupNear().verdict()).to_series()[1]
    assert verdict["evidence"].endswith("similar to a#0")
    assert verdict["score"] == pytest.approx(
        len(shingles(texts[0]) & shingles(texts[1])) / len(shingles(texts[0]) | shingles(texts[1]))
    )


def test_what_does_not_fit_in_memory_changes_no_verdict(monkeypatch):
    rows = frame([text for seed in range(8) for text in variants(seed, (0, 1, 12))] * 2)
    expected = rejected(rows)
    monkeypatch.setattr(_shingles, "HELD", 300)
    assert rejected(rows) == expected
    assert sum(expected) >= 32


def test_batches_hold_no_text_and_change_no_verdict():
    rows = frame([text for seed in range(8) for text in variants(seed, (0, 1, 12))])
    f = DedupNear()
    assert f.sketches(rows).dtype == pl.Struct({"group": pl.UInt64, "signature": pl.Array(pl.UInt32, 128)})
    batched = Chain([f]).judge_batches(lambda: rows.iter_slices(5)).to_series()
    assert batched.equals(rows.select(f.verdict()).to_series())


def some_pairs():
    """Texts of 300 words and how many of them differ, on both sides of the threshold."""
    return [(variants(seed, (0, changed)), changed) for seed in range(60) for changed in (1, 2, 4, 5, 6, 8)]


def test_recall_and_precision_around_the_threshold():
    found, true = [], []
    for texts, _ in some_pairs():
        a, b = map(shingles, texts)
        true.append(len(a & b) / len(a | b) >= 0.85)
        found.append(rejected(frame(texts))[1])
    assert not any(f and not t for f, t in zip(found, true, strict=True))
    assert sum(found) >= 0.99 * sum(true)
    assert 0 < sum(true) < len(true)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 59), st.sampled_from(["x", "y"])), max_size=5), max_size=8),
    st.sampled_from([0.5, 0.7, 0.85]),
)
def test_small_changes_of_one_text(changes, threshold):
    """At most what the bands miss differs from the slow definition: nothing that is called a duplicate is none."""
    base = WORDS[:60]
    texts = []
    for change in changes:
        words = base.copy()
        for place, word in change:
            words[place] = word
        texts.append(" ".join(words))
    rows = frame(texts)
    verdicts = rows.select(DedupNear(threshold=threshold).verdict()).to_series()
    for place, verdict in enumerate(verdicts):
        if verdict["outcome"] == "reject":
            original = int(verdict["evidence"].rpartition("#")[2])
            a, b = shingles(texts[original]), shingles(texts[place])
            assert verdicts[original]["outcome"] == "keep"
            assert verdict["score"] == pytest.approx(len(a & b) / len(a | b))
    assert len(set(texts)) >= sum(v["outcome"] == "keep" for v in verdicts)


def test_signatures_are_those_of_datasketch(monkeypatch):
    """Whole-array steps and compiled loops give the values of the library."""
    from datasketch import MinHash

    hashed = _text.words(pl.Series([*variants(5, (0, 3)), "too short", "", "one two three four five"]))
    sets = _minhash.shingles(hashed, 5)
    expected = [
        MinHash.bulk([(each >> np.uint64(32)).tolist()], num_perm=128, hashfunc=int, scheme="affine32")[0].hashvalues
        for each in sets
    ]
    for loops in ("never", "always"):
        monkeypatch.setattr(_text, "numba", loops)
        assert (_minhash.signatures(hashed, 5).to_numpy() == np.array(expected)).all()


def test_a_cluster_of_many_takes_linear_work(monkeypatch):
    """One boilerplate text again and again: each copy is compared with the one that is kept, not with all others."""
    compared = []
    jaccard = _minhash.jaccard
    monkeypatch.setattr(_minhash, "jaccard", lambda a, b: compared.append(1) or jaccard(a, b))
    texts = variants(1, (0,)) * 2000
    assert sum(rejected(frame(texts))) == 1999
    assert len(compared) == 1999


def test_banding_visits_few_pairs(monkeypatch):
    """Buckets of thousands are linked through a few of their rows."""
    pairs = []
    estimates = _bands.estimates
    monkeypatch.setattr(_bands, "estimates", lambda s, a, b: pairs.append(len(a)) or estimates(s, a, b))
    signatures = np.random.default_rng(0).integers(0, 1 << 32, (20_000, 128), dtype=np.uint32)
    signatures[:10_000, :64] = signatures[0, :64]
    _bands.candidates(signatures, np.zeros(20_000, np.uint64), 0.85)
    assert 0 < sum(pairs) <= 10_000 * (_bands.PIVOTS + 1) * 64 // _bands.band_length(0.85)


def test_rethreshold_keeps_only_what_is_less_similar():
    rows = frame([text for seed in range(10) for text in variants(seed, (0, 1, 2, 4, 5))])
    low = rows.select(DedupNear(threshold=0.8).verdict()).to_series()
    assert rethreshold(low, 0.8).equals(low)
    high = rethreshold(low, 0.95)
    assert high.dtype == low.dtype
    for before, after in zip(low, high, strict=True):
        assert after["score"] == before["score"]
        assert (after["outcome"] == "reject") == (before["outcome"] == "reject" and before["score"] >= 0.95)
    assert 0 < (high.struct.field("outcome") == "reject").sum() < (low.struct.field("outcome") == "reject").sum()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (("a b", "c"), (" a\u00a0 b\n", "c "), True),
        (("a b", "c"), ("a", "b c"), False),
        ((None, "c"), ("", "c"), False),
        (("a", "c"), ("ac", ""), False),
        (("ab", "c"), ("a b", "c"), False),
    ],
)
def test_exact_copies(first, second, same):
    reasoning, response = zip(first, second, strict=True)
    rows = pl.DataFrame({"problem_id": ["p", "p"], "sample": [3, 4], "reasoning": reasoning, "response": response})
    verdict = rows.select(DedupExact().verdict()).to_series()[1]
    assert (verdict["reason"] == "duplicate") == same
    assert verdict["evidence"] == ("same text as p#3" if same else None)
