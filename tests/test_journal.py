"""What the journal has acknowledged survives kill -9, torn tails, flipped bits and full disks."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill import journal as journal_module
from distill.journal import Journal, JournalError


def rows_of(path):
    with Journal(path) as journal:
        return list(journal.rows()), journal.damaged


def write(path, *rows):
    with Journal(path) as journal:
        for row in rows:
            journal.append(row)


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "j.jsonl"
    rows = [{"n": n, "text": "ünï\n\u2028 " * n} for n in range(200)]
    write(path, *rows[:150])
    write(path, *rows[150:])
    assert rows_of(path) == (rows, 0)


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
    found, damaged = rows_of(path)
    assert all(row in rows for row in found)
    assert len(found) >= 3
    assert damaged or len(found) == 4  # a flip in the last line break makes a torn tail, which is cut


def test_a_full_disk_acknowledges_nothing_that_is_not_there(tmp_path, monkeypatch):
    path = tmp_path / "j.jsonl"
    write(path, {"n": 0})
    with Journal(path) as journal:
        journal.append({"n": 1})

        def full(handle):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(JournalError, match=r"No space left on device; nothing acknowledged is lost"):
            journal.flush()
        monkeypatch.undo()
        assert list(journal.rows()) == [{"n": 0}]
    assert rows_of(path) == ([{"n": 0}, {"n": 1}], 0)


def test_rows_are_flushed_within_a_second(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(journal_module.time, "monotonic", lambda: now[0])
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.append({"n": 0})
        assert list(journal.rows()) == []
        now[0] = 1.5
        journal.append({"n": 1})
        assert len(list(journal.rows())) == 2


WRITER = """
import sys
from pathlib import Path
from distill.journal import Journal
with Journal(Path(sys.argv[1])) as journal:
    for n in range(10**9):
        journal.append({"n": n, "text": "x" * 3000})
        if not journal._pending:
            print(n, flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.02, 0.05, 0.11, 0.17])
def test_kill_9_loses_nothing_acknowledged(tmp_path, delay_s):
    path = tmp_path / "j.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        acknowledged = int(writer.stdout.readline())
        time.sleep(delay_s)
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    found, damaged = rows_of(path)
    assert damaged == 0
    assert [row["n"] for row in found] == list(range(len(found)))
    assert len(found) > acknowledged
