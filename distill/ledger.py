"""The books of a run's sampling: what was asked for and what became of it, what it has cost, and when it is enough.

What is spent is known across calls: tokens from the journal, GPU hours from `spent.json` beside it, which is written
every few seconds while an engine works. Tokens of samples that were in flight when a call was killed are not known.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

import polars as pl

from distill.recipe.limits import Limits, Price
from distill.shards import JournalError
from distill.store import RunError, write_text

SAVE_S = 5.0
"""Seconds of GPU time that a kill -9 makes the books forget, at most."""


class LimitError(RunError):
    """Sampling stopped where the recipe limits it. The run is whole, and a raised limit goes on with it."""

    exit_code = 3


@dataclass(frozen=True)
class Counts:
    """Samples that a run asks for, as far as it is known which: with `until`, those that are surely needed."""

    ok: int = 0
    failed: int = 0
    """The last attempt at them failed; they are asked again by the next call."""
    pending: int = 0
    """Nothing is there of them yet."""
    drawn_on: Mapping[str, int] = field(default_factory=dict)
    """Of the ok ones, those that another run has paid for, by its folder."""

    @property
    def requested(self) -> int:
        """All of them."""
        return self.ok + self.failed + self.pending

    def facts(self) -> dict[str, Any]:
        """For a manifest."""
        facts = {"requested": self.requested, "ok": self.ok, "failed": self.failed, "pending": self.pending}
        return facts | ({"drawn_on": dict(self.drawn_on)} if self.drawn_on else {})

    def __str__(self) -> str:
        drawn = f", {sum(self.drawn_on.values()):,} of them from other runs" if self.drawn_on else ""
        return (
            f"requested {self.requested:,} = {self.ok:,} ok{drawn} + {self.failed:,} failed + {self.pending:,} pending"
        )


@dataclass(frozen=True)
class Spent:
    """What a run has paid for, in all its calls."""

    samples: int = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0
    gpu_hours: float = 0.0

    def after(self, samples: int) -> "Spent":
        """With so many more samples, by the mean so far; their hours are not counted."""
        share = samples / self.samples if self.samples else 0.0
        prompt, completion = self.prompt_tokens * (1 + share), self.completion_tokens * (1 + share)
        return replace(self, samples=self.samples + samples, prompt_tokens=prompt, completion_tokens=completion)

    def cost(self, price: Price) -> float:
        """In the currency of the price."""
        by_token = self.prompt_tokens * price.per_million_prompt_tokens
        by_token += self.completion_tokens * price.per_million_completion_tokens
        return by_token / 1e6 + self.gpu_hours * price.per_gpu_hour

    def against(self, limits: Limits) -> dict[str, float]:
        """What counts towards each limit, by the name of its key."""
        cost = self.cost(limits.price) if limits.price else 0.0
        return {"max_tokens": self.completion_tokens, "max_gpu_hours": self.gpu_hours, "max_cost": cost}


class Ledger:
    """The books of one call of `sample`: its caller opens them, and reads them afterwards."""

    def __init__(
        self, limits: Limits | None = None, *, gpus: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits, self.gpus, self._clock = limits or Limits(), gpus, clock
        self.counts = Counts()
        self.stopped_at: str | None = None
        """The key of the limit from which on nothing was asked."""
        self._spent = Spent()
        self._since: float | None = None
        self._path: Path | None = None

    @property
    def spent(self) -> Spent:
        """By all calls, this one included, until now."""
        if self._since is None:
            return self._spent
        hours = (self._clock() - self._since) / 3600 * self.gpus
        return replace(self._spent, gpu_hours=self._spent.gpu_hours + hours)

    def open(self, folder: Path, rows: pl.DataFrame) -> None:
        """Take over what earlier calls have spent; `rows` are all rows of the journal in the folder."""
        self._path = folder / "spent.json"
        samples, prompt, completion = rows.select(
            pl.len(), pl.col("prompt_tokens").sum(), pl.col("completion_tokens").sum()
        ).row(0)
        try:
            hours = json.loads(self._path.read_text())["gpu_hours"] if self._path.exists() else 0.0
            self._spent = Spent(samples, prompt, completion, float(hours))
        except (ValueError, TypeError, KeyError):
            raise RunError(f"{self._path} is damaged; put it back, or delete it to count GPU hours from 0") from None

    @contextmanager
    def running(self) -> Iterator[None]:
        """While an engine works, its time is counted and saved."""
        self._since = self._clock()
        closing = threading.Event()
        saver = threading.Thread(target=self._save_in_time, args=(closing,), name="ledger", daemon=True)
        saver.start()
        try:
            yield
        finally:
            closing.set()
            saver.join()
            self._spent, self._since = self.spent, None
            self._save()

    def took(self, prompt_tokens: int, completion_tokens: int) -> None:
        """A sample has finished."""
        was = self._spent
        tokens = was.prompt_tokens + prompt_tokens, was.completion_tokens + completion_tokens
        self._spent = Spent(was.samples + 1, *tokens, was.gpu_hours)

    def has_room(self, in_flight: int) -> bool:
        """Whether one more sample is expected to stay within every limit, those in flight included."""
        expected = self.spent.after(in_flight + 1).against(self.limits)
        over = [name for name, used in expected.items() if used > (getattr(self.limits, name) or float("inf"))]
        self.stopped_at = over[0] if over else None
        return not over

    def facts(self) -> dict[str, Any]:
        """For a manifest."""
        spent, price = self.spent, self.limits.price
        facts: dict[str, Any] = {name: int(getattr(spent, name)) for name in ("prompt_tokens", "completion_tokens")}
        facts["gpu_hours"] = round(spent.gpu_hours, 6)
        if price:
            facts |= {"cost": round(spent.cost(price), 6), "currency": price.currency}
        return {"counts": self.counts.facts(), "spent": facts}

    def limit_reached(self) -> LimitError:
        """What to say of the limit that sampling stopped at."""
        assert self.stopped_at is not None
        name, spent, pending = self.stopped_at, self.spent, self.counts.pending + self.counts.failed
        limit, used = getattr(self.limits, name), spent.against(self.limits)[name]
        enough = max(used, limit) * (1 + pending / spent.samples if spent.samples else 2.0)
        key, raised = f"trajectories.limits.{name}", _round_up(enough, whole=name == "max_tokens")
        units = {"max_tokens": "completion tokens", "max_gpu_hours": "GPU hours"}
        unit = units.get(name) or (self.limits.price.currency if self.limits.price else "")
        return LimitError(
            f"stopped at {key}: {_number(used)} of {_number(limit)} {unit} are spent\n"
            f"{self.counts}; all that is finished is kept.\n"
            f"To go on, raise the limit: --set {key}={raised} may be enough for all.\n"
            "To make the rest of the recipe with the samples that are there: --partial"
        )

    def _save(self) -> None:
        if self._path is None:
            return
        try:
            write_text(self._path, json.dumps({"gpu_hours": self.spent.gpu_hours}) + "\n")
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}; make room and run again") from error

    def _save_in_time(self, closing: threading.Event) -> None:
        while not closing.wait(SAVE_S):
            with suppress(JournalError):  # the last one is raised
                self._save()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def _round_up(value: float, *, whole: bool) -> str:
    """Two digits of a number, not below it."""
    step = 10.0 ** (floor(log10(value)) - 1)
    step = max(step, 1.0) if whole else step
    rounded = ceil(value / step) * step
    return f"{rounded:.0f}" if step >= 1 else f"{rounded:.10g}"
