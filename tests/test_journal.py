"""What the journal has taken is on disk in time; what it has acknowledged survives torn and flipped bytes."""

import errno
import os
import time

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.journal import Journal, read_rows
from distill.shards import JournalError

SCHEMA = pl.Schema({"n": pl.Int32, "text": pl.String})


def rows_of(path):
    with Journal(path, SCHEMA) as journal:
        return found(journal), journal.damaged


def found(journal):
    return [{k: v for k, v in row.items() if v is not None} for row in journal.scan().collect().to_dicts()]


def write(path, *rows, **limits):
    with Journal(path, SCHEMA, **limits) as journal:
        for row in rows:
            journal.append(row)


@pytest.mark.parametrize("seal_bytes", [1, 3000, 10**9])
def test_rows_come_back_in_order(tmp_path, seal_bytes):
    path = tmp_path / "j.jsonl"
    rows = [{"n": n, "text": "ünï\n\u2028\x00 " * n} for n in range(200)]
    write(path, *rows[:150], seal_bytes=seal_bytes)
    write(path, *rows[150:], seal_bytes=seal_bytes)
    assert rows_of(path) == (rows, 0)
    assert bool([*tmp_path.glob("j-*.parquet")]) == (seal_bytes < 10**9)


def test_columns_that_no_schema_names_are_kept_and_those_that_rows_lack_are_null(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, {"n": 0, "status": None}, {"n": 1}, seal_bytes=1, flush_rows=2)
    write(path, {"n": 2, "text": "x", "status": 503})
    with Journal(path, SCHEMA) as journal:
        table = journal.scan().collect()
    assert table.to_dict(as_series=False) == {"n": [0, 1, 2], "text": [None, None, "x"], "status": [None, None, 503]}
    assert table.schema["n"] == pl.Int32


def test_many_small_shards_become_one_and_the_old_ones_go_a_call_later(tmp_path):
    path, rows = tmp_path / "j.jsonl", [{"n": n, "text": "x" * n} for n in range(40)]
    for row in rows:
        write(path, row, seal_bytes=1, flush_rows=1)
    assert len([*tmp_path.glob("j-*.parquet")]) < 40
    before = {*tmp_path.glob("j-*.parquet")}
    assert rows_of(path) == (rows, 0)
    write(path, {"n": 40}, seal_bytes=1, flush_rows=1)
    assert rows_of(path) == ([*rows, {"n": 40}], 0)
    assert len({*tmp_path.glob("j-*.parquet")}) < max(len(before), 17)


def test_a_reader_meanwhile_finds_what_it_was_told_of(tmp_path):
    path, rows = tmp_path / "j.jsonl", [{"n": n, "text": "x"} for n in range(16)]
    for row in rows:
        write(path, row, seal_bytes=1, flush_rows=1)
    reading = read_rows(path, SCHEMA)
    write(path, {"n": 16, "text": "x"})  # merges
    assert reading.collect().to_dicts() == rows
    assert read_rows(path, SCHEMA).collect().height == 17


def test_every_torn_tail_is_cut_and_written_over(tmp_path):
    path = tmp_path / "j.jsonl"
    write(path, {"n": 0}, {"n": 1})
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        write(path, {"n": 2})
        assert rows_of(path) == ([{"n": 0}, {"n": 2}], 0)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_costs_at_most_its_own_lines_and_is_noticed(tmp_path_factory, position, bit):
    path = tmp_path_factory.mktemp("flip") / "j.jsonl"
    rows = [{"n": n, "text": "x" * 20} for n in range(5)]
    write(path, *rows)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1 << bit
    path.write_bytes(data)
    left, damaged = rows_of(path)
    assert all(row in rows for row in left)
    assert len(left) >= 3
    assert damaged or len(left) == 4  # a flip in the last line break makes a torn tail, which is cut


def full(handle):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_acknowledges_nothing_that_is_not_there(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    write(path, {"n": 0})
    with Journal(path, SCHEMA, flush_s=60) as journal:
        journal.append({"n": 1})
        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(JournalError, match=r"No space left on device; nothing acknowledged is lost"):
            journal.flush()
        monkeypatch.undo()
        assert found(journal) == [{"n": 0}]
    assert rows_of(path) == ([{"n": 0}, {"n": 1}], 0)


@pytest.mark.parametrize("set_back_s", [0, 3600])
def test_a_row_is_on_disk_in_time_with_none_after_it_and_whatever_the_clock_says(tmp_path, monkeypatch, set_back_s):
    path, now = tmp_path / "j.jsonl", time.time()
    with Journal(path, SCHEMA, flush_s=0.05) as journal:
        journal.append({"n": 0})
        monkeypatch.setattr(time, "time", lambda: now - set_back_s)
        assert eventually(lambda: found(journal) == [{"n": 0}])


def test_a_flush_that_fails_unseen_is_raised_by_the_next_append(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    with Journal(path, SCHEMA, flush_s=0.02) as journal:
        monkeypatch.setattr(os, "fdatasync", full)
        journal.append({"n": 0})
        assert eventually(lambda: journal._failure is not None)
        with pytest.raises(JournalError, match="No space left"):
            journal.append({"n": 1})
        monkeypatch.undo()
    assert rows_of(path) == ([{"n": 0}, {"n": 1}], 0)


def eventually(condition) -> bool:
    return any(condition() or time.sleep(0.01) for _ in range(500))
