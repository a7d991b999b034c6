"""Workers keep their deadline, die alone, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import filters
from filters._workers import WorkerError, WorkerPool

ROOT = Path(filters.__file__).parents[1]
TARGETS = """
import ctypes, os, time

def echo(value):
    print("noise that must not become an answer")
    return value

def act(what):
    if what == "sleep":
        time.sleep(60)
    if what == "hang in C":
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter: no Python signal handler can run
    if what == "swallow":
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    if what == "exit":
        os._exit(3)
    if what == "memory":
        bytearray(8 << 30)
    if what == "raise":
        raise KeyError("nothing here")
    return what

def environment():
    return sorted(os.environ)

def pid():
    return os.getpid()

def zygote():
    return os.getppid()

def threads_of_the_zygote():
    return len(os.listdir(f"/proc/{os.getppid()}/task"))
"""


@pytest.fixture
def pool_of(tmp_path, monkeypatch):
    (tmp_path / "worker_targets.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    pools = []

    def make(function: str, size: int = 2) -> WorkerPool:
        pools.append(WorkerPool(f"worker_targets:{function}", size=size))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def test_answers_come_in_the_order_of_the_calls(pool_of):
    values = [*range(150), "é\ud800\0\n", None, {"a": [1]}]
    assert [a.value for a in pool_of("echo").run([(v,) for v in values], timeout_s=5)] == values


@pytest.mark.parametrize(
    ("what", "failure"),
    [
        ("sleep", "timeout"),
        ("hang in C", "timeout"),
        ("swallow", "timeout"),
        ("exit", "worker_died"),
        ("memory", "out_of_memory"),
        ("raise", "error"),
    ],
)
def test_a_bad_call_fails_alone_and_in_time(pool_of, what, failure):
    pool = pool_of("act", size=1)
    pool.run([("warm",)], timeout_s=5)
    start = time.monotonic()
    before, bad = pool.run([("before",), (what,)], timeout_s=0.5)
    assert time.monotonic() - start < 0.5 + 1 + 1
    assert (before.value, bad.failure) == ("before", failure)
    assert pool.run([("after",)], timeout_s=5)[0].value == "after"


def test_a_worker_that_died_between_two_runs_is_replaced(pool_of):
    pool = pool_of("pid", size=1)
    [first] = pool.run([()], timeout_s=5)
    os.kill(first.value, signal.SIGKILL)
    time.sleep(0.1)
    second = pool.run([()] * 2, timeout_s=5)
    assert second[-1].value not in (None, first.value)


def test_a_killed_worker_is_replaced_without_importing_again(pool_of):
    pool = pool_of("zygote", size=1)
    [first] = pool.run([()], timeout_s=5)
    pool._end(pool._workers[0])
    assert pool.run([()], timeout_s=5)[0].value == first.value


def test_a_zygote_that_died_is_replaced(pool_of):
    pool = pool_of("zygote", size=1)
    [first] = pool.run([()], timeout_s=5)
    os.kill(first.value, signal.SIGKILL)
    time.sleep(0.1)
    assert pool.run([()], timeout_s=5)[0].value not in (None, first.value)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_the_zygote_has_one_thread_and_can_be_forked(pool_of):
    """Importing Polars starts threads: a zygote that imports a module of `filters` must not import Polars."""
    assert pool_of("threads_of_the_zygote", size=1).run([()], timeout_s=5)[0].value == 1
    pool = WorkerPool("filters._math:compare", size=1)
    pool.run([("x", "x", 0.0, "either", "stated")], timeout_s=20)
    assert len(list(Path(f"/proc/{pool._zygote.process.pid}/task").iterdir())) == 1
    pool.close()


def test_workers_do_not_see_the_callers_secrets(pool_of, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "HF_TOKEN" not in pool_of("environment").run([()], timeout_s=5)[0].value


def test_a_target_that_cannot_be_imported_is_an_error(pool_of):
    with pytest.raises(WorkerError, match="AttributeError"):
        pool_of("no_such_function").run([()], timeout_s=5)


def test_close_leaves_no_process(pool_of):
    pool = pool_of("pid")
    [answer] = pool.run([()], timeout_s=5)
    pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(answer.value, 0)


def run_script(code: str, tmp_path: Path, **kwargs) -> subprocess.CompletedProcess:
    (tmp_path / "worker_targets.py").write_text(TARGETS)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


def test_an_interpreter_that_ends_ends_its_workers(tmp_path):
    done = run_script(
        """
        from filters._workers import WorkerPool
        print(WorkerPool("worker_targets:pid").run([()], timeout_s=5)[0].value)
        """,
        tmp_path,
    )
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_a_killed_interpreter_does_not_leave_workers(tmp_path):
    done = run_script(
        """
        import os
        from filters._workers import WorkerPool
        pool = WorkerPool("worker_targets:pid", size=1)
        print(pool.run([()], timeout_s=5)[0].value, pool._zygote.process.pid, flush=True)
        os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    gone_in_time(done.stdout.split())


def test_a_killed_interpreter_ends_workers_that_hang(tmp_path):
    done = run_script(
        """
        import os, threading, time
        from filters._workers import WorkerPool
        pool = WorkerPool("worker_targets:act", size=1)
        pool.run([("warm",)], timeout_s=5)
        print(pool._workers[0].pid, pool._zygote.process.pid, flush=True)
        threading.Timer(0.5, os.kill, (os.getpid(), 9)).start()
        pool.run([("hang in C",)], timeout_s=60)
        """,
        tmp_path,
    )
    gone_in_time(done.stdout.split())


def gone_in_time(pids):
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert pids
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_interrupting_a_verdict_interrupts_the_caller(tmp_path):
    """Ctrl-C while Polars runs a filter reaches the caller as KeyboardInterrupt, and soon."""
    done = run_script(
        """
        import os, signal, threading, time
        import polars as pl
        from filters._workers import WorkerPool
        pool = WorkerPool("worker_targets:act")
        pool.run([("warm",)], timeout_s=5)
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        try:
            frame = pl.DataFrame({"a": ["sleep"] * 4})
            frame.select(pl.col("a").map_batches(lambda s: [pool.run([(v,) for v in s], timeout_s=20), s][1]))
        except KeyboardInterrupt:
            print("interrupted", time.monotonic() - start < 5)
        """,
        tmp_path,
    )
    assert done.stdout.strip() == "interrupted True", done


def test_a_forked_child_starts_workers_of_its_own(tmp_path):
    done = run_script(
        """
        import os
        from filters._workers import WorkerPool
        pool = WorkerPool("worker_targets:pid", size=1)
        [first] = pool.run([()], timeout_s=5)
        child = os.fork()
        if child == 0:
            [other] = pool.run([()], timeout_s=5)
            os._exit(0 if other.value not in (None, first.value) else 1)
        print(os.waitpid(child, 0)[1], pool.run([()], timeout_s=5)[0].value == first.value)
        """,
        tmp_path,
    )
    assert done.stdout.split() == ["0", "True"], done
