"""What a person is told while a run samples: how far it is, how fast, and what is left, foreseen anew now and then.

What is left is foreseen by playing the rest of the run (`forecast`), so the time left knows of the long tail.
Does not sample, and does not judge.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from distill.engines import Completion
from distill.evidence import Evidence, Try
from distill.followups import Row
from distill.forecast import PLAYED_SAMPLES, Rest, rest
from distill.ledger import Spent
from distill.lineage import HINTED, ROOM, Key, whole
from distill.metrics import Estimate
from distill.progress import duration, number
from distill.scheduler import Scheduler
from distill.second_tries import SecondTries
from distill.store import write_text
from distill.track import Tracker
from distill.watch import Watch

PLAN = "plan.json"
"""What `distill plan` has foreseen of the folder's samples: name to value, low and high."""
PLANNED = ("samples", "completion tokens", "accepted rows", "problems solved", "time left")
"""What is shown of it."""
FIRST_S = 10.0
"""Nothing is foreseen of a run that takes no longer."""
LONG_S = 600.0
"""A forecast is told in lines where so much is left, or where a plan stands beside it."""
SHARE = 0.01
"""Of the samples that are surely needed, how many must have finished; of the time, how much forecasts take."""
PROBLEMS = 16
"""Of these samples, from how many problems."""
RECENT = 20_000
"""Samples that a forecast goes by, at most."""
PLAYS = 20
PLAYED_S = 15e-6
"""Seconds that it takes to play a sample, about: of many, the first forecast waits until that is a small share."""


