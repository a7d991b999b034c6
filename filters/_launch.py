"""Starting bubblewrap: files are handed over as sealed memory, never as paths. Standard library only."""

import fcntl
import os
import subprocess
from collections.abc import Mapping

from filters._seccomp import program as seccomp_program
from filters._walls import FOLDER, SCRATCH, unprivileged


def launch(
    options: list[str], command: list[str], files: Mapping[str, bytes], stdin: bytes | None, passed: list[int]
) -> subprocess.Popen[bytes]:
    """Start bubblewrap with nothing in its own environment; the descriptors passed to it are closed here."""
    given = {f"{FOLDER}/{name}": _memory_file(content) for name, content in files.items()}
    seccomp = _memory_file(seccomp_program())
    stdin_file = None if stdin is None else _memory_file(stdin)
    passed = [*passed, seccomp, *given.values()]
    copies = [word for path, fd in given.items() for word in ("--perms", "0555", "--file", str(fd), path)]
    last = ["--seccomp", str(seccomp), "--remount-ro", "/", "--chdir", SCRATCH[0], "--"]
    try:
        return subprocess.Popen(
            [*unprivileged(), "bwrap", *options, *copies, *last, *command],
            env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE if stdin_file is None else stdin_file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=passed,
            bufsize=0,
        )
    finally:
        for fd in passed if stdin_file is None else [*passed, stdin_file]:
            os.close(fd)


def _memory_file(content: bytes) -> int:
    """A sealed file without a name, so that nothing can be written through it."""
    fd = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(fd, 0, os.SEEK_SET)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
    return fd
