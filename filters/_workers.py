"""Worker processes that can be killed: untrusted work with a deadline that holds even inside C code.

A worker is a fresh interpreter (never a fork of the caller, who may hold torch, vLLM and their threads) that
imports one function and answers one call at a time over a pipe, in JSON. It limits itself by a timer and an
address-space limit; the caller owns the real deadline and kills what outlives it. This is no sandbox: it bounds
time and memory of trusted code on hostile input, and it must not be given hostile code.
"""

import atexit
import importlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

MEMORY_BYTES = 2 << 30
"""Address space of a worker."""
CALLS_PER_WORKER = 2_000
"""Calls after which a worker is replaced, so that caches of the library inside do not grow for ever."""
GRACE_S = 0.5
"""How long a worker may outlive its deadline before it is killed: its own timer, where it works, keeps it warm."""
START_S = 120.0
"""How long a worker may take to import its function on a busy machine."""
CALLS_PER_START = 50
"""Waiting calls that justify starting one more worker, given that a start costs seconds."""

_BOOT = "import json, sys; s = json.loads(sys.argv[1]); sys.path[:] = s['path']; from filters._workers import serve; "


class WorkerError(RuntimeError):
    """A worker could not start, so nothing can be judged at all."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one call: its value, or why there is none."""

    value: Any = None
    failure: str | None = None
    """None, timeout, out_of_memory, worker_died or error."""
    detail: str = ""


