"""The benchmarks' corpus is what it says: the same rows however cut, and defects where they are planted."""

import polars as pl
from bench.corpus import benchmarks, frames
from polars.testing import assert_frame_equal

from distill.schema import TRAJECTORY, check

ROWS = pl.concat(frames(1600, frame_rows=200))


def test_frames_do_not_change_the_rows():
    check(ROWS, TRAJECTORY, what="corpus", key=("problem_id", "sample"))
    assert_frame_equal(pl.concat(frames(40, frame_rows=7)), ROWS[:40])
    assert not frames(8, seed=1).__next__().equals(ROWS[:8])


def test_texts_have_the_length_of_r1_traces():
    assert 17_000 < ROWS["reasoning"].str.len_chars().mean() < 23_000


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def test_planted_copies_are_copies():
    for row in ROWS.filter(pl.col("planted").is_in(["exact_copy", "near_copy"])).iter_rows(named=True):
        number = int(row["problem_id"].rpartition("-")[2])
        near = ROWS.filter(pl.col("problem_id").is_in([f"corpus-0-{number}", f"corpus-0-{number - 1}"]))
        others = near.filter(pl.col("planted").is_null())["reasoning"].to_list()
        if row["planted"] == "exact_copy":
            assert row["reasoning"] in others
        else:
            mine = shingles(row["reasoning"])
            assert 0.85 <= max(len(mine & shingles(other)) / len(mine | shingles(other)) for other in others) < 1


def test_planted_shares_and_benchmark_items():
    shares = ROWS["planted"].str.replace("_..$", "").value_counts(normalize=True)
    found = dict(shares.iter_rows())
    assert {"loop", "foreign", "garbage", "code", "truncated", "near_copy", None} <= set(found)
    assert 0.75 < found[None] < 0.9
    assert len(set(benchmarks())) == 200
    assert benchmarks(1) != benchmarks(0)
