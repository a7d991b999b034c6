"""Real vLLM servers, all forked from one process that has imported vLLM once: an import costs ten seconds of processor
time, and each server and its engine would pay it. Run as a program: a JSON list, of each server its log and arguments.

On a CPU vLLM starts engines as fresh processes (spawn), to be safe from threads of its parent; there are none here yet.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_S = 300.0
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
COMMON = (
    *("--host", "127.0.0.1", "--served-model-name", "tiny", "--enforce-eager", "--dtype", "float32"),
    *("--max-model-len", "2048", "--max-num-seqs", "8"),
)


@contextmanager
def vllm_servers(models: Sequence[tuple[Path, tuple[str, ...]]]) -> Iterator[list[str]]:
    """A server for each model folder and its further arguments, by base URL; the model's name there is `tiny`."""
    with socket.socket() as first, socket.socket() as second:
        ports = []
        for free in (first, second)[: len(models)]:
            free.bind(("127.0.0.1", 0))
            ports.append(str(free.getsockname()[1]))
    wanted = [
        [str(folder / "server.log"), "--model", str(folder), "--port", port, *COMMON, *arguments]
        for (folder, arguments), port in zip(models, ports, strict=True)
    ]
    command = [sys.executable, "-W", "ignore", __file__, json.dumps(wanted)]
    launcher = subprocess.Popen(command, env=os.environ | SETTINGS, start_new_session=True)
    try:
        urls = [f"http://127.0.0.1:{port}/v1" for port in ports]
        for url in urls:
            _wait_for(launcher, url, time.monotonic() + START_S)
        yield urls
    finally:
        launcher.terminate()
        try:
            launcher.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(launcher.pid, signal.SIGKILL)
            launcher.wait()


def _wait_for(launcher: "subprocess.Popen[bytes]", url: str, deadline: float) -> None:
    while time.monotonic() < deadline:
        assert launcher.poll() is None, "a server ended; its log is beside the model"
        try:
            with urllib.request.urlopen(url + "/models", timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    raise TimeoutError(url)


def _serve(arguments: list[str]) -> None:
    from vllm.entrypoints.launchers.api_server.entry import main
    from vllm.v1.engine import utils
    from vllm.v1.executor import multiproc_executor

    log, *sys.argv[1:] = arguments
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    utils.get_mp_context = multiproc_executor.get_mp_context = lambda: multiprocessing.get_context("fork")
    main()


def _launch() -> None:
    import vllm.entrypoints.openai.api_server
    import vllm.v1.engine.core
    import vllm.v1.worker.cpu_worker  # noqa: F401 - what an engine and its worker would import

    servers = [
        multiprocessing.get_context("fork").Process(target=_serve, args=(each,)) for each in json.loads(sys.argv[1])
    ]
    for server in servers:
        server.start()

    def stop(*_: object) -> None:
        for server in servers:
            server.terminate()

    signal.signal(signal.SIGTERM, stop)
    while all(server.is_alive() for server in servers):
        servers[0].join(0.5)
    stop()
    for server in servers:
        server.join()


if __name__ == "__main__":
    _launch()
