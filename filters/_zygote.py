"""The zygote of a worker pool: a fresh interpreter that imports the pool's function once and is forked for each worker.

So a killed worker is replaced in milliseconds, and the caller is never forked. The zygote stays single-threaded and
judges nothing itself; it knows nothing of deadlines: those are the caller's, who kills. `Zygote` is the caller's side,
`serve` and what follows it run in the zygote and in the workers.
"""

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

START_S = 120.0
"""How long a zygote may take to import its function on a busy machine."""

CPU_SLACK_S = 3
"""CPU seconds after its deadline at which the kernel ends a worker whose caller cannot."""

_BOOT = """
import json, sys, types
setup = json.loads(sys.argv[1])
sys.path[:] = setup.pop("path")
sys.modules["filters"] = types.ModuleType("filters")  # without Polars, whose threads must not be forked
sys.modules["filters"].__path__ = [setup.pop("package")]
from filters._zygote import serve
serve(**setup)
"""


class WorkerError(RuntimeError):
    """A worker could not start, so nothing can be judged at all."""


class Zygote:
    """The caller's handle of the process; it is ready when this is made.

    Args:
        target: ``module:function`` that the workers run.
        memory_bytes: Address space of a worker.
    """

    def __init__(self, target: str, memory_bytes: int) -> None:
        package = str(Path(__file__).parent.absolute())
        setup = {"path": sys.path, "package": package, "target": target, "memory_bytes": memory_bytes}
        inherited = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME")  # and no tokens
        environment = {name: os.environ[name] for name in inherited if name in os.environ}
        one_thread = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self.control, theirs = socket.socketpair()
        self.control.settimeout(START_S)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(setup)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment | one_thread | {"PYTHONHASHSEED": "0"},
                start_new_session=True,  # Ctrl-C is the caller's to handle
            )
        try:
            self._hear()
        except BaseException:
            self.close()
            raise

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its process id, and the channel on which it answers calls."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.control, [b"fork"], [theirs.fileno()])
            return self._hear()["pid"], ours

    def end(self, pid: int) -> None:
        """Kill a worker."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # the zygote has not waited for it, so this is still its pid
        with suppress(OSError, WorkerError):  # where the zygote is gone, so is its need to wait
            self.control.sendall(str(pid).encode())
            self._hear()

    def close(self) -> None:
        """End the zygote, which first ends all its workers."""
        self.control.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _hear(self) -> dict[str, Any]:
        received = b""
        while not received.endswith(b"\n"):
            try:
                chunk = self.control.recv(1 << 12)
            except TimeoutError:
                raise WorkerError(f"a worker process did not start within {START_S:.0f} s") from None
            if not chunk:
                raise WorkerError(f"a worker process could not start: it ended with status {self.process.wait()}")
            received += chunk
        message: dict[str, Any] = json.loads(received)
        if failure := message.get("failure"):
            raise WorkerError(f"a worker process could not start ({failure}): {message['detail']}")
        return message


def serve(target: str, memory_bytes: int) -> None:
    """Fork and end workers as the caller asks on standard input, until the caller is gone; then end them all."""
    control = socket.socket(fileno=os.dup(0))
    for stream in (0, 1):  # what a library prints must not become an answer
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    try:
        module, _, name = target.partition(":")
        function = getattr(importlib.import_module(module), name)
        getattr(function, "__globals__", {}).get("warm_up", lambda: None)()
    except Exception as error:
        _say(control, {"failure": "error", "detail": f"{type(error).__name__}: {error}"})
        return
    gc.freeze()  # what is shared with the workers stays shared
    _say(control, {})
    workers: set[int] = set()
    with suppress(ConnectionError):
        _obey(control, workers, function, memory_bytes)
    for pid in workers:
        _end(pid)


def _obey(control: socket.socket, workers: set[int], function: Callable[..., Any], memory_bytes: int) -> None:
    while True:
        message, channels, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            return
        if message == b"fork":
            pid = os.fork()
            if pid == 0:
                control.close()
                _work(socket.socket(fileno=channels[0]), function, memory_bytes)
            os.close(channels[0])
            workers.add(pid)
            _say(control, {"pid": pid})
        else:
            pid = int(message)
            workers.discard(pid)
            _end(pid)
            _say(control, {})


def _end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _work(channel: socket.socket, function: Callable[..., Any], memory_bytes: int) -> None:
    """Answer calls until the caller closes the channel. Never returns."""
    try:
        _limit_memory(memory_bytes)
        for line in channel.makefile("rb"):
            timeout_s, *arguments = json.loads(line)
            _limit_cpu(timeout_s)
            _say(channel, _answer(function, arguments))
    finally:
        os._exit(0)  # no clean-up of the zygote's: this process is its copy


def _answer(function: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"value": function(*arguments)}
    except MemoryError:
        return {"failure": "out_of_memory"}
    except Exception as error:
        return {"failure": "error", "detail": f"{type(error).__name__}: {error}"[:300]}


def _say(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def _limit_memory(memory_bytes: int) -> None:
    import resource

    with suppress(ValueError, OSError):  # macOS has no such limit; the deadline still holds
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_cpu(timeout_s: float) -> None:
    """Let the kernel end this process if its caller is gone and so cannot kill it."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + timeout_s) + CPU_SLACK_S, hard))
