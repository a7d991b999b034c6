"""Worker processes that can be killed: untrusted work with a deadline that holds even inside C code.

A worker is a fork of a zygote, which is a fresh interpreter (never a fork of the caller, who may hold torch, vLLM
and their threads). It answers one call at a time over a socket, in JSON, under an address-space limit; the caller
owns the deadline and kills what outlives it. This is no sandbox: it bounds time and memory of trusted code on
hostile input, and it must not be given hostile code.
"""

import atexit
import json
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from filters._zygote import WorkerError, Zygote

__all__ = ["Answer", "WorkerError", "WorkerPool"]

MEMORY_BYTES = 2 << 30
"""Address space of a worker."""
CALLS_PER_WORKER = 2_000
"""Calls after which a worker is replaced, so that caches of the library inside do not grow for ever."""


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
        target: ``module:function``; the function takes and returns what JSON can hold. Its module may define
            ``warm_up()``, which runs once before the first call. Modules of this package are imported without its
            ``__init__``.
        size: Most processes at once; by default one per CPU.
    """

    def __init__(self, target: str, *, size: int | None = None) -> None:
        self.target = target
        self.size = size or os.cpu_count() or 1
        self._zygote: Zygote | None = None
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
        """End all processes and wait for them. A later `run` starts new ones."""
        with self._lock:
            self._stop_all()

    def _run(self, calls: Sequence[Sequence[Any]], timeout_s: float) -> list[Answer]:
        answers: list[Answer] = [Answer(failure="worker_died")] * len(calls)
        waiting = deque(enumerate(calls))
        while waiting or any(w.call is not None for w in self._workers):
            while len(self._workers) < min(self.size, len(waiting)):
                worker = self._fork()
                self._workers.append(worker)
            for worker in self._workers:
                if worker.call is None and waiting:
                    worker.send(*waiting.popleft(), timeout_s)
            for worker in _awaken(self._workers):
                if (done := worker.receive()) is not None:
                    answers[done[0]] = done[1]
                if worker.spent:
                    self._end(worker)
        return answers

    def _fork(self) -> "_Worker":
        if self._zygote is None or self._zygote.process.poll() is not None:
            self._stop_all()
            self._zygote = Zygote(self.target, MEMORY_BYTES)
        return _Worker(*self._zygote.fork())

    def _end(self, worker: "_Worker") -> None:
        self._workers.remove(worker)
        worker.channel.close()
        if self._zygote is not None:
            self._zygote.end(worker.pid)

    def _stop_all(self) -> None:
        for worker in self._workers:
            worker.channel.close()
        self._workers = []
        if self._zygote is not None:
            self._zygote.close()
        self._zygote = None

    def _forget(self) -> None:
        # In a forked child the processes belong to the parent: close the sockets, or they would never see its end.
        for worker in self._workers:
            worker.channel.close()
        if self._zygote is not None:
            self._zygote.process.returncode = 0
            self._zygote.control.close()
        self._workers, self._zygote = [], None
        self._lock = threading.Lock()


class _Worker:
    """One process, at most one call in flight."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid, self.channel = pid, channel
        self.spent = False
        self.call: int | None = None
        self.calls = 0
        self.deadline = 0.0
        self._received = bytearray()

    def send(self, call: int, arguments: Sequence[Any], timeout_s: float) -> None:
        self.call, self.calls = call, self.calls + 1
        self.deadline = time.monotonic() + timeout_s
        with suppress(ConnectionError):  # it died between two calls; `receive` says so
            self.channel.sendall(json.dumps([timeout_s, *arguments]).encode() + b"\n")

    def receive(self) -> tuple[int, Answer] | None:
        """The answer that is due, if it is here, if the process died, or if time is up."""
        late = time.monotonic() >= self.deadline
        chunk = b"" if late else self._read()
        self._received += chunk
        if chunk and not self._received.endswith(b"\n"):
            return None
        message = json.loads(self._received) if chunk else {"failure": "timeout" if late else "worker_died"}
        self._received.clear()
        self.spent = not chunk or message.get("failure") == "out_of_memory" or self.calls >= CALLS_PER_WORKER
        call, self.call = self.call, None
        return None if call is None else (call, Answer(**message))

    def _read(self) -> bytes:
        try:
            return self.channel.recv(1 << 16)
        except ConnectionError:
            return b""


def _awaken(workers: Sequence[_Worker]) -> list[_Worker]:
    """Wait until some busy worker has something to say or is late; return those."""
    busy = [w for w in workers if w.call is not None]
    if not busy:
        return []
    with selectors.DefaultSelector() as selector:
        for worker in busy:
            selector.register(worker.channel, selectors.EVENT_READ, worker)
        patience_s = max(0.0, min(w.deadline for w in busy) - time.monotonic())
        spoke = [key.data for key, _ in selector.select(patience_s)]
    now = time.monotonic()
    return [w for w in busy if w in spoke or now >= w.deadline]
