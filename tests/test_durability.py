"""Killed, out of disk or with damaged files: sampling loses nothing acknowledged, asks nothing twice, ends the same.

DISTILL_KILLS=10 kills less often than 100 times, for speed. A kill or a full disk strikes at the n-th operation
on a file, before, amid or after it: between two of them the disk does not change.
"""

import errno
import multiprocessing
import os
import random
import shutil
import signal
from functools import partial
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from distill import sampler, samples, shards
from distill.engines.scripted import ScriptedEngine
from distill.journal import Journal
from distill.progress import Silent
from distill.recipe.trajectories import Generation
from distill.shards import JournalError

KILLS = int(os.environ.get("DISTILL_KILLS", "100"))
PROBLEMS = pl.DataFrame({"problem_id": [f"p{n}" for n in range(12)], "problem": [f"{n} + {n}?" for n in range(12)]})
SETTINGS = Generation(samples_per_problem=3)
LIMITS = {"flush_rows": 3, "seal_bytes": 1500, "flush_s": 60}
PRELOAD = ["pytest", "distill.run", "distill.trajectories", "distill.verdicts", "distill.dataset", "distill.page"]
WRITES = [(os, "write"), (os, "fdatasync"), (os, "fsync"), (Path, "write_bytes"), (Path, "write_text")]
OTHERS = [(os, "ftruncate"), (os, "replace"), (os, "rename"), (os, "unlink")]


def answer(request) -> str:
    return f"<think>\n{request.seed} ünï\n</think>\n\n" + "word " * (request.seed % 40)


def draw(folder, answer=answer, progress=None) -> pl.DataFrame:
    with ScriptedEngine(answer, name="script", in_flight=5) as engine:
        return sampler.sample(engine, PROBLEMS, SETTINGS, folder, name="t", progress=progress or Silent())


def strike_at(at: int, strike, operations) -> None:
    """From now on the n-th of these operations is `strike(real, arguments, n)`, where n is at least `at`."""
    counted = count(1)

    def struck(real, *arguments, **named):
        n = next(counted)
        return strike(real, arguments, n) if n >= at else real(*arguments, **named)

    for owner, name in operations:
        real = getattr(owner, name)
        replacement = partial(struck, real)
        setattr(owner, name, replacement if owner is os else lambda *a, _r=replacement, **k: _r(*a, **k))


