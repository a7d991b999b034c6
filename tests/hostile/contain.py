"""Run every hostile program and judge it from the host. Standard library only, so that any user can run it.

Usage: ``python contain.py FOLDER``, where FOLDER holds the package ``filters``. Prints one JSON object: the programs,
each with its seconds, how it ended, what it breached and which processes it left.
"""

import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from programs import PROGRAMS

TIME_S = 1.0
MARK = f"pwned-{secrets.token_hex(8)}"
SECRET = secrets.token_hex(16)


class Host:
    """Canaries on the host, and what has become of them."""

    def __init__(self, stack: ExitStack) -> None:
        os.environ["HF_TOKEN"] = SECRET
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o777)
        self.file = self.folder / "canary"
        self.file.write_text(SECRET)
        self.file.chmod(0o666)
        self.folders = [str(self.folder), "/", "/etc", "/usr", "/usr/bin", "/root", "/var/tmp", "/tmp", "/dev/shm"]
        self.folders += [str(Path.home()), "/dev", "/proc"]
        kinds = [socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX]
        self.tcp, self.unix, self.abstract = (stack.enter_context(socket.socket(kind)) for kind in kinds)
        self.udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        for each in (self.tcp, self.udp):
            each.bind(("127.0.0.1", 0))
        self.unix.bind(f"{self.folder}/socket")
        Path(f"{self.folder}/socket").chmod(0o777)
        self.abstract.bind(f"\0{MARK}")
        for each in (self.tcp, self.unix, self.abstract):
            each.listen()
        for each in (self.tcp, self.unix, self.abstract, self.udp):
            each.setblocking(False)
        self.victim = stack.enter_context(subprocess.Popen(["sleep", "600"]))
        stack.callback(self.victim.kill)

    def told(self) -> bytes:
        facts = {
            "folders": self.folders, "mark": MARK, "file": str(self.file), "port": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1], "socket": f"{self.folder}/socket", "abstract": MARK,
            "victim": self.victim.pid, "harness": os.getpid(),
        }  # fmt: skip
        return json.dumps(facts).encode()

    def breaches(self, output: bytes) -> list[str]:
        found = ["it printed a secret"] if SECRET.encode() in output else []
        for folder in self.folders:
            with suppress(FileNotFoundError, PermissionError):
                Path(folder, MARK).lstat()
                found.append(f"it wrote to {folder}")
                Path(folder, MARK).unlink()
        if not self.file.exists() or self.file.read_text() != SECRET:
            found.append("the canary file changed")
        for name in ("tcp", "unix", "abstract", "udp"):
            try:
                canary = getattr(self, name)
                canary.recv(1) if name == "udp" else canary.accept()[0].close()
                found.append(f"it reached {name}")
            except BlockingIOError:
                pass
        if self.victim.poll() is not None:
            found.append("the victim is dead")
        return found


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    from filters._languages import python
    from filters._sandbox import run
    from filters._walls import Limits
    from filters._watchdog import family

    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # whatever outlives its parents becomes a child of this process
    path, binds = python()
    limits = Limits(time_s=TIME_S, memory_bytes=512 << 20)
    results = {}
    with ExitStack() as stack:
        host = Host(stack)
        for name, source in PROGRAMS.items():
            started = time.monotonic()
            ended = run(
                (path, "-s", "-B", "/box/program.py"),
                files={"program.py": source.encode()}, stdin=host.told(), limits=limits, binds=binds,
            )  # fmt: skip
            results[name] = {
                "seconds": time.monotonic() - started,
                "left": [pid for pid in family(os.getpid())[1:] if pid != host.victim.pid],
                "breaches": host.breaches(ended.stdout + ended.stderr),
                "stopped": ended.stopped,
                "exit_code": ended.exit_code,
                "output": ended.stdout.decode(errors="replace")[:2000] + ended.stderr.decode(errors="replace")[-500:],
            }
    print(json.dumps({"uid": os.getuid(), "python": path, "limit_s": TIME_S, "programs": results}))


if __name__ == "__main__":
    main()
