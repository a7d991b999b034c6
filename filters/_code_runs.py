"""A program against its tests, in sandboxes: inputs go in, data comes out, and only the caller knows what is right."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from filters._code_compare import same_text
from filters._code_functions import run_calls, run_check
from filters._code_outcome import NOT_ITS_FAULT, Outcome, UndecidedError, WrongError, fault_of, last_line, short
from filters._code_tests import Tests
from filters._languages import LANGUAGES, Language, python
from filters._sandbox import SandboxError, run
from filters._walls import FOLDER, Limits

COMPILE = Limits(time_s=60.0, memory_bytes=2 << 30, output_bytes=64 << 20, scratch_bytes=256 << 20)
"""What a compiler may use; its output is the program."""


def run_tests(program: str, tests: Tests, limits: Limits, tolerance: float) -> Outcome:
    """Run a program against all of its tests.

    Tests after one that ran into a limit are not run, and count as failed.
    """
    language = LANGUAGES[tests.language]
    limits = replace(limits, bounds_addresses=language.bounds_addresses)
    try:
        if tests.check is not None:
            return run_check(program, tests, limits)
        verdicts = (
            run_calls(program, tests, limits, tolerance) if tests.calls else _stdin(program, tests, limits, tolerance)
        )
        return _tally(verdicts, len(tests.calls or tests.stdin or ()))
    except SandboxError as error:
        return Outcome(0, 1, "sandbox_failed", str(error), decided=False)
    except (UndecidedError, WrongError) as error:
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
        if fault := fault_of(ended):
            yield fault
        elif ended.exit_code != 0:
            yield "raised", f"exit code {ended.exit_code}: {last_line(ended.stderr)}"
        elif not same_text(test.output, found, tolerance):
            yield "wrong_output", f"input {short(test.input)}, expected {short(test.output)}, found {short(found)}"
        else:
            yield None


@lru_cache(maxsize=8)
def _compiled(language: Language, source: bytes) -> bytes:
    assert language.compile
    ended = run(
        ("sh", "-c", f"cd {FOLDER} && {language.compile}"), files={language.file: source}, stdin=b"", limits=COMPILE
    )
    if ended.stopped in NOT_ITS_FAULT:
        raise UndecidedError("sandbox_failed", f"{ended.stopped} while compiling")
    if ended.exit_code != 0 or not ended.stdout:
        line = next((e for e in ended.stderr.decode(errors="replace").splitlines() if "error" in e), "")
        raise WrongError("compile_error", ended.stopped or line or last_line(ended.stderr))
    return ended.stdout