class WorkerPool:
    """Warm processes that run one function, started when first needed and replaced when killed.

    Args:
        target: ``module:function``; the function takes and returns what JSON can hold.
        size: Most processes at once; by default one per CPU.
    """

    def __init__(self, target: str, *, size: int | None = None) -> None:
        self.target = target
        self.size = size or os.cpu_count() or 1
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def run(self, calls: Sequence[Sequence[Any]], *, timeout_s: float) -> list[Answer]:
        """Run the function on each tuple of arguments, each within ``timeout_s``, and answer in their order."""
        with self._lock:
            try:
                return self._run(calls, timeout_s)
            except BaseException:
                self._stop_all()  # an interrupted call would answer into the next run
                raise

    def close(self) -> None:
        """End all workers and wait for them. A later `run` starts new ones."""
        with self._lock:
            self._stop_all()

    def _run(self, calls: Sequence[Sequence[Any]], timeout_s: float) -> list[Answer]:
        answers: list[Answer] = [Answer(failure="worker_died")] * len(calls)
        waiting = deque(enumerate(calls))
        while waiting or any(w.call is not None for w in self._workers):
            wanted = min(self.size, -(-len(waiting) // CALLS_PER_START))
            while len(self._workers) < wanted:
                self._workers.append(_Worker(self.target))
            for worker in self._workers:
                if worker.ready and worker.call is None and waiting:
                    worker.send(*waiting.popleft(), timeout_s)
            for worker in _awaken(self._workers):
                if (done := worker.receive()) is not None:
                    answers[done[0]] = done[1]
                if worker.spent:
                    worker.stop()
                    self._workers.remove(worker)
        return answers

    def _stop_all(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def _forget(self) -> None:
        # In a forked child the workers belong to the parent: close the pipes, or they would never see its end.
        for worker in self._workers:
            worker.process.returncode = 0
            worker.close_pipes()
        self._workers = []
        self._lock = threading.Lock()


class _Worker:
    """One process, at most one call in flight."""

    def __init__(self, target: str) -> None:
        setup = {"path": sys.path, "target": target, "memory_bytes": MEMORY_BYTES}
        inherited = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME")  # and no tokens
        environment = {name: os.environ[name] for name in inherited if name in os.environ}
        one_thread = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT + "serve(**s)", json.dumps(setup)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment | one_thread | {"PYTHONHASHSEED": "0"},
            start_new_session=True,  # Ctrl-C is the caller's to handle
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.ready = self.spent = False
        self.call: int | None = None
        self.calls = 0
        self.deadline = time.monotonic() + START_S
        self._received = bytearray()

    def send(self, call: int, arguments: Sequence[Any], timeout_s: float) -> None:
        self.call, self.calls = call, self.calls + 1
        self.deadline = time.monotonic() + timeout_s + GRACE_S
        try:
            self.stdin.write(json.dumps([timeout_s, *arguments]).encode() + b"\n")
            self.stdin.flush()
        except BrokenPipeError:
            self.deadline = 0.0  # it died between two calls; `receive` says so

    def receive(self) -> tuple[int, Answer] | None:
        """The answer that is due, if it is here, if the process died, or if time is up."""
        late = time.monotonic() >= self.deadline
        chunk = b"" if late else os.read(self.stdout.fileno(), 1 << 16)
        self._received += chunk
        if chunk and not self._received.endswith(b"\n"):
            return None
        message = json.loads(self._received) if chunk else {"failure": "timeout" if late else "worker_died"}
        self._received.clear()
        if not self.ready:
            self._started(message)
            return None
        self.spent = not chunk or message.get("failure") == "out_of_memory" or self.calls >= CALLS_PER_WORKER
        call, self.call = self.call, None
        return None if call is None else (call, Answer(**message))

    def _started(self, message: dict[str, str]) -> None:
        if failure := message.get("failure"):
            detail = message.get("detail") or f"it ended with status {self.process.poll()}"
            raise WorkerError(f"a worker process could not start ({failure}): {detail}")
        self.ready = True

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close_pipes()

    def close_pipes(self) -> None:
        for pipe in (self.stdin, self.stdout):
            with suppress(BrokenPipeError):  # unsent bytes for a process that is gone
                pipe.close()


def _awaken(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until some busy or starting worker has something to say or is late; return those."""
    busy = [w for w in workers if w.call is not None or not w.ready]
    if not busy:
        return []
    with selectors.DefaultSelector() as selector:
        for worker in busy:
            selector.register(worker.stdout, selectors.EVENT_READ, worker)
        patience_s = max(0.0, min(w.deadline for w in busy) - time.monotonic())
        spoke = [key.data for key, _ in selector.select(patience_s)]
    now = time.monotonic()
    return [w for w in busy if w in spoke or now >= w.deadline]


class _OutOfTime(BaseException):
    """Raised by the worker's own timer; not an Exception, so that libraries do not swallow it."""


def serve(path: list[str], target: str, memory_bytes: int) -> None:
    """Answer calls from standard input until it ends. Runs in the worker process."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not become an answer
    _limit_memory(memory_bytes)
    try:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
        function.__globals__.get("warm_up", lambda: None)()
    except Exception as error:
        _reply(replies, {"failure": "error", "detail": f"{type(error).__name__}: {error}"})
        return
    _reply(replies, {})

    def out_of_time(signum: int, frame: Any) -> None:
        raise _OutOfTime

    signal.signal(signal.SIGALRM, out_of_time)
    for line in sys.stdin.buffer:
        timeout_s, *arguments = json.loads(line)
        _limit_cpu(timeout_s)
        _reply(replies, _answer(function, arguments, timeout_s))


def _answer(function: Callable[..., Any], arguments: Sequence[Any], timeout_s: float) -> dict[str, Any]:
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, timeout_s)
            try:
                return {"value": function(*arguments)}
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except MemoryError:
            return {"failure": "out_of_memory"}
        except Exception as error:
            return {"failure": "error", "detail": f"{type(error).__name__}: {error}"[:300]}
    except _OutOfTime:  # outermost: the timer may also fire while another error is being handled
        return {"failure": "timeout"}


def _reply(replies: BinaryIO, message: dict[str, Any]) -> None:
    replies.write(json.dumps(message).encode() + b"\n")
    replies.flush()


def _limit_memory(memory_bytes: int) -> None:
    import resource

    with suppress(ValueError, OSError):  # macOS has no such limit; the deadline still holds
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_cpu(timeout_s: float) -> None:
    """Let the kernel end this process if its caller is gone and so cannot kill it."""
    import resource

    used_s = time.process_time()
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used_s + timeout_s + GRACE_S) + 2, hard))
