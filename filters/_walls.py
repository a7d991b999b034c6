"""What the sandbox is made of, as command lines: whom it runs as, what it sees, what it may use.

Standard library only, so that it can be tested as any user.
"""

import functools
import math
import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "/box"
"""Where the given files lie inside, read-only."""
SCRATCH = ("/tmp", "/dev/shm")
"""The only writable folders inside; they live in memory and vanish with the run."""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2",
}  # fmt: skip
"""All that a program finds in its environment, besides its folder."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. Memory, processes and files count for all its processes together."""

    time_s: float = 10.0
    memory_bytes: int = 2048 * _MIB
    output_bytes: int = _MIB
    processes: int = 16
    scratch_bytes: int = 64 * _MIB
    files: int = 10_000
    bounds_addresses: bool = True
    """False for runtimes that reserve far more addresses than they use."""


@functools.cache
def unprivileged() -> tuple[str, ...]:
    """Root becomes a user that owns nothing: the limit on processes is void for root, in any namespace."""
    if os.getuid() != 0:
        return ()
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    spare = next(uid for uid in range(54_321, 60_000) if uid not in taken)
    return ("setpriv", f"--reuid={spare}", f"--regid={spare}", "--clear-groups", "--")


@functools.cache
def _system() -> tuple[str, ...]:
    """The system's programs and libraries, read-only, and nothing of ``/etc`` but what the loader needs."""
    words = ["--ro-bind", "/usr", "/usr"]
    for folder in ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"):
        path = Path(folder)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            words += ["--ro-bind", folder, folder]
    for needed in ("/etc/ld.so.cache", "/etc/alternatives"):
        words += ["--ro-bind-try", needed, needed]
    usage = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, check=False).stdout
    return (*words, *(["--disable-userns"] if "--disable-userns" in usage else []))


def walls(limits: Limits, binds: Sequence[str]) -> list[str]:
    """Namespaces and file systems. The process 1 inside is bubblewrap's own: its environment is bare too."""
    size = str(limits.scratch_bytes)
    words = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--cap-drop", "ALL"]
    words += ["--die-with-parent", "--as-pid-1", "--new-session", *_system()]
    words += [word for folder in binds for word in ("--ro-bind", folder, folder)]
    words += ["--proc", "/proc", "--dev", "/dev", "--size", size, "--tmpfs", SCRATCH[1], "--remount-ro", "/dev"]
    words += ["--size", size, "--tmpfs", SCRATCH[0], "--clearenv"]
    return words + [word for pair in ENVIRONMENT.items() for word in ("--setenv", *pair)]


def within(limits: Limits) -> list[str]:
    """Limits are set inside, in the new user namespace: there they count this sandbox's processes alone."""
    values = {
        "cpu": (resource.RLIMIT_CPU, math.ceil(limits.time_s * (os.cpu_count() or 1)) + 2),
        "as": (resource.RLIMIT_AS, limits.memory_bytes if limits.bounds_addresses else resource.RLIM_INFINITY),
        "fsize": (resource.RLIMIT_FSIZE, limits.scratch_bytes),
        "nproc": (resource.RLIMIT_NPROC, limits.processes),
        "nofile": (resource.RLIMIT_NOFILE, 128),
        "stack": (resource.RLIMIT_STACK, 64 * _MIB),
        "core": (resource.RLIMIT_CORE, 0),
    }
    words = ["prlimit"]
    for name, (kind, value) in values.items():
        hard = resource.getrlimit(kind)[1]
        bounded = min((v for v in (value, hard) if v != resource.RLIM_INFINITY), default="unlimited")
        words.append(f"--{name}={bounded}")
    return [*words, "--"]


def missing_programs() -> list[str]:
    """Programs that the sandbox is made of and that this machine lacks."""
    needed = ["bwrap", "prlimit"] + (["setpriv"] if os.getuid() == 0 else [])
    return [name for name in needed if shutil.which(name, path="/usr/bin:/bin") is None]
