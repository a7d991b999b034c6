"""The languages that programs may be written in, as data: one more language is one more entry."""

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of one language is run inside the sandbox."""

    tags: tuple[str, ...]
    """How fenced code blocks name it."""
    file: str
    """Name of the source file."""
    run: tuple[str, ...]
    """The command; ``{python}`` is the interpreter of `python`."""
    compile: str | None = None
    """Shell line that turns the source file into the program, written to standard output."""
    bounds_addresses: bool = True
    """False for runtimes that reserve far more addresses than they use."""

    def absent(self) -> str | None:
        """The program that this language needs and this machine lacks, or None."""
        needed = [self.compile.split()[0]] if self.compile else [self.run[0]]
        return next((p for p in needed if p != "{python}" and not shutil.which(p, path="/usr/bin:/bin")), None)


LANGUAGES = {
    "python": Language(("python", "py", "python3"), "program.py", ("{python}", "-s", "-B", "/box/program.py")),
    "c": Language(("c",), "program.c", ("/box/program",), "gcc -O2 -o /tmp/out program.c -lm >&2 && cat /tmp/out"),
    "cpp": Language(
        ("cpp", "c++", "cc", "cxx"),
        "program.cpp",
        ("/box/program",),
        "g++ -O2 -std=c++17 -o /tmp/out program.cpp >&2 && cat /tmp/out",
    ),
    "javascript": Language(("javascript", "js"), "program.js", ("node", "/box/program.js"), bounds_addresses=False),
    "bash": Language(("bash", "sh", "shell"), "program.sh", ("bash", "/box/program.sh")),
}


@cache
def python() -> tuple[str, tuple[str, ...]]:
    """Path of the interpreter that runs untrusted Python, and the folders it needs besides ``/usr``.

    The interpreter that this environment was made from, or the system's where the sandbox's user cannot reach that
    one (a home folder, for root).

    Raises:
        FileNotFoundError: There is neither.
    """
    base, prefix = os.path.realpath(getattr(sys, "_base_executable", sys.executable)), os.path.realpath(sys.base_prefix)
    if Path(base).is_relative_to("/usr"):
        return base, ()
    if Path(base).is_relative_to(prefix) and prefix not in ("/", str(Path.home())) and _reachable(prefix):
        return base, (prefix,)
    if system := shutil.which("python3", path="/usr/bin"):
        return os.path.realpath(system), ()
    raise FileNotFoundError(f"root's sandbox cannot reach {prefix}, and there is no /usr/bin/python3")


@cache
def python_version() -> str | None:
    """Version of `python`, or None where there is none."""
    try:
        said = subprocess.run([python()[0], "--version"], capture_output=True, text=True, check=True, env={})
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.split()[-1]


def _reachable(folder: str) -> bool:
    others = os.getuid() == 0
    path = Path(folder)
    return all(not others or p.stat().st_mode & stat.S_IXOTH for p in (path, *path.parents))
