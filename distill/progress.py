"""What a person sees while they wait: a bar with an ETA on a terminal, one plain line a minute elsewhere.

The library calls this protocol and never prints. Only `cli.py` chooses an implementation.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text


class Advance(Protocol):
    """Called as units finish."""

    def __call__(self, units: int, note: str = "", left_s: float | None = None, /) -> None:
        """With how many more units are done, a short note that replaces the last one, and how long the rest will take
        where that is known better than from the units.
        """
        ...


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
        yield lambda units, note="", left_s=None: None


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

        def advance(units: int, new_note: str = "", left_s: float | None = None) -> None:
            nonlocal finished, note, last
            finished, note = finished + units, new_note
            now = self.clock()
            if now - last >= self.every_s and finished > done:
                last = now
                left = (now - start) / (finished - done) * (total - finished) if left_s is None else left_s
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
            BarColumn(self.console.width // 8, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Left(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
            _Note("{task.fields[note]}", markup=False, table_column=Column()),
        )
        with Bars(*columns, console=self.console) as bars:
            bar = bars.add_task(name, total=total, completed=done, note="", ends=None)

            def advance(units: int, note: str = "", left_s: float | None = None) -> None:
                ends = None if left_s is None else bars.get_time() + left_s
                bars.update(bar, advance=units, note=note, ends=ends)

            yield advance


class _Left(TimeRemainingColumn):
    """The time left as it was told; where it was not, as rich makes it out from the units."""

    def render(self, task: Task) -> Text:
        if task.fields["ends"] is None or task.finished:
            return super().render(task)
        left = max(0, round(task.fields["ends"] - task.get_time()))
        return Text(str(timedelta(seconds=left)), style="progress.remaining")


class _Note(TextColumn):
    """What is left of the line; a longer text ends in an ellipsis."""

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def duration(seconds: float) -> str:
    """Seconds as a person says them: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def number(value: float) -> str:
    """Three digits of it, or what stands before the point: 1,430,000, 2,100, 0.0123."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:.3g}" if rounded >= 0.001 or not rounded else "< 0.001"


def quiet_transformers() -> None:
    """Turn off transformers' bars for reading and writing weights; downloads from the Hub keep theirs."""
    from transformers.utils import logging

    logging.disable_progress_bar()
