"""Untrusted programs in bubblewrap: no network, no host files, no privileges, bounded time, memory and output.

Every run gets its own namespaces, a read-only root that holds the system's programs and the given files, an empty
environment, a system-call filter and limits; nothing is written to the host's disk and no process outlives the run.
What a program prints is *untrusted text*: nothing here believes it. `filters._canaries` proves all this on the
machine at hand before anything is run. Standard library only, so that it can be tested as any user.
"""

import json
import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from filters._launch import launch
from filters._walls import SCRATCH, Limits, walls, within
from filters._watchdog import WATCHDOG, files_in, oom_kills, resident_bytes, tasks, waited_s

STDERR_BYTES = 4096
"""The last bytes of the error stream that are kept."""
BUSY_GRACE_S = 1.2
"""A program that waited for a busy machine gets that time back, but never more than this."""


class SandboxError(RuntimeError):
    """The sandbox itself failed, which says nothing about the program."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended."""

    stdout: bytes
    stderr: bytes
    """Its last bytes only."""
    exit_code: int | None
    """128 + signal where a signal ended it; None where it was stopped from outside."""
    stopped: str | None
    """The limit it was stopped for: time_limit, memory_limit, file_limit or output_limit, which are the program's
    fault, or busy_machine, machine_memory or sandbox_failed, which are not."""


class Sandbox:
    """One running program; use it in a ``with`` statement, whose end leaves no process.

    Args:
        command: Program and arguments, as paths inside.
        files: Name in `FOLDER` to content; all of them are readable and executable, none is writable.
        stdin: The whole input, or None for a conversation by `ask`.
        limits: What it may use. Its time runs only within `ask` and `finish`.
        binds: Folders of the host to be seen, read-only, besides ``/usr``.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        files: Mapping[str, bytes],
        limits: Limits,
        stdin: bytes | None = None,
        binds: Sequence[str] = (),
    ) -> None:
        self.limits = limits
        self.stopped: str | None = None
        self._oom_kills = oom_kills()
        self._buffer, self._stderr = bytearray(), b""
        self._spent_s = self._waited_before = 0.0
        self._resumed: float | None = None
        self._status, status = os.pipe()
        gate, opener = os.pipe()
        options = ["--json-status-fd", str(status), "--block-fd", str(gate), *walls(limits, binds)]
        try:
            self._process = launch(options, [*within(limits), *command], files, stdin, [status, gate])
            self._init, self._exits = self._init_process()
        except OSError as error:
            os.close(self._status)
            raise SandboxError(f"could not start bubblewrap: {error}") from error
        except SandboxError:
            os.close(self._status)
            raise
        finally:
            os.close(opener)
        WATCHDOG.add(self)

    def _init_process(self) -> tuple[int, int]:
        """The program itself, as process 1 of the sandbox: when it has ended, the kernel has ended all others.

        Its id, and a handle of it. Where bubblewrap has not come so far, or has given up since, it has said why.
        """
        said = b""
        while not said.endswith(b"\n") and (more := os.read(self._status, 4096)):
            said += more
        with suppress(ProcessLookupError):
            if said:
                init = int(json.loads(said)["child-pid"])
                return init, os.pidfd_open(init)
        _, stderr = self._process.communicate()
        raise SandboxError(stderr.decode(errors="replace").strip() or "bubblewrap said nothing")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        WATCHDOG.remove(self)
        self._end()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                with suppress(OSError):
                    stream.close()
        os.close(self._exits)
        os.close(self._status)

    def ask(self, request: bytes) -> bytes | None:
        """Write a request to its input and read one line of its output; None if it ended or was stopped instead."""
        assert self._process.stdin
        seen = 0
        self._resume()
        try:
            while request:
                request = request[self._process.stdin.write(request) :]
            while (end := self._buffer.find(b"\n", seen)) < 0:
                seen = len(self._buffer)
                if not self._read():
                    return None
        except BrokenPipeError:
            return None
        finally:
            self._pause()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def finish(self) -> Run:
        """Read to the end of its output, and say how it ended."""
        self._resume()
        while self._read():
            pass
        if self.stopped is None:
            self._process.wait()
        self._pause()
        self._end()
        exit_code = self._exit_code()
        if self.stopped is None and exit_code == 128 + signal.SIGKILL and oom_kills() > self._oom_kills:
            self.stopped = "machine_memory"
        if self.stopped is None and exit_code is None:
            self.stopped = "sandbox_failed"
        return Run(bytes(self._buffer), self._stderr, None if self.stopped else exit_code, self.stopped)

    def stop(self, reason: str) -> None:
        """End every process of the sandbox; the first reason given counts."""
        self.stopped = self.stopped or reason
        with suppress(OSError):
            signal.pidfd_send_signal(self._exits, signal.SIGKILL)

    def breach(self) -> str | None:
        """Name of the limit that the sandbox is over, or None."""
        if self._resumed is not None:
            lapsed, given_back = self._lapse()
            if self._spent_s + lapsed - given_back > self.limits.time_s:
                return "time_limit"
            if self._spent_s + lapsed > self.limits.time_s + BUSY_GRACE_S:
                return "busy_machine"
        if resident_bytes(self._init) > self.limits.memory_bytes:
            return "memory_limit"
        return "file_limit" if files_in(self._init, *SCRATCH) > self.limits.files else None

    def _read(self) -> bool:
        """Take in what is there to read, waiting for it; False where nothing will come any more."""
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout
        assert stderr
        poll = select.poll()
        for stream in (stdout, stderr):
            if not stream.closed:
                poll.register(stream, select.POLLIN)
        poll.register(self._exits, select.POLLIN)
        ready = {fd for fd, _ in poll.poll()}
        for stream in (stdout, stderr):
            if not stream.closed and stream.fileno() in ready:
                data = os.read(stream.fileno(), 1 << 16)
                if not data:
                    stream.close()
                elif stream is stdout:
                    self._buffer += data
                else:
                    self._stderr = (self._stderr + data)[-STDERR_BYTES:]
        if len(self._buffer) > self.limits.output_bytes:
            del self._buffer[self.limits.output_bytes :]
            self.stop("output_limit")
            return False
        return not (stdout.closed and stderr.closed) and ready != {self._exits}

    def _resume(self) -> None:
        self._waited_before = waited_s(self._init)
        self._resumed = time.monotonic()

    def _pause(self) -> None:
        lapsed, given_back = self._lapse()
        self._spent_s += max(lapsed - given_back, 0.0)
        self._resumed = None

    def _lapse(self) -> tuple[float, float]:
        """Seconds since its time began to run again, and those of them that it waited for others than itself."""
        resumed = self._resumed
        if resumed is None:
            return 0.0, 0.0
        waited = waited_s(self._init) - self._waited_before if tasks(self._init) == 1 else 0.0
        return time.monotonic() - resumed, waited

    def _end(self) -> None:
        with suppress(OSError):
            signal.pidfd_send_signal(self._exits, signal.SIGKILL)
        poll = select.poll()
        poll.register(self._exits, select.POLLIN)
        poll.poll()

    def _exit_code(self) -> int | None:
        self._process.wait()
        for line in os.read(self._status, 4096).splitlines():
            if "exit-code" in (said := json.loads(line)):
                return int(said["exit-code"])
        return None


def run(
    command: Sequence[str], *, files: Mapping[str, bytes], stdin: bytes, limits: Limits, binds: Sequence[str] = ()
) -> Run:
    """Run a program to its end.

    Raises:
        SandboxError: It could not be started.
    """
    with Sandbox(command, files=files, stdin=stdin, limits=limits, binds=binds) as sandbox:
        return sandbox.finish()