def half(real, arguments) -> None:
    """Do what the operation does, to half of its data."""
    if real.__name__ in ("write", "write_bytes", "write_text"):
        real(arguments[0], arguments[1][: len(arguments[1]) // 2])


def killer(chance: random.Random):
    """Is killed before, amid or after the operation, by chance."""

    def die(real, arguments, n):
        match chance.randrange(3):
            case 1:
                half(real, arguments)
            case 2:
                real(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return die


@pytest.fixture
def tiny(monkeypatch):
    """A journal that is sealed every few rows, and operations put back after the test."""
    monkeypatch.setattr(sampler, "Journal", partial(Journal, **LIMITS))
    for owner, name in [*WRITES, *OTHERS]:
        monkeypatch.setattr(owner, name, getattr(owner, name))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pl.DataFrame:
    return draw(tmp_path_factory.mktemp("undisturbed"))


def journaled(folder: Path, copy: Path) -> pl.DataFrame:
    """What a reader finds, looked up in a copy: opening a journal mends it."""
    shutil.copytree(folder, copy)
    with Journal(copy / "journal.jsonl", samples.JOURNALED) as journal:
        return journal.scan().select(samples.COMPLETION.names()).collect()


# --- kill -9 ----------------------------------------------------------------------------------------------------------


class Noting(Journal):
    """Writes the key of each sample into a file once it is acknowledged."""

    def __init__(self, *arguments, acknowledged: int, write, **limits):
        super().__init__(*arguments, **limits)
        self.taken, self.acknowledged, self.write = [], acknowledged, write

    def append(self, row):
        with self._lock:
            self.taken.append(f"{row['problem_id']}#{row['sample']}\n")
            super().append(row)

    def flush(self):
        with self._lock:
            taken = len(self.taken)
            super().flush()
            self.write(self.acknowledged, "".join(self.taken[:taken]).encode())
            del self.taken[:taken]


def child(folder: Path, notes: Path, at: int, seed: int) -> None:
    """Sample, and be killed at the operation `at`."""
    chance, write = random.Random(seed), os.write
    asked, acknowledged = (os.open(notes / name, os.O_CREAT | os.O_APPEND | os.O_WRONLY) for name in ("asked", "acked"))
    limits = LIMITS | {"flush_s": chance.choice([0.002, 60])}
    shards.MERGED_FROM = 2
    sampler.Journal = partial(Noting, acknowledged=acknowledged, write=write, **limits)

    def noted(request) -> str:
        write(asked, f"{request.request_id}\n".encode())
        return answer(request)

    strike_at(at, killer(chance), [*WRITES, *OTHERS])
    draw(folder, noted)


def test_kill_9_loses_nothing_acknowledged_and_asks_none_of_it_twice(tmp_path, undisturbed):
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    chance, kills, expected = random.Random(4), 0, set(undisturbed.iter_rows())
    for attempt in count():
        folder, notes = tmp_path / f"run{attempt}", tmp_path / f"notes{attempt}"
        folder.mkdir()
        notes.mkdir()
        acknowledged: set[str] = set()
        for go in count():
            process = server.Process(target=child, args=(folder, notes, chance.randrange(1, 40), kills))
            process.start()
            process.join()
            asked = (notes / "asked").read_text().splitlines()
            assert acknowledged.isdisjoint(asked)
            (notes / "asked").write_text("")
            acknowledged |= set((notes / "acked").read_text().splitlines())
            found = journaled(folder, tmp_path / f"copy{attempt}-{go}")
            assert set(found.iter_rows()) <= expected
            assert acknowledged <= {f"{p}#{n}" for p, n in found.select("problem_id", "sample").iter_rows()}
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            kills += 1
        draw(folder).write_parquet(tmp_path / "table")
        undisturbed.write_parquet(tmp_path / "expected")
        assert (tmp_path / "table").read_bytes() == (tmp_path / "expected").read_bytes()
        if kills >= KILLS:
            return


# --- full disk --------------------------------------------------------------------------------------------------------


def failure_of(act) -> str:
    """What went wrong, or nothing."""
    try:
        act()
    except (JournalError, OSError) as error:
        return str(error)
    return ""


def test_a_disk_that_is_full_from_any_write_on_loses_nothing(tmp_path, tiny, undisturbed, monkeypatch):
    for at in count(1):
        folder, struck, acknowledged = tmp_path / str(at), [], set()

        def full(real, arguments, n, struck=struck):
            if not struck:
                half(real, arguments)
            struck.append(n)
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            for owner, name in WRITES:
                patch.setattr(owner, name, getattr(owner, name))
            noting = partial(Noting, acknowledged=acknowledged, write=lambda seen, keys: seen.update(keys.split()))
            patch.setattr(sampler, "Journal", partial(noting, **LIMITS))
            strike_at(at, full, WRITES)
            error = failure_of(lambda folder=folder: draw(folder))
        assert ("No space left" in error) == bool(struck)
        found = journaled(folder, tmp_path / f"copy{at}") if struck else undisturbed
        keys = {f"{p}#{n}".encode() for p, n in found.select("problem_id", "sample").iter_rows()}
        assert acknowledged <= keys
        asked = Interrupted(99)
        assert draw(folder, asked).equals(undisturbed)
        assert asked.asked == undisturbed.height - len(keys)
        if not struck:
            assert at > 30, "the run has fewer writes than it is meant to have"
            return


# --- damaged files ----------------------------------------------------------------------------------------------------


class Interrupted:
    """Answers so many requests, then is stopped."""

    def __init__(self, most: int):
        self.asked, self.most = 0, most

    def __call__(self, request):
        if self.asked == self.most:
            raise KeyboardInterrupt
        self.asked += 1
        return answer(request)


class Listening(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = ""

    def say(self, line):
        self.said += line


@pytest.mark.parametrize("file", ["journal.jsonl", "journal-00001.parquet", "journal.json"])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_file_is_noticed_and_asked_again_or_refused(tmp_path, tiny, undisturbed, file, damage):
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / "sound", Interrupted(20))
    whole = (tmp_path / "sound" / file).read_bytes()
    sealed = pl.read_parquet(tmp_path / "sound/journal-00001.parquet").height
    chance = random.Random(5)
    for offset in [0, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(14))]:
        folder = tmp_path / f"{offset}"
        shutil.copytree(tmp_path / "sound", folder, dirs_exist_ok=True)
        flipped = bytes([whole[offset] ^ 1 << chance.randrange(8)])
        (folder / file).write_bytes(whole[:offset] + (flipped + whole[offset + 1 :] if damage == "flip" else b""))
        asked, said = Interrupted(99), Listening()
        if file == "journal.json" and (damage == "flip" or whole[offset:].strip()):
            with pytest.raises(JournalError, match="damaged; put it back"):
                draw(folder, asked)
            (folder / file).write_bytes(whole)
            assert draw(folder).equals(undisturbed)
            continue
        assert draw(folder, asked, said).equals(undisturbed)
        match file:
            case "journal-00001.parquet":
                assert asked.asked == 16 + sealed
                assert f"{file} was damaged and is moved aside: its {sealed} samples are asked again" in said.said
                assert (folder / f"{file}.damaged").exists()
            case "journal.jsonl":
                assert asked.asked > 16


def test_shards_without_their_manifest_are_refused_not_deleted(tmp_path, tiny, undisturbed):
    draw(tmp_path)
    (tmp_path / "journal.json").rename(tmp_path / "elsewhere")
    shards = sorted(tmp_path.glob("*.parquet"))
    assert len(shards) > 2
    with pytest.raises(JournalError, match=r"is missing or does not name journal-00001\.parquet"):
        draw(tmp_path)
    assert sorted(tmp_path.glob("*.parquet")) == shards
    (tmp_path / "elsewhere").rename(tmp_path / "journal.json")
    assert draw(tmp_path, Interrupted(0)).equals(undisturbed)
