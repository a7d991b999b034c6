"""Code: a program in the response is right when it passes the problem's tests, in a sandbox."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
from pydantic import Field, PositiveFloat, PositiveInt

from filters import Filter, FilterError, Verdict, abstain, reject
from filters._canaries import faults_of_sandbox
from filters._code_runs import run_tests
from filters._code_tests import parse_tests
from filters._fences import program_in
from filters._filter import digested
from filters._languages import LANGUAGES, python_version
from filters._verdict import EVIDENCE_CHARS, MISSING_INPUT
from filters._walls import Limits

_ADD = '{"entry_point": "add", "calls": [{"args": [1, 2], "output": 3}, {"args": ["a", "b"], "output": "ab"}]}'
_ECHO = '{"stdin": [{"input": "3\\n", "output": "3"}, {"input": "5\\n", "output": "5"}]}'
_CHECK = '{"entry_point": "add", "check": "def check(candidate):\\n    assert candidate(2, 2) == 4"}'


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


class VerifyCode(Filter):
    """Keep responses whose program passes every test of its problem.

    The program is the last closed fenced block of the response, of the tests' language if blocks are tagged; for
    function tests, the last one that defines the function. It runs without network, host files and privileges, and
    never in one process with what is expected of it. ``tests`` holds one of these, in JSON:

    ``{"language": "python", "stdin": [{"input": "1 2", "output": "3"}]}``: a whole program for each test, in any
    language of `filters._languages`. White space at line ends does not count.

    ``{"entry_point": "f", "calls": [{"args": [1], "kwargs": {}, "output": 2}]}``: a Python function (or
    ``Class.method``), all calls in one process. Values are compared with their types; a tuple counts as an array,
    True is not 1. Arguments are copies: what the function does to them in place is not seen.

    ``{"entry_point": "f", "check": "def check(candidate): ...", "prompt": "..."}``: asserts, as in HumanEval and
    MBPP. They run in a sandbox of their own, to which the function's results come as plain data (numbers, text,
    bytes, containers of them; the type and text of an exception); anything else fails whatever is done with it. A
    program that does not define the function is taken for its body and put after ``prompt``.

    Decimal fractions in ``calls`` and ``stdin`` may differ by ``tolerance``. An error equals nothing.

    Score: share of the tests passed; a ``check`` is one test. Tests after one that ran into a limit are not run.
    Rejects: no_code, no_entry_point, compile_error (by a compiler; a syntax error in Python is raised), raised (an
        exception, an exit code other than 0, an end before the answer, MemoryError), wrong_output, time_limit,
        memory_limit (all its processes together, and files), output_limit.
    Abstains: missing_input, unusable_tests (they do not parse, or fail by themselves), no_compiler (this machine has
        none), sandbox_failed (the machine was too busy or out of memory, or the sandbox broke).
    """

    timeout_s: PositiveFloat = Field(10.0, le=3600)
    """Seconds for one stdin test, or for all the calls of a function together. A program of one thread that
    had to wait for a busy machine gets that time back, up to 1.2 s; beyond that nothing is decided."""
    memory_mib: PositiveInt = 2048
    """Memory of one run in MiB: addresses of each process, and resident memory of all of them."""
    output_mib: PositiveFloat = 1.0
    """Most output of one run, or one returned value, in MiB."""
    processes: PositiveInt = 16
    """Most processes and threads of one run."""
    tolerance: float = Field(1e-6, ge=0, lt=1)
    """Relative and absolute difference that a decimal fraction may have."""

    reads = ("response", "tests")
    examples = (
        ({"response": _fenced("def add(a, b):\n    return a + b"), "tests": _ADD}, "keep"),
        ({"response": _fenced("def add(a, b):\n    return a + b"), "tests": _CHECK}, "keep"),
        ({"response": _fenced("print(input())"), "tests": _ECHO}, "keep"),
        ({"response": _fenced("def add(a, b):\n    return a - b"), "tests": _CHECK}, "wrong_output"),
        ({"response": _fenced("print(3)"), "tests": _ECHO}, "wrong_output"),
        ({"response": _fenced("def add(a, b):\n    raise ValueError(a)"), "tests": _CHECK}, "raised"),
        ({"response": _fenced("import os\nos._exit(0)"), "tests": _CHECK}, "raised"),
        ({"response": _fenced("while True:\n    print('ha' * 999)"), "tests": _ECHO}, "output_limit"),
        ({"response": _fenced("def plus(a, b):\n    return a + b"), "tests": _ADD}, "no_entry_point"),
        ({"response": "Use the + operator.", "tests": _ADD}, "no_code"),
        ({"response": _fenced("print(1)"), "tests": '{"stdin": []}'}, "unusable_tests"),
        ({"response": None, "tests": _ADD}, "missing_input"),
    )

    def check_ready(self) -> None:
        """Prove the sandbox by probes, once a process.

        Raises:
            FilterError: It does not hold, or there is none; the message names the cure. There is no other way to run.
        """
        if faults := faults_of_sandbox():
            raise FilterError(f"verify_code runs programs in a sandbox only, and it does not hold here: {faults}")

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Why a problem's tests cannot be run, or null."""
        tests = problems["tests"] if "tests" in problems.columns else pl.Series("tests", [None] * len(problems))
        return pl.Series("unverifiable", [_fault_of_tests(text) for text in tests], pl.String)

    def provenance(self) -> dict[str, Any]:
        """Also the version of the Python that runs the programs."""
        return digested(super().provenance() | {"python": python_version()})

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Run every distinct response against its tests once, as many at a time as there are processors."""
        distinct = list(dict.fromkeys(rows.select("response", "tests").iter_rows()))
        if not distinct:
            return []
        self.check_ready()
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)), "verify_code") as threads:
            verdicts = dict(zip(distinct, threads.map(lambda row: self.judge_row(*row), distinct), strict=True))
        # What a busy machine left undecided gets the machine to itself, once.
        for row in [row for row, verdict in verdicts.items() if verdict.reason == "sandbox_failed"]:
            verdicts[row] = self.judge_row(*row)
        return [verdicts[row] for row in rows.select("response", "tests").iter_rows()]

    def judge_row(self, response: str, tests: str) -> Verdict:  # type: ignore[override]
        """Take the program out of the response and run it."""
        try:
            parsed = parse_tests(tests)
        except ValueError as error:
            return abstain("unusable_tests", evidence=_readable(str(error)))
        language = LANGUAGES[parsed.language]
        name = parsed.entry_point and parsed.entry_point.strip().partition(".")[0]
        program = program_in(response, language.tags, name)
        if program is None:
            return reject("no_code", 0.0)
        if absent := language.absent():
            return abstain("no_compiler", evidence=f"no {absent} for {parsed.language}")
        outcome = run_tests(program, parsed, self._limits(), self.tolerance)
        if not outcome.decided:
            return abstain(outcome.reason or "sandbox_failed", evidence=_readable(outcome.evidence))
        if outcome.reason:
            return reject(outcome.reason, outcome.share, _readable(outcome.evidence))
        return Verdict("keep", score=outcome.share)

    def _limits(self) -> Limits:
        return Limits(
            time_s=self.timeout_s,
            memory_bytes=self.memory_mib << 20,
            output_bytes=int(self.output_mib * (1 << 20)),
            processes=self.processes,
        )


def _readable(text: str) -> str:
    """Untrusted text without control characters and halves of characters, which terminals obey and Polars refuses."""
    return "".join(c if c.isprintable() or c in " \n" else "�" for c in text[:EVIDENCE_CHARS])


def _fault_of_tests(text: str | None) -> str | None:
    if text is None:
        return MISSING_INPUT
    try:
        language = parse_tests(text).language
    except ValueError as error:
        return f"unusable_tests: {error}"
    absent = LANGUAGES[language].absent()
    return f"no_compiler: no {absent} for {language}" if absent else None
