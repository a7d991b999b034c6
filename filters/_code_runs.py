"""A program against its tests, in sandboxes: inputs go in, data comes out, and only the caller knows what is right."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from filters._code_compare import same_text, same_value
from filters._code_tests import Call, Tests
from filters._fences import defines
from filters._guest import decode, encode, frame
from filters._languages import LANGUAGES, Language, python
from filters._sandbox import Run, Sandbox, SandboxError, run
from filters._walls import FOLDER, Limits

COMPILE = Limits(time_s=60.0, memory_bytes=2 << 30, output_bytes=64 << 20, scratch_bytes=256 << 20)
"""What a compiler may use; its output is the program."""
TESTS_S = 20.0
"""Seconds that asserts may take themselves, besides the calls they make."""
_NOT_ITS_FAULT = {"busy_machine", "machine_memory", "sandbox_failed"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many tests passed, and why the first of the others did not."""

    passed: int
    total: int
    reason: str | None = None
    evidence: str = ""
    decided: bool = True
    """False where it is not the program that failed."""

    @property
    def share(self) -> float | None:
        """Passed tests over all tests."""
        return self.passed / self.total if self.decided else None


class _UndecidedError(Exception):
    """The tests or the machine failed, not the program."""

    def __init__(self, reason: str, evidence: str) -> None:
        self.outcome = Outcome(0, 1, reason, evidence, decided=False)


class _WrongError(Exception):
    """The program failed as a whole."""

    def __init__(self, reason: str, evidence: str) -> None:
        self.outcome = Outcome(0, 1, reason, evidence)


def run_tests(program: str, tests: Tests, limits: Limits, tolerance: float) -> Outcome:
    """Run a program against all of its tests.

    Tests after one that ran into a limit are not run, and count as failed.
    """
    language = LANGUAGES[tests.language]
    limits = replace(limits, bounds_addresses=language.bounds_addresses)
    try:
        if tests.check is not None:
            return _run_check(program, tests, limits)
        verdicts = (
            _calls(program, tests, limits, tolerance) if tests.calls else _stdin(program, tests, limits, tolerance)
        )
        return _tally(verdicts, len(tests.calls or tests.stdin or ()))
    except SandboxError as error:
        return Outcome(0, 1, "sandbox_failed", str(error), decided=False)
    except (_UndecidedError, _WrongError) as error:
        return error.outcome


def _tally(verdicts: Iterator[tuple[str, str] | None], total: int) -> Outcome:
    passed, first = 0, None
    for number, fault in enumerate(verdicts, 1):
        if fault is None:
            passed += 1
            continue
        first = first or (fault[0], f"test {number} of {total}: {fault[1]}")
        if fault[0].endswith("_limit"):
            break
    return Outcome(passed, total, *(first or (None, "")))


def _stdin(program: str, tests: Tests, limits: Limits, tolerance: float) -> Iterator[tuple[str, str] | None]:
    language = LANGUAGES[tests.language]
    source = (tests.prompt + program).encode(errors="replace")
    name, content = (language.file, source) if language.compile is None else ("program", _compiled(language, source))
    path, binds = python() if language.run[0] == "{python}" else ("", ())
    command = [word.format(python=path) for word in language.run]
    for test in tests.stdin or ():
        ended = run(
            command, files={name: content}, stdin=test.input.encode(errors="replace"), limits=limits, binds=binds
        )
        found = ended.stdout.decode(errors="replace")
        if fault := _fault_of(ended):
            yield fault
        elif ended.exit_code != 0:
            yield "raised", f"exit code {ended.exit_code}: {_last_line(ended.stderr)}"
        elif not same_text(test.output, found, tolerance):
            yield "wrong_output", f"input {_short(test.input)}, expected {_short(test.output)}, found {_short(found)}"
        else:
            yield None


@lru_cache(maxsize=8)
def _compiled(language: Language, source: bytes) -> bytes:
    assert language.compile
    ended = run(
        ("sh", "-c", f"cd {FOLDER} && {language.compile}"), files={language.file: source}, stdin=b"", limits=COMPILE
    )
    if ended.stopped in _NOT_ITS_FAULT:
        raise _UndecidedError("sandbox_failed", f"{ended.stopped} while compiling")
    if ended.exit_code != 0 or not ended.stdout:
        line = next((e for e in ended.stderr.decode(errors="replace").splitlines() if "error" in e), "")
        raise _WrongError("compile_error", ended.stopped or line or _last_line(ended.stderr))
    return ended.stdout


def _calls(program: str, tests: Tests, limits: Limits, tolerance: float) -> Iterator[tuple[str, str] | None]:
    entry_point = (tests.entry_point or "").strip()
    with _solution(program, tests, limits) as sandbox:
        for call in tests.calls or ():
            reply = _ask(
                sandbox, entry_point, [tree(a) for a in call.args], {k: tree(v) for k, v in call.kwargs.items()}
            )
            yield _call_fault(reply, call, entry_point, tolerance)


def _call_fault(reply: list[Any], call: Call, entry_point: str, tolerance: float) -> tuple[str, str] | None:
    shown = _short(
        f"{entry_point}({', '.join([*map(repr, call.args), *(f'{k}={v!r}' for k, v in call.kwargs.items())])})"
    )
    if reply[0] == "missing":
        return "no_entry_point", f"no {entry_point} in the program"
    if reply[0] == "raised":
        return "raised", f"{shown} raised {reply[1]}: {reply[2]}"
    found = decode(reply[1])
    if same_value(call.output, found, tolerance):
        return None
    return "wrong_output", f"{shown}, expected {_shown(call.output)}, found {_shown(found)}"


