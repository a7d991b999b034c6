"""No answer stalls the verifier, exhausts the machine, runs, or is called what it is not."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hostile_answers import CANARY, HOSTILE

from filters import verify_math as module
from filters._watchdog import family, resident_bytes
from filters._workers import MEMORY_BYTES, WorkerPool

TIMEOUT_S = 0.4


def compare_all(monkeypatch) -> tuple[list[tuple[str, float]], int]:
    """Comparison and seconds of every hostile case, two at a time in workers of their own; and their most memory."""
    verifier, own = module.VerifyMath(timeout_s=TIMEOUT_S), threading.local()
    monkeypatch.setattr(module, "_pool", lambda: own.pool)
    monkeypatch.setattr(module, "_CACHE", {})
    waiting, results, others = list(enumerate(HOSTILE)), {}, {*family(os.getpid())}

    def compare() -> None:
        own.pool = WorkerPool("filters._math:compare", size=1)
        own.pool.run([("x", "x", 0.0, "either", "stated")], timeout_s=60)
        while waiting:
            place, (gold, answer, _) = waiting.pop()
            start = time.monotonic()
            results[place] = verifier.compare([(gold, answer)])[gold, answer], time.monotonic() - start
        own.pool.close()

    threads = [threading.Thread(target=compare) for _ in range(2)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max([most, *map(resident_bytes, {*family(os.getpid())} - others)])
        time.sleep(0.02)
    return [results[place] for place in range(len(HOSTILE))], most


def check(results: list[tuple[str, float]], most_bytes: int) -> None:
    false = {True: "different", False: "equal"}
    judged = zip(HOSTILE, results, strict=True)
    wrong = [(gold[:60], answer[:60]) for (gold, answer, right), (c, _) in judged if c == false[right]]
    print(len(HOSTILE), "hostile answers:", Counter(comparison for comparison, _ in results))
    assert wrong == []
    assert len(HOSTILE) >= 80
    assert max(seconds for _, seconds in results) < TIMEOUT_S + 1
    assert 0 < most_bytes <= MEMORY_BYTES
    assert not Path(CANARY).exists()


def test_hostile_answers(monkeypatch):
    check(*compare_all(monkeypatch))


@pytest.fixture
def gmpy2(tmp_path, monkeypatch):
    """Workers that find gmpy2, whose C code answers no signal, wherever it comes from."""
    if importlib.util.find_spec("gmpy2") is None:
        installer = [shutil.which("uv") or "uv", "pip", "install", "--python", sys.executable]
        if shutil.which("uv") is None:
            installer = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
        command = [*installer, "--quiet", "--no-deps", "--target", str(tmp_path), "gmpy2"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"gmpy2 is not installed and cannot be fetched: {error}")
        monkeypatch.syspath_prepend(str(tmp_path))
    pool = WorkerPool("gmpy2:version", size=1)
    assert pool.run([()], timeout_s=5)[0].value
    pool.close()


@pytest.mark.usefixtures("gmpy2")
def test_hostile_answers_with_gmpy2(monkeypatch):
    check(*compare_all(monkeypatch))
