"""What the host sees of a sandbox from outside: its processes, memory, files and waiting time; and who ends it in time.

Limits of the kernel hold per process; without a cgroup only a parent that adds up can hold them for all processes
together. One thread looks at every live sandbox 20 times a second. Standard library only.
"""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

TICK_S = 0.05
"""Time between two looks at all sandboxes."""
RESERVE_SHARE = 0.04
"""Share of the machine's memory that is never given to sandboxes: below it, all of them are ended, undecided."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def family(pid: int) -> list[int]:
    """A process and all its descendants, whichever of their threads started them."""
    found = [pid]
    for parent in found:
        with suppress(*_GONE):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                with suppress(*_GONE):
                    found += map(int, (thread / "children").read_text().split())
    return found


def tasks(pid: int) -> int:
    """Threads of a process and of all its descendants."""
    count = 0
    for member in family(pid):
        with suppress(*_GONE):
            count += len(list(Path(f"/proc/{member}/task").iterdir()))
    return count


def resident_bytes(pid: int) -> int:
    """Memory of a process and all its descendants; what they share counts once for each."""
    total = 0
    for member in family(pid):
        with suppress(*_GONE):
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * _PAGE
    return total


def files_in(pid: int, *folders: str) -> int:
    """Files in the sandbox's own in-memory file systems. 0 where this user may not look (CPU time bounds them too)."""
    count = 0
    for folder in folders:
        with suppress(OSError):
            # Opened once: while a sandbox gets its own root, the same path leads to the host a moment later.
            inside = os.open(f"/proc/{pid}/root{folder}", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(inside).st_dev != Path(folder).stat().st_dev:
                    system = os.fstatvfs(inside)
                    count += system.f_files - system.f_ffree
            finally:
                os.close(inside)
    return count


def waited_s(pid: int) -> float:
    """Seconds that a process was ready to run while the machine was busy with others."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def oom_kills() -> int:
    """Processes that the kernel ended for want of memory, anywhere on this machine, since it started."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def memory_is_short() -> bool:
    """True where less than the reserve is left on the machine."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    left, total = (int(fields[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    return left < total * RESERVE_SHARE


class Watched(Protocol):
    """What the watchdog asks of a sandbox."""

    def breach(self) -> str | None:
        """Name of the limit that the sandbox is over, or None."""

    def stop(self, reason: str) -> None:
        """End every process of the sandbox, and remember why."""


class _Watchdog:
    """One thread for all sandboxes of this process; it ends when the last of them has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[Watched] = set()
        self._thread: threading.Thread | None = None

    def add(self, sandbox: Watched) -> None:
        with self._lock:
            self._watched.add(sandbox)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="sandbox-watchdog", daemon=True)
                self._thread.start()

    def remove(self, sandbox: Watched) -> None:
        with self._lock:
            self._watched.discard(sandbox)

    def _look(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(TICK_S)
            with self._lock:
                watched = list(self._watched)
                if watched:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > 1.0:
                    self._thread = None
                    return
            try:
                short = bool(watched) and memory_is_short()
                for sandbox in watched:
                    if reason := "machine_memory" if short else sandbox.breach():
                        sandbox.stop(reason)
            except Exception:  # nothing may run unwatched, whatever went wrong here
                for sandbox in watched:
                    sandbox.stop("sandbox_failed")


WATCHDOG = _Watchdog()
os.register_at_fork(after_in_child=WATCHDOG.__init__)  # type: ignore[misc]  # a fork has no watching thread
