"""A Python function against calls or asserts: it runs in one sandbox, its asserts in another, and data between them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filters._code_compare import same_value
from filters._code_outcome import Outcome, UndecidedError, WrongError, fault_of, short, shown
from filters._code_tests import Call, Tests
from filters._fences import defines
from filters._languages import python
from filters._plain import decode, encode, frame
from filters._sandbox import Sandbox
from filters._walls import FOLDER, Limits

TESTS_S, TESTS_BYTES = 20.0, 64 << 20
"""Seconds that asserts may take themselves, besides the calls they make; and how much they may pass in a call."""


def run_calls(program: str, tests: Tests, limits: Limits, tolerance: float) -> Iterator[tuple[str, str] | None]:
    """For each call the reason and evidence of its fault, or None; ends early where the program does."""
    entry_point = (tests.entry_point or "").strip()
    with _solution(program, tests, limits) as sandbox:
        for call in tests.calls or ():
            arguments, keywords = [_tree(a) for a in call.args], {k: _tree(v) for k, v in call.kwargs.items()}
            try:
                reply = _ask(sandbox, entry_point, arguments, keywords)
            except WrongError as error:
                yield error.outcome.reason or "raised", error.outcome.evidence
                return
            yield _call_fault(reply, call, entry_point, tolerance)


def _call_fault(reply: list[Any], call: Call, entry_point: str, tolerance: float) -> tuple[str, str] | None:
    arguments = [*map(repr, call.args), *(f"{k}={v!r}" for k, v in call.kwargs.items())]
    what = short(f"{entry_point}({', '.join(arguments)})")
    if reply[0] == "missing":
        return "no_entry_point", f"no {entry_point} in the program"
    if reply[0] == "raised":
        return "raised", f"{what} raised {reply[1]}: {reply[2]}"
    found = decode(reply[1])
    if same_value(call.output, found, tolerance):
        return None
    return "wrong_output", f"{what}, expected {shown(call.output)}, found {shown(found)}"


def run_check(program: str, tests: Tests, limits: Limits) -> Outcome:
    """The tests' side asks through this process, which sees to it that only plain data passes, for each call."""
    with ExitStack() as stack:
        solution = stack.enter_context(_solution(program, tests, limits))
        wider = replace(limits, time_s=max(limits.time_s, TESTS_S), output_bytes=TESTS_BYTES)
        oracle = stack.enter_context(_guest("tests", wider))
        reply: list[Any] = []
        request = frame((tests.prompt, tests.check, (tests.entry_point or "").strip()))
        while True:
            said = _said(oracle, request)
            if said[0] != "call":
                return _check_outcome(said, reply)
            name, (_, arguments, keywords) = said[1], said[2]
            reply = _ask(solution, name, arguments[1:], dict(zip(keywords[1::2], keywords[2::2], strict=True)))
            if reply[0] == "missing" and name == (tests.entry_point or "").strip():
                raise WrongError("no_entry_point", f"no {name} in the program")
            if reply[0] == "missing":
                raise UndecidedError("unusable_tests", f"they use {name}, which nobody defines")
            request = frame(reply)


def _said(oracle: Sandbox, request: bytes) -> list[Any]:
    line = oracle.ask(request)
    if line is None:
        fault_of(oracle.finish())
        raise UndecidedError("unusable_tests", f"the tests ended early: {oracle.stopped or 'by themselves'}")
    try:
        return list(json.loads(line))
    except RecursionError as error:
        raise UndecidedError("unusable_tests", "the tests pass data that is nested too deeply") from error


def _check_outcome(said: list[Any], reply: list[Any]) -> Outcome:
    match said:
        case ["passed", *_]:
            return Outcome(1, 1)
        case ["failed", kind, message, line]:
            raised = reply[0] == "raised"
            last = f"raised {reply[1]}: {reply[2]}" if raised else f"returned {shown(decode(reply[1]))}"
            found = f"{kind} {message}".strip()
            reason = "raised" if raised and kind != "AssertionError" else "wrong_output"
            return Outcome(0, 1, reason, f"{short(line, 140)}: {short(found)}; the last call {short(last)}")
        case _:
            raise UndecidedError("unusable_tests", " ".join(map(str, said[1:])))


@contextmanager
def _guest(side: str, limits: Limits) -> Iterator[Sandbox]:
    path, binds = python()
    folder = Path(__file__).parent
    files = {f"filters/{name}": (folder / name).read_bytes() for name in ("_guest.py", "_plain.py")}
    files["guest.py"] = b"from filters._guest import main; main()"
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
            raise WrongError("raised", f"loading it raised {reply[1]}: {reply[2]}")
        yield sandbox


def _ask(sandbox: Sandbox, name: str, arguments: list[Any], keywords: dict[str, Any]) -> list[Any]:
    return _reply(sandbox, frame((name, arguments, keywords)), "missing")


def _reply(sandbox: Sandbox, request: bytes, bare: str) -> list[Any]:
    """The solution's answer, which it may have forged: well-formed plain data, or the program is wrong."""
    line = sandbox.ask(request)
    if line is None:
        fault = fault_of(sandbox.finish())
        raise WrongError(*(fault or ("raised", "it ended before it answered")))
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
    raise WrongError("raised", "its answer is not plain data")


def _tree(value: Any) -> Any:
    """Plain data as guests take it."""
    return json.loads(encode(value))
