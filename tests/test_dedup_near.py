"""Near duplicates are exactly the rows that the slow definition names, and different problems stay apart."""

import itertools
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters import dedup_near
from filters.dedup_near import DedupNear

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


def test_a_full_cache_changes_no_verdict(monkeypatch):
    rows = frame([text for seed in range(8) for text in variants(seed, (0, 1, 12))])
    expected = rejected(rows)
    monkeypatch.setattr(dedup_near, "CACHED_SHINGLES", 300)
    assert rejected(rows) == expected
