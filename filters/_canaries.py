"""Proof that the sandbox holds on this machine, by programs that try to get out, once in each process.

A bubblewrap that is installed may still not work: containers and hardened kernels forbid it namespaces. So nothing is
looked up here; everything is tried. Standard library only.
"""

import functools
import json
import os
import secrets
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path

from filters._languages import python
from filters._sandbox import Run, SandboxError, run
from filters._walls import ENVIRONMENT, FOLDER, Limits, missing_programs

_PROBES = """
import ctypes, json, os, socket, subprocess, sys
from platform import machine

host = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)

def connects(family, address):
    with socket.socket(family) as s:
        s.settimeout(1)
        s.connect(address)
        return True

def writes(folder):
    path = os.path.join(folder, "canary")
    open(path, "w").close()
    return True

def forks_freely():
    try:
        for _ in range(2 * host["processes"]):
            if os.fork() == 0:
                os.read(pipe[0], 1)
                os._exit(0)
        return True
    finally:
        os.close(pipe[1])

pipe = os.pipe()
bpf, keyctl, io_uring = {"x86_64": (321, 250, 425), "aarch64": (280, 219, 425)}[machine()]
probes = {
    "it sees the caller's environment": lambda: set(os.environ) - set(host["environment"]),
    "process 1 shows the caller's environment": lambda: {
        word.split("=")[0] for word in open("/proc/1/environ").read().split(chr(0)) if word
    } - set(host["environment"]),
    "it reads files of the host": lambda: open(host["file"]).read() == host["secret"],
    "it sees the host's folders": lambda: os.listdir(host["folder"]) or True,
    "it writes to the host": lambda: writes(host["folder"]),
    **{f"it writes to {place}": lambda place=place: writes(place) for place in ("/", "/usr", "/etc", "/dev", "/box")},
    "it reaches the host's TCP": lambda: connects(socket.AF_INET, ("127.0.0.1", host["port"])),
    "it reaches the host's Unix sockets": lambda: connects(socket.AF_UNIX, host["socket"]),
    "it reaches the host's abstract sockets": lambda: connects(socket.AF_UNIX, chr(0) + host["abstract"]),
    "it may open vsock": lambda: socket.socket(40, socket.SOCK_STREAM),
    "it signals the host's processes": lambda: os.kill(host["pid"], 0) is None,
    "it is root": lambda: os.geteuid() == 0,
    "it forks without limit": forks_freely,
    "it makes user namespaces": lambda: libc.unshare(0x10000000) == 0,
    **{
        f"system call {name} reaches the kernel": lambda number=number: libc.syscall(number, -1, 0, 0) >= 0
        or ctypes.get_errno() != 1
        for name, number in (("bpf", bpf), ("keyctl", keyctl), ("io_uring_setup", io_uring))
    },
    "it has the caller's descriptors": lambda: set(os.listdir("/proc/self/fd")) - set("01234567"),
}
breaches = []
for name, probe in probes.items():
    try:
        if probe():
            breaches.append(name)
    except (OSError, ValueError):
        pass
print(json.dumps(breaches))
"""
_HOG = """
import os, time
for _ in range(2):
    if os.fork() == 0:
        held = os.urandom(55 << 20)
        time.sleep(2)
        os._exit(0)
os.wait()
os.wait()
"""
CURES = (
    ("bwrap: not found", "apt-get install bubblewrap"),
    ("prlimit: not found", "apt-get install util-linux"),
    ("setpriv: not found", "apt-get install util-linux"),
    (
        "namespace",
        "user namespaces are blocked: sysctl -w kernel.unprivileged_userns_clone=1 "
        "kernel.apparmor_restrict_unprivileged_userns=0 user.max_user_namespaces=10000 (those that exist), "
        "or in a container let it make them (docker run --security-opt seccomp=unconfined "
        "--security-opt apparmor=unconfined)",
    ),
)
"""What an error says, and what to do about it."""


@functools.cache
def faults_of_sandbox() -> str:
    """What is wrong with the sandbox on this machine and how to cure it; empty where it holds."""
    if missing := missing_programs():
        return _with_cure("; ".join(f"{name}: not found" for name in missing))
    try:
        breaches = _breaches() + _unbounded()
    except (SandboxError, OSError, ValueError) as error:
        return _with_cure(str(error))
    return "; ".join(breaches)


def _with_cure(fault: str) -> str:
    cure = next((cure for sign, cure in CURES if sign in fault), None)
    return f"{fault}. Cure: {cure}" if cure else fault


def _breaches() -> list[str]:
    """Set canaries on the host, and see which of them a program in the sandbox reaches."""
    limits = Limits(time_s=20.0)
    secret = secrets.token_hex(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o777)
        file = folder / "secret"
        file.write_text(secret)
        file.chmod(0o644)
        tcp, unix, abstract = (stack.enter_context(socket.socket(f)) for f in (socket.AF_INET, *[socket.AF_UNIX] * 2))
        tcp.bind(("127.0.0.1", 0))
        unix.bind(f"{folder}/socket")
        (folder / "socket").chmod(0o777)
        abstract.bind(f"\0{secret}")
        for listening in (tcp, unix, abstract):
            listening.listen()
        ended = _run_python(_PROBES, limits, {
            "environment": [*ENVIRONMENT, "PWD"], "file": str(file), "folder": str(folder), "secret": secret,
            "port": tcp.getsockname()[1], "socket": f"{folder}/socket", "abstract": secret,
            "pid": os.getpid(), "processes": limits.processes,
        })  # fmt: skip
    if ended.stopped or ended.exit_code != 0:
        said = ended.stderr.decode(errors="replace")[-300:].strip()
        raise SandboxError(f"the probes did not run ({ended.stopped or ended.exit_code}): {said}")
    return [str(breach) for breach in json.loads(ended.stdout)]


def _unbounded() -> list[str]:
    """Two children that hold more than the limit together, but not alone, must be found and ended."""
    ended = _run_python(_HOG, Limits(time_s=20.0, memory_bytes=100 << 20), {})
    return [] if ended.stopped == "memory_limit" else [f"memory of children is not bounded ({ended.stopped or ended})"]


def _run_python(source: str, limits: Limits, given: dict[str, object]) -> Run:
    path, binds = python()
    command = (path, "-s", "-B", f"{FOLDER}/probe.py")
    files = {"probe.py": source.encode()}
    return run(command, files=files, stdin=json.dumps(given).encode(), limits=limits, binds=binds)
