"""What a person sees while they wait: a bar with an ETA on a terminal, one plain line a minute elsewhere.

The library calls this protocol and never prints. Only `cli.py` chooses an implementation.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

Advance = Callable[[int, str], None]
"""Called with how many more units are done, and a short note that replaces the last one."""


class Progress(Protocol):
    """Where a stage reports to."""

    def say(self, line: str) -> None:
        """One line that stays."""
        ...

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """Long work of `total` units, of which `done` were there before; yields what to call as units finish."""
        ...


class Silent:
    """Says nothing: for tests and for use as a library."""

    def say(self, line: str) -> None:
        """Drop the line."""

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """Drop the work's progress."""
        yield lambda units, note: None


class Lines:
    """Plain lines for a log file: one when work begins, one a minute, one when it ends."""

    def __init__(
        self, write: Callable[[str], None], *, every_s: float = 60, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.write, self.every_s, self.clock = write, every_s, clock

    def say(self, line: str) -> None:
        """Write the line."""
        self.write(line)

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """Write how far the work is, and its ETA, at most once every `every_s` seconds."""
        start = last = self.clock()
        finished, note = done, ""

        def advance(units: int, new_note: str = "") -> None:
            nonlocal finished, note, last
            finished, note = finished + units, new_note
            now = self.clock()
            if now - last >= self.every_s and finished > done:
                last = now
                left = (now - start) / (finished - done) * (total - finished)
                self.write(f"  {name}: {finished}/{total}, about {duration(left)} left{', ' + note if note else ''}")

        yield advance
        self.write(f"  {name}: {finished}/{total} in {duration(self.clock() - start)}{', ' + note if note else ''}")


class Terminal:
    """Bars with an ETA on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, line: str) -> None:
        """Print the line above the bars; markup in it is text."""
        self.console.print(line, markup=False, highlight=False)

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """Show a bar that leaves one line behind."""
        columns = (
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Bars(*columns, console=self.console) as bars:
            bar = bars.add_task(name, total=total, completed=done, note="")

            def advance(units: int, note: str = "") -> None:
                bars.update(bar, advance=units, note=note)

            yield advance


def duration(seconds: float) -> str:
    """Seconds as a person says them: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def quiet_transformers() -> None:
    """Turn off transformers' bars for reading and writing weights; downloads from the Hub keep theirs."""
    from transformers.utils import logging

    logging.disable_progress_bar()
