"""One tokenisation, executed three ways: the slow obvious one below, NumPy's and Numba's."""

import os
import subprocess
import sys
import unicodedata

import numpy as np
import polars as pl
import pytest
from bench.corpus import frames
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from filters import _text
from filters._text import ngrams, spans, words

SPACE, LETTER, DIGIT, ALONE, SIGN = range(5)
CUT = {SPACE: 8, LETTER: 12, DIGIT: 3, ALONE: 1, SIGN: 1}


def kind(character: str) -> int:
    name = unicodedata.name(character, "")
    if character.isspace():
        return SPACE
    match unicodedata.category(character)[0]:
        case "L" | "M":
            return ALONE if name.startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI")) else LETTER
        case "N":
            return DIGIT
    return SIGN


def slow(text: str) -> list[tuple[bool, str]]:
    """Tokens, lower-cased, and whether they are signs."""
    found, place = [], 0
    while place < len(text):
        first, begin = kind(text[place]), place
        while place < len(text) and kind(text[place]) == first and place - begin < CUT[first]:
            place += 1
        if first != SPACE or place - begin == 8:
            lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in text[begin:place])
            lower = "" if first == SPACE else lower  # one white space is as good as another
            found.append((first in (SIGN, SPACE), lower))
    return found


@pytest.fixture(params=["never", "always"])
def loops(request, monkeypatch):
    if request.param == "always":
        pytest.importorskip("numba")
    monkeypatch.setattr(_text, "numba", request.param)


alphabet = st.sampled_from("abcxyzABCéßЖя019²½,.$\\{}_^=+- \n\t\u3000数学はカ한ไ\u0301\U0001d465\U0001f600∑ŸµÅ")


def check_hashes(texts: list[str | None]) -> None:
    """Equal tokens have equal hashes, others have others, and the top bit tells signs."""
    hashes = words(pl.Series(texts, dtype=pl.String)).to_list()
    seen: dict[int, tuple[bool, str]] = {}
    for hashed, tokens in zip(hashes, map(slow, (t or "" for t in texts)), strict=True):
        assert len(hashed) == len(tokens)
        for h, token in zip(hashed, tokens, strict=True):
            assert seen.setdefault(h, token) == token
            assert h >> 63 == token[0]
    assert len(set(seen.values())) == len(seen)


@given(st.lists(st.none() | st.text(alphabet, max_size=60) | st.text("aA1 \n", max_size=80), max_size=8))
@settings(deadline=None)
def test_tokens_are_those_of_the_slow_version(texts):
    check_hashes(texts)


def test_tokens_of_real_and_made_up_traces(loops, shared_data):
    made = pl.concat(frames(24))
    real = pl.read_ndjson(shared_data / "trajectories/zeroeval.jsonl")[:1500:20]
    check_hashes(made["reasoning"].to_list())
    check_hashes(real["response"].to_list())
    check_hashes([None, "", " ", "x" * 30, "1234567", "\n" * 17, " \t" * 4, None])


@given(st.lists(st.text(max_size=60) | st.text(alphabet, max_size=60), max_size=8), st.integers(1, 6))
@settings(deadline=None)
def test_compiled_loops_equal_whole_array_steps(texts, n):
    pytest.importorskip("numba")
    results = []
    for choice in ("never", "always"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_text, "numba", choice)
            hashed = words(pl.Series(texts, dtype=pl.String))
            grams = ngrams(hashed, n)
            loops, (flat, starts) = _text.array_loops(), _text.flat(grams)
            found = loops.found(flat, np.unique(flat[::3]))
            results.append((hashed, grams, pl.Series(loops.recurring(flat, starts)), pl.Series(found)))
    for array, compiled in zip(*results, strict=True):
        assert_series_equal(array, compiled)


@given(st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=6), st.integers(1, 5))
@settings(deadline=None)
def test_ngrams_equal_the_slow_version(texts, n):
    grams = ngrams(pl.Series(texts, dtype=pl.List(pl.UInt64)), n).to_list()
    expected = [[tuple(t[i : i + n]) for i in range(len(t) - n + 1)] for t in texts]
    assert [len(g) for g in grams] == [len(e) for e in expected]
    pairs = {(h, e) for g, es in zip(grams, expected, strict=True) for h, e in zip(g, es, strict=True)}
    assert len({h for h, _ in pairs}) == len({e for _, e in pairs}) == len(pairs)


def test_spans_are_the_tokens_in_the_text():
    line = "So \\frac{1234}{5} = 数学 …\n\n\n\n\n\n\n\n!"
    assert [line[a:b] for a, b in spans(line)] == [
        *["So", "\\", "frac", "{", "123", "4", "}", "{", "5", "}", "=", "数", "学", "…", "\n" * 8, "!"]
    ]


def test_a_process_compiles_nothing_that_another_one_has(tmp_path):
    pytest.importorskip("numba")
    code = "import polars as pl; from filters import _text, _kernels; _text.numba = 'always'; "
    code += "_text.words(pl.Series(['a b'])); print(sum(_kernels._hashed.stats.cache_misses.values()))"
    misses = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]
    assert misses == ["1\n", "0\n"]


def test_without_numba_the_arrays_do_it():
    code = "import sys; sys.modules['numba'] = None; import polars as pl; from filters import _text, _tokens; "
    code += (
        "_text.numba = 'always'; assert _text.array_loops() is _tokens; print(len(_text.words(pl.Series(['a b']))[0]))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "2\n"