class Outlook:
    """One call of `sample`. `folder` is that of its journal; `accepting` says whether verdicts settle problems."""

    def __init__(
        self,
        scheduler: Scheduler,
        watch: Watch,
        folder: Path,
        *,
        accepting: bool,
        most_tokens: int,
        tracker: Tracker | None = None,
    ) -> None:
        self._scheduler, self._watch, self._tracker = scheduler, watch, tracker
        self._planned = _planned(folder)
        self._accepting, self._most = accepting, most_tokens
        self._before = Spent()
        self._problems, self._needed = scheduler.open, 0
        self._recent: deque[tuple[str, int, bool]] = deque(maxlen=RECENT)
        self._unjudged: set[Key] = set()
        self._samples = self._tokens = self._failed = self._accepted = 0
        self._tries: SecondTries | None = None
        self._recent_tries: deque[Try] = deque(maxlen=RECENT)
        self._tried, self._later, self._solved_later = 0, 0, set[str]()
        """Mended and hinted samples; how many of these are accepted, and problems that only these have solved."""
        self._seconds, self._beside, self._most_in_flight = 0.0, 0.0, 0
        self._next_s = 0.0
        self._ends: float | None = None

    def open(self, before: Spent, tries: SecondTries | None) -> None:
        """Sampling begins; `before` are the plain samples and the tokens that the run had."""
        self._before = replace(before, samples=before.samples + self._tried)
        self._needed = self._scheduler.needed()
        self._next_s = max(FIRST_S, PLAYS * min(PLAYED_SAMPLES, self._needed) * PLAYED_S / SHARE)
        self._tries = tries
        self._accepted = 0
        if self._tracker:
            self._tracker.follow(self.numbers)

    def finished(self, completion: Completion, seconds: float, in_flight: int) -> None:
        """The engine has answered."""
        self._samples += 1
        self._tokens += completion.completion_tokens
        self._failed += completion.finish_reason.startswith("failed")
        self._seconds += seconds
        self._beside += seconds * in_flight
        self._most_in_flight = max(self._most_in_flight, in_flight)

    def waits(self, row: Row) -> None:
        """A sample has finished, and a verdict on it will come."""
        if row["sample"] < ROOM:
            self._unjudged.add((row["problem_id"], row["sample"]))

    def judged(self, row: Row, accepted: bool) -> None:
        """A verdict on a sample is in, or nobody looks at it."""
        if row["sample"] < ROOM and not row["finish_reason"].startswith("failed"):
            self._recent.append((row["problem_id"], row["completion_tokens"], accepted))
        if row["sample"] >= ROOM:
            self._recent_tries.append(Try(row["sample"] >= HINTED, row["completion_tokens"], accepted))
            self._tried += 1
            self._later += accepted
            outcome = self._scheduler.outcome(row["problem_id"])
            if accepted and outcome and not outcome[0]:
                self._solved_later.add(row["problem_id"])
        self._accepted += accepted
        self._unjudged.discard((row["problem_id"], row["sample"]))

    # --- how far it is ------------------------------------------------------------------------------------------------

    def numbers(self) -> dict[str, float]:
        """Of this call, by name."""
        found: dict[str, float] = {"samples": self._samples, "tokens": self._tokens, "failed": self._failed}
        if self._seconds:
            found["tokens_per_s"] = self._tokens * self._beside / self._seconds**2
        if self._accepting:
            found |= {
                "solved": self._scheduler.solved + len(self._solved_later),
                "accepted": self._scheduler.accepted + self._later,
            }
            if self._tokens:
                found["accepted_per_1k_tokens"] = 1000 * self._accepted / self._tokens
        if (left_s := self.left_s()) is not None:
            found["hours_left"] = left_s / 3600
        return found

    def note(self) -> str:
        """What stands behind the bar."""
        numbers = self.numbers()
        words = {
            "failed": "{:,} failed",
            "accepted": "{:,} accepted",
            "solved": "{:,} solved",
            "accepted_per_1k_tokens": "{:.3g} accepted per 1k tokens",
            "tokens_per_s": "{:,.0f} tokens/s",
            "tokens": "{:,} tokens",
        }
        return ", ".join(text.format(numbers[name]) for name, text in words.items() if numbers.get(name))

    def left_s(self) -> float | None:
        """Seconds until the run is foreseen to end; None where nothing is foreseen yet."""
        return None if self._ends is None else max(0.0, self._ends - self._watch.elapsed)

    def over(self) -> None:
        """Nothing is left."""
        self._ends = self._watch.elapsed

    # --- what is left -------------------------------------------------------------------------------------------------

    def foresee(self) -> Iterator[str]:
        """Look ahead where it is time to; lines to be told of the first forecast, beside those of a plan."""
        began = self._watch.elapsed
        if began < self._next_s or self._samples < max(self._most_in_flight, SHARE * self._needed):
            return
        table = pl.DataFrame([*self._recent], schema=["problem_id", "completion_tokens", "accepted"], orient="row")
        if table["problem_id"].n_unique() < min(PROBLEMS, self._problems) or not (self._tokens and self._seconds):
            return
        per_token = self._seconds / self._tokens
        running = {whole(key): seconds / per_token for key, seconds in self._watch.running() if whole(key)[1] < ROOM}
        evidence = Evidence.of(
            table,
            self._most,
            [*running.values()],
            tries=[*self._recent_tries],
            mendable=self._mendable(),
            votes=[[*Counter(answers).values()] for answers in self._scheduler.ballots().values() if answers],
        )
        seats = max(1, round(self._beside / self._seconds))
        foreseen = rest(
            self._scheduler,
            evidence,
            seats=seats,
            running=running,
            unjudged=self._unjudged,
            accepting=self._accepting,
            second=self._tries,
            plays=PLAYS,
        )
        first, self._ends = self._ends is None, began + foreseen.turns.value * per_token
        self._next_s = self._watch.elapsed + max(FIRST_S, (self._watch.elapsed - began) / SHARE)
        if first and (self._planned or foreseen.turns.value * per_token > LONG_S):
            yield from self._told(foreseen, per_token, running)
            if self._tries and not self._recent_tries:
                yield "    mended and hinted samples come on top: none has been judged yet"

    def _mendable(self) -> float:
        """Share of the rejected plain samples that may be mended, of problems whose plain samples are over."""
        mendable = rejected = 0
        for problem_id, count in self._tries.mendable().items() if self._tries else ():
            accepted, judged = self._scheduler.outcome(problem_id) or (0, 0)
            mendable, rejected = mendable + count, rejected + judged - accepted
        return mendable / rejected if rejected else 1.0

    def _told(self, foreseen: Rest, per_token: float, running: Mapping[Key, float]) -> Iterator[str]:
        title = f"forecast from {self._samples:,} samples"
        yield f"  {title:37}  {'95 % interval':23}  {'as planned' if self._planned else ''}".rstrip()
        started = self._before.completion_tokens + self._tokens + sum(running.values())
        so_far = {
            "samples": (foreseen.samples, self._before.samples + self._samples),
            "completion tokens": (foreseen.tokens, started),
            "accepted rows": (foreseen.accepted, self._scheduler.accepted + self._later),
            "problems solved": (foreseen.solved, self._scheduler.solved + len(self._solved_later)),
        }
        for name, (left, there) in so_far.items():
            if self._accepting or name in ("samples", "completion tokens"):
                yield _line(name, [number(there + each) for each in left], map(number, self._planned.get(name, ())))
        times = [duration(each * per_token) for each in foreseen.turns]
        yield _line("time left", times, map(duration, self._planned.get("time left", ())))


def _line(name: str, shown: list[str], planned: Iterable[str]) -> str:
    value, *interval = shown
    range_ = " - ".join(interval) if len({*interval}) > 1 else ""
    return f"    {name:17} {value:>17}  {range_:23}  {' - '.join([*planned][1:])}".rstrip()


def keep_plan(folder: Path, amounts: Mapping[str, Estimate]) -> None:
    """Write a plan down beside the samples that it is of, to be shown beside the forecast of the run itself."""
    write_text(folder / PLAN, json.dumps(amounts, indent=2) + "\n")


def _planned(folder: Path) -> dict[str, Estimate]:
    try:
        return {name: Estimate(*map(float, each)) for name, each in json.loads((folder / PLAN).read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
