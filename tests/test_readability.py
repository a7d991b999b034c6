"""Walls of text and code blocks in reasoning, measured on cases and on real solutions."""

import json
import re

import polars as pl
import pytest
from bench.corpus import frames

from filters.readability import Readability


def judge(reasoning, domain="math", **parameters):
    frame = pl.DataFrame({"reasoning": [reasoning], "response": ["42"], "domain": [domain]})
    return frame.select(Readability(**parameters).verdict()).item()


@pytest.mark.parametrize(
    ("reasoning", "score"),
    [
        ("", 0),
        ("abc", 3),
        ("abc\n\nde", 3),
        ("abc\nde", 6),
        ("a\n \t\nbcd", 3),
        ("a\r\n\r\nbcd", 3),
        ("  abc  \n\n\n\n de ", 3),
        ("ab\n```\nlong code\n\nmore code\n```\ncd", 2),
        ("ab\n```\nnever closed\n\nmore", 2),
        ("因为\n\n所以答案", 4),
    ],
)
def test_the_longest_paragraph(reasoning, score):
    assert judge(reasoning)["score"] == score


def test_words():
    assert judge("one two three\n\nfour", paragraph_unit="words")["score"] == 3
    assert judge("so " * 500, paragraph_unit="words", max_paragraph=500)["outcome"] == "keep"
    assert judge("so " * 501, paragraph_unit="words", max_paragraph=500)["reason"] == "long_paragraph"


@pytest.mark.parametrize(
    ("reasoning", "blocks"),
    [
        ("a `b` c", 0),
        ("```x```", 1),
        ("```\nx", 1),
        ("```\nx\n```\n```\ny\n```", 2),
        ("~~~\nx\n~~~", 1),
        ("a ~~~ b", 0),
    ],
)
def test_code_blocks_are_counted(reasoning, blocks):
    if blocks:
        assert judge(reasoning, max_code_blocks=blocks - 1)["reason"] == "code_in_reasoning"
    assert judge(reasoning, max_code_blocks=blocks)["outcome"] == "keep"
    assert judge(reasoning, domain="code")["outcome"] == "keep"
    assert judge(reasoning, domain=None)["outcome"] == ("reject" if blocks else "keep")


def test_evidence_shows_the_place():
    assert judge("Good.\n\n" + "wall " * 700 + "\n\nGood.")["evidence"].startswith("wall wall")
    assert judge("Try this:\n```python\nprint(1)\n```")["evidence"].startswith("```python\nprint(1)")


def test_every_planted_defect_of_the_corpus_is_found():
    rows = pl.concat(frames(500)).with_columns(Readability().verdict())
    reasons = dict(rows.group_by("planted").agg(pl.col("verdict_readability").struct.field("reason").unique()).rows())
    assert reasons.pop("code") == ["code_in_reasoning"]
    assert reasons.pop("long_paragraph") == ["long_paragraph"]
    assert "long_paragraph" in reasons.pop("loop")
    assert all(found == [None] for found in reasons.values())


def test_the_default_on_real_solutions(shared_data):
    """What the docstring of max_paragraph says."""

    def scores(texts):
        frame = pl.DataFrame({"reasoning": texts}).with_columns(response=pl.lit("42"), domain=pl.lit("math"))
        return frame.select(Readability().verdict()).to_series().struct.field("score")

    solutions = pl.read_ndjson(shared_data / "problems/math500.jsonl")["solution"]
    proofs = pl.read_ndjson(shared_data / "trajectories/dsmath_v2_proofs.jsonl")["response"]
    assert scores(pl.concat([solutions, proofs])).max() < 2000
    answers = pl.read_ndjson(shared_data / "trajectories/zeroeval.jsonl")["response"].drop_nulls()
    reasoning = pl.Series([r for r in map(_json_reasoning, answers) if r is not None])
    assert len(reasoning) > 2000
    assert (scores(reasoning) <= Readability().max_paragraph).mean() >= 0.999


def _json_reasoning(text):
    found = re.search(r'"reasoning":\s*("(?:[^"\\]++|\\.)*+")', text)
    try:
        return json.loads(found[1]) if found else None
    except ValueError:
        return None