def _run_check(program: str, tests: Tests, limits: Limits) -> Outcome:
    """The tests' side asks through this process, which sees to it that only plain data passes, for each call."""
    with ExitStack() as stack:
        solution = stack.enter_context(_solution(program, tests, limits))
        oracle = stack.enter_context(_guest("tests", replace(limits, time_s=max(limits.time_s, TESTS_S))))
        reply: list[Any] = []
        request = frame((tests.prompt, tests.check, (tests.entry_point or "").strip()))
        while True:
            said = _said(oracle, request)
            if said[0] != "call":
                return _check_outcome(said, reply)
            name, (_, arguments, keywords) = said[1], said[2]
            reply = _ask(solution, name, arguments[1:], dict(zip(keywords[1::2], keywords[2::2], strict=True)))
            if reply[0] == "missing" and name == (tests.entry_point or "").strip():
                raise _WrongError("no_entry_point", f"no {name} in the program")
            if reply[0] == "missing":
                raise _UndecidedError("unusable_tests", f"they use {name}, which nobody defines")
            request = frame(reply)


def _said(oracle: Sandbox, request: bytes) -> list[Any]:
    line = oracle.ask(request)
    if line is None:
        _fault_of(oracle.finish())
        raise _UndecidedError("unusable_tests", f"the tests ended early: {oracle.stopped or 'by themselves'}")
    try:
        return list(json.loads(line))
    except RecursionError as error:
        raise _UndecidedError("unusable_tests", "the tests pass data that is nested too deeply") from error


def _check_outcome(said: list[Any], reply: list[Any]) -> Outcome:
    match said:
        case ["passed", *_]:
            return Outcome(1, 1)
        case ["failed", kind, message, line]:
            raised = reply[0] == "raised"
            last = f"raised {reply[1]}: {reply[2]}" if raised else f"returned {_shown(decode(reply[1]))}"
            found = f"{kind} {message}".strip()
            reason = "raised" if raised and kind != "AssertionError" else "wrong_output"
            return Outcome(0, 1, reason, f"{_short(line, 140)}: {_short(found)}; the last call {_short(last)}")
        case _:
            raise _UndecidedError("unusable_tests", " ".join(map(str, said[1:])))


@contextmanager
def _guest(side: str, limits: Limits) -> Iterator[Sandbox]:
    path, binds = python()
    files = {"guest.py": Path(__file__).with_name("_guest.py").read_bytes()}
    with Sandbox((path, "-s", "-B", f"{FOLDER}/guest.py", side), files=files, limits=limits, binds=binds) as sandbox:
        yield sandbox


@contextmanager
def _solution(program: str, tests: Tests, limits: Limits) -> Iterator[Sandbox]:
    """A sandbox in which the program is loaded."""
    whole = defines(program, (tests.entry_point or "").strip().partition(".")[0])
    source = program if whole else tests.prompt.rstrip("\n") + "\n" + program
    with _guest("solution", limits) as sandbox:
        reply = _reply(sandbox, frame((tests.prompt, source)), "loaded")
        if reply[0] != "loaded":
            raise _WrongError("raised", f"loading it raised {reply[1]}: {reply[2]}")
        yield sandbox


def _ask(sandbox: Sandbox, name: str, arguments: list[Any], keywords: dict[str, Any]) -> list[Any]:
    return _reply(sandbox, frame((name, arguments, keywords)), "missing")


def _reply(sandbox: Sandbox, request: bytes, bare: str) -> list[Any]:
    """The solution's answer, which it may have forged: well-formed plain data, or the program is wrong."""
    line = sandbox.ask(request)
    if line is None:
        fault = _fault_of(sandbox.finish())
        raise _WrongError(*(fault or ("raised", "it ended before it answered")))
    try:
        reply = json.loads(line)
        match reply:
            case [str(word)] if word == bare:
                return [word]
            case ["raised", str(), str()]:
                return list(reply)
            case ["value", value] if bare != "loaded":
                decode(value)
                return list(reply)
    except (ValueError, RecursionError):
        pass
    raise _WrongError("raised", "its answer is not plain data")


def _fault_of(ended: Run) -> tuple[str, str] | None:
    if ended.stopped in _NOT_ITS_FAULT:
        raise _UndecidedError("sandbox_failed", f"{ended.stopped}: {_last_line(ended.stderr)}")
    if ended.stopped:
        reason = "memory_limit" if ended.stopped == "file_limit" else ended.stopped
        return reason, f"stopped at the {ended.stopped.replace('_', ' ')}"
    return None


def tree(value: Any) -> Any:
    """Plain data as guests take it."""
    return json.loads(encode(value))


def _last_line(stderr: bytes) -> str:
    return _short((stderr.decode(errors="replace").strip().splitlines() or [""])[-1], 160)


def _short(text: str, chars: int = 80) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def _shown(value: Any) -> str:
    try:
        return _short(repr(value))
    except (ValueError, RecursionError):  # integers of many thousand digits, for one
        return f"a {type(value).__name__}"
