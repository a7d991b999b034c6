"""What came of a program's tests, and how it is put into words."""

from dataclasses import dataclass
from typing import Any

from filters._sandbox import Run

NOT_ITS_FAULT = {"busy_machine", "machine_memory", "sandbox_failed"}
"""Ends of a run that say nothing about the program."""


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


class UndecidedError(Exception):
    """The tests or the machine failed, not the program."""

    def __init__(self, reason: str, evidence: str) -> None:
        self.outcome = Outcome(0, 1, reason, evidence, decided=False)


class WrongError(Exception):
    """The program failed as a whole."""

    def __init__(self, reason: str, evidence: str) -> None:
        self.outcome = Outcome(0, 1, reason, evidence)


def fault_of(ended: Run) -> tuple[str, str] | None:
    """Reason and evidence where a limit stopped the program; UndecidedError where something else did."""
    if ended.stopped in NOT_ITS_FAULT:
        raise UndecidedError("sandbox_failed", f"{ended.stopped}: {last_line(ended.stderr)}")
    if ended.stopped:
        reason = "memory_limit" if ended.stopped == "file_limit" else ended.stopped
        return reason, f"stopped at the {ended.stopped.replace('_', ' ')}"
    return None


def last_line(stderr: bytes) -> str:
    """Where interpreters say what went wrong."""
    return short((stderr.decode(errors="replace").strip().splitlines() or [""])[-1], 160)


def short(text: str, chars: int = 80) -> str:
    """The beginning of a text."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def shown(value: Any) -> str:
    """The beginning of a value's representation."""
    try:
        return short(repr(value))
    except (ValueError, RecursionError):  # integers of many thousand digits, for one
        return f"a {type(value).__name__}"
