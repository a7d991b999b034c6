"""What runs inside the worker processes of `filters._workers`: one zygote a pool, and the workers that it forks.

The zygote is a fresh interpreter that imports the pool's function once and is forked for every worker, so that a
killed worker is replaced in milliseconds. It stays single-threaded and judges nothing itself. It knows nothing of
deadlines: those are the caller's, who kills.
"""

import gc
import importlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

CPU_SLACK_S = 3
"""CPU seconds after its deadline at which the kernel ends a worker whose caller cannot."""


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
