"""The sandbox: 53 hostile programs as two users, judged from the host; and probes that notice each missing wall."""

import ast
import json
import os
import runpy
import shutil
import signal
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from filters import _canaries as canaries
from filters import _launch as launch_module
from filters import _sandbox as sandbox_module
from filters._languages import python
from filters._sandbox import Sandbox, SandboxError, run
from filters._seccomp import program as seccomp_program
from filters._walls import Limits, walls, within

HOSTILE = Path(__file__).parent / "hostile"
STDLIB_ONLY = ("canaries", "languages", "launch", "sandbox", "seccomp", "walls", "watchdog")
ORDINARY_USER = 54_999


@pytest.fixture(scope="module", autouse=True)
def sandbox():
    """A sandbox that holds: where CI has none that is a failure, never a silent skip."""
    if faults := canaries.faults_of_sandbox():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(faults)


@pytest.fixture(scope="module")
def contained() -> dict[str, dict]:
    """What became of every hostile program, for the user of the tests and, if that is root, for an ordinary one."""
    folder = Path("/tmp") / f"hostile-{os.getpid()}"
    (folder / "filters").mkdir(parents=True)
    try:
        (folder / "filters" / "__init__.py").touch()
        for name in STDLIB_ONLY:
            shutil.copy(Path(sandbox_module.__file__).with_name(f"_{name}.py"), folder / "filters")
        for path in HOSTILE.glob("*.py"):
            shutil.copy(path, folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        command = [str(folder / "contain.py"), str(folder)]
        users = {"root" if os.getuid() == 0 else "ordinary": [sys.executable, *command]}
        if os.getuid() == 0:
            drop = [
                "setpriv",
                f"--reuid={ORDINARY_USER}",
                f"--regid={ORDINARY_USER}",
                "--clear-groups",
                "env",
                "HOME=/tmp",
            ]
            users["ordinary"] = [*drop, python()[0], *command]
        with ExitStack() as stack:
            started = {
                user: stack.enter_context(subprocess.Popen(words, cwd="/", stdout=subprocess.PIPE))
                for user, words in users.items()
            }
            return {user: json.loads(process.communicate(timeout=240)[0]) for user, process in started.items()}
    finally:
        shutil.rmtree(folder)


def test_hostile_programs_are_contained(contained):
    for user, told in contained.items():
        assert (told["uid"] == 0) == (user == "root")
        assert len(told["programs"]) >= 30
        assert {n: p["breaches"] for n, p in told["programs"].items() if p["breaches"]} == {}


def test_hostile_programs_end_in_time(contained):
    for told in contained.values():
        late = {n: p["seconds"] for n, p in told["programs"].items() if p["seconds"] > told["limit_s"] + 2}
        assert late == {}


def test_hostile_programs_leave_no_process(contained):
    for told in contained.values():
        assert {n: p["left"] for n, p in told["programs"].items() if p["left"]} == {}


def test_hostile_programs_did_run(contained):
    """A program that stumbled over a missing import would look contained."""
    escapes, bombs = (runpy.run_path(str(HOSTILE / "programs.py"))[kind] for kind in ("ESCAPES", "BOMBS"))
    for told in contained.values():
        ended = {name: program["stopped"] or program["exit_code"] for name, program in told["programs"].items()}
        assert {name: ended[name] for name in escapes if ended[name] != 0} == {}
        assert all("NameError" not in p["output"] for p in told["programs"].values())
        limits = {"fork_bomb": "time_limit", "spinning_children": "time_limit", "daemon": 0, "crash": 139}
        assert {name: ended[name] for name in limits} == limits
        assert set(ended) == set(bombs) | set(escapes)


def without(*words):
    return lambda limits, binds: [word for word in walls(limits, binds) if word not in words]


def with_host_tmp(limits, binds):
    words = walls(limits, binds)
    at = words.index("/tmp", words.index("--clearenv") - 1)
    return [*words[: at - 3], "--bind", "/tmp", "/tmp", *words[at + 1 :]]


TCP, ABSTRACT, UNIX = (f"it reaches the host's {kind}" for kind in ("TCP", "abstract sockets", "Unix sockets"))
HOLES = {
    "network": ("walls", without("--unshare-net"), {TCP, ABSTRACT}),
    "host folder": ("walls", with_host_tmp, {"it reads files of the host", "it writes to the host", UNIX}),
    "environment": (
        "walls",
        lambda limits, binds: [*walls(limits, binds), "--setenv", "HF_TOKEN", "x"],
        {"it sees the caller's environment"},
    ),
    "processes": (
        "within",
        lambda limits: [word for word in within(limits) if "nproc" not in word],
        {"it forks without limit"},
    ),
    "system calls": (
        "seccomp_program",
        lambda: struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000),
        {"system call keyctl reaches the kernel", "it may open vsock"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_probes_notice_a_missing_wall(monkeypatch, hole):
    name, replacement, breaches = HOLES[hole]
    monkeypatch.setattr(launch_module if name == "seccomp_program" else sandbox_module, name, replacement)
    monkeypatch.setattr(sandbox_module, "files_in", lambda *_: 0)
    assert breaches <= set(canaries._breaches())


def test_probes_notice_that_memory_is_not_added_up(monkeypatch):
    monkeypatch.setattr(sandbox_module, "resident_bytes", lambda pid: 0)
    [breach] = canaries._unbounded()
    assert "memory of children is not bounded" in breach


def go(code: str, stdin: bytes = b"", **limits):
    path, binds = python()
    command = (path, "-s", "-B", "/box/program.py")
    return run(command, files={"program.py": code.encode()}, stdin=stdin, limits=Limits(**limits), binds=binds)


def test_input_output_and_exit_code():
    ended = go("import sys; print(sys.stdin.read()[::-1]); print('no', file=sys.stderr); sys.exit(7)", b"abc")
    assert (ended.stdout, ended.stderr, ended.exit_code, ended.stopped) == (b"cba\n", b"no\n", 7, None)


def test_large_input_and_output():
    ended = go("import sys; sys.stdout.write(sys.stdin.read())", b"x" * 900_000)
    assert len(ended.stdout) == 900_000
    assert go("import sys; sys.stdout.write('x' * (1 << 20) + 'y')").stopped == "output_limit"


def test_waiting_for_a_busy_machine_is_not_the_programs_time(monkeypatch):
    started = time.monotonic()
    monkeypatch.setattr(sandbox_module, "waited_s", lambda pid: time.monotonic() - started)
    monkeypatch.setattr(sandbox_module, "BUSY_GRACE_S", 0.3)
    assert go("while True: pass", time_s=0.3).stopped == "busy_machine"


@pytest.mark.parametrize(("kernel_killed", "ended"), [(0, (137, None)), (1, (None, "machine_memory"))])
def test_a_kill_by_the_kernel_for_memory_is_not_the_programs_fault(monkeypatch, kernel_killed, ended):
    counts = iter([0, kernel_killed])
    monkeypatch.setattr(sandbox_module, "oom_kills", lambda: next(counts))
    with Sandbox(("sh", "-c", "read line; echo $line; exec sleep 9"), files={}, limits=Limits()) as killed:
        assert killed.ask(b"ready\n") == b"ready"
        os.kill(killed._init, signal.SIGKILL)
        found = killed.finish()
    assert (found.exit_code, found.stopped) == ended


def test_a_sandbox_that_cannot_be_built_is_not_the_programs_fault():
    ended = run(("true",), files={}, stdin=b"", limits=Limits(), binds=("/nowhere",))
    assert ended.stopped == "sandbox_failed"
    assert b"/nowhere" in ended.stderr


def test_a_conversation_and_its_time():
    """Time runs only while the program is asked."""
    path, binds = python()
    code = b"import sys, time\nfor line in sys.stdin:\n    time.sleep(0.3)\n    print(line.strip(), flush=True)"
    limits = Limits(time_s=1.0)
    with Sandbox((path, "-s", "/box/p.py"), files={"p.py": code}, limits=limits, binds=binds) as talk:
        assert talk.ask(b"a\n") == b"a"
        time.sleep(1.0)
        assert talk.ask(b"b\n") == b"b"
        assert talk.ask(b"c\n" + b"c" * 100) == b"c"
        assert talk.ask(b"d\n") is None
        assert talk.stopped == "time_limit"


def test_nothing_is_left_open(monkeypatch):
    go("pass")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        go("import os; os.fork()")
        with suppress(SandboxError):  # bubblewrap may have given up before it is looked at
            run(("true",), files={"a": b"a"}, stdin=b"", limits=Limits(), binds=("/nowhere",))
    monkeypatch.setattr(sandbox_module, "walls", lambda *_: ["--no-such-option"])
    with pytest.raises(SandboxError, match="no-such-option"):
        go("pass")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_sandbox_that_gave_up_at_once_says_why_and_leaves_nothing_open(monkeypatch):
    before = len(list(Path("/proc/self/fd").iterdir()))
    looked_at = os.pidfd_open

    def too_late(pid):
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)
        return looked_at(pid)

    monkeypatch.setattr(sandbox_module.os, "pidfd_open", too_late)
    with pytest.raises(SandboxError, match="/nowhere"):
        run(("true",), files={}, stdin=b"", limits=Limits(), binds=("/nowhere",))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers: the obvious interpreter of the few instructions that it is made of."""
    known = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    data = struct.pack("<IIQ6Q", number, architecture or known, 0, *(*arguments, *[0] * (6 - len(arguments))))
    code = list(struct.iter_unpack("<HBBI", seccomp_program(machine)))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, k = code[at]
        at += 1
        if operation == 0x20:
            [accumulator] = struct.unpack_from("<I", data, k)
        elif operation == 0x06:
            return k
        else:
            holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[operation]
            at += if_true if holds else if_false


ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50061


@pytest.mark.parametrize(("machine", "column"), [("x86_64", 0), ("aarch64", 1)])
def test_system_calls(machine, column):
    calls = {
        "read": (0, 63), "clone": (56, 220), "clone3": (435, 435), "socket": (41, 198), "ioctl": (16, 29),
        "bpf": (321, 280), "ptrace": (101, 117), "unshare": (272, 97), "mount": (165, 40), "keyctl": (250, 219),
        "execve": (59, 221), "openat": (257, 56),
    }  # fmt: skip
    number = {name: numbers[column] for name, numbers in calls.items()}
    assert [decide(machine, number[n]) for n in ("read", "execve", "openat")] == [ALLOW] * 3
    assert [decide(machine, number[n]) for n in ("bpf", "ptrace", "unshare", "mount", "keyctl")] == [EPERM] * 5
    assert decide(machine, number["clone3"]) == ENOSYS
    assert decide(machine, number["clone"], 17) == decide(machine, number["clone"], 0x3D0F00) == ALLOW
    assert [decide(machine, number["clone"], 17 | 1 << bit) for bit in (7, 17, *range(25, 31))] == [EPERM] * 8
    assert [decide(machine, number["socket"], family) for family in (1, 2, 10)] == [ALLOW] * 3
    assert [decide(machine, number["socket"], family) for family in (16, 17, 38, 40)] == [EAFNOSUPPORT] * 4
    assert decide(machine, number["ioctl"], 0, 0x5401) == ALLOW
    assert decide(machine, number["ioctl"], 0, 0x5412) == EPERM
    assert decide(machine, number["read"], architecture=0x40000003) == KILL
    assert decide(machine, 0x40000000 | number["read"]) == EPERM


def test_an_unknown_architecture_is_told():
    with pytest.raises(OSError, match="no system-call filter for 'vax'"):
        seccomp_program("vax")


def test_the_sandbox_needs_nothing_but_the_standard_library():
    for name in STDLIB_ONLY:
        source = Path(sandbox_module.__file__).with_name(f"_{name}.py").read_text()
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
        modules = {getattr(node, "module", None) or node.names[0].name for node in nodes}
        foreign = {module for module in modules if module.split(".")[0] not in sys.stdlib_module_names}
        assert foreign <= {f"filters._{other}" for other in STDLIB_ONLY}


def test_files_of_the_host_are_never_counted_while_a_sandbox_gets_its_own_root(monkeypatch):
    """Looked at 500 times a second, each of these passes through the moment in which its root is the host's."""
    monkeypatch.setattr("filters._watchdog.TICK_S", 0.002)
    with ThreadPoolExecutor(2) as threads:
        ended = list(threads.map(lambda _: run(["/bin/true"], files={}, stdin=b"", limits=Limits()), range(150)))
    assert {end.stopped for end in ended} == {None}
