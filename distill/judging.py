"""Verdicts on samples as they finish, by which is decided what to ask for next. Does not sample."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import polars as pl

from distill.followups import FollowUps, Row
from distill.known_verdicts import KnownVerdicts
from distill.lineage import ROOM
from distill.opinion import Opinion
from distill.outlook import Outlook
from distill.samples import COMPLETION
from distill.scheduler import Scheduler
from distill.store import KEY

Accepts = Callable[[pl.DataFrame], list[Opinion]]
"""What is made of each of some finished samples (columns of `COMPLETION`)."""
APART_S = 10.0
"""Seconds between two looks at what has finished, at most."""
REST, REST_DUE = 100, 20
"""Looks are so many times as far apart as one takes of Python's lock, which the engine waits for: while it has enough
to do, and where it waits for verdicts. At many samples a look hardly takes longer than at one."""


class Judging:
    """Judges finished samples beside the engine, in a thread: it need not wait while others are being sampled."""

    def __init__(
        self,
        scheduler: Scheduler,
        follow_ups: FollowUps,
        accepts: Accepts | None,
        outlook: Outlook,
        verdicts: KnownVerdicts,
    ) -> None:
        self._scheduler, self._follow_ups, self._accepts, self._outlook = scheduler, follow_ups, accepts, outlook
        self._verdicts = verdicts
        self.accepting = accepts is not None
        self._waiting: list[Row] = []
        self._judged: tuple[pl.DataFrame, Future[list[Opinion]]] | None = None
        self._looked = -APART_S
        self._took = 0.0
        """When samples were looked at last, and the processor time of the thread that did."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judging")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown()
        if self._judged and not self._judged[1].exception():  # sampling was interrupted meanwhile
            self._verdicts.add(self._judged[0], self._judged[1].result())
        self._verdicts.save()

    def skip(self, keys: pl.DataFrame) -> None:
        """Take samples that nobody looks at."""
        for problem_id, number in keys.select(KEY).iter_rows():
            self._scheduler.judged(problem_id, number, False)

    def recall(self, samples: pl.LazyFrame) -> pl.DataFrame:
        """Take those of the samples on which a verdict is known, and give their rows' numbers.

        None where samples may be mended or vote: that takes their texts, with which `replay` recalls it.
        """
        texts = self._follow_ups.tries is not None or self._scheduler.until.vote is not None
        found = self._verdicts.find(samples.clear() if texts else samples)
        for row in found.iter_rows(named=True):
            self._scheduler.judged(row["problem_id"], row["sample"], row["accepted"])
            self._outlook.judged(row, row["accepted"])
        return found.select("row")

    def replay(self, rows: list[Row]) -> None:
        """Take samples that were there before, and judge those on which no verdict is known."""
        table = pl.DataFrame([{column: row[column] for column in COMPLETION} for row in rows], schema=COMPLETION)
        for row, opinion in zip(rows, self._verdicts.recall(table), strict=True):
            if opinion:
                self._pass_on(row, opinion)
            else:
                self.take(row)
        self.settle(wait=True)

    def take(self, row: Row) -> None:
        """A sample has finished."""
        if self._accepts is None:
            self._scheduler.judged(row["problem_id"], row["sample"], False)
            self._outlook.judged(row, False)
        else:
            self._outlook.waits(row)
            self._waiting.append({column: row[column] for column in COMPLETION})

    def settle(self, *, wait: bool = False, due: bool = False) -> None:
        """Pass on the verdicts that are in; have the samples judged that wait, now and then, and sooner if it is `due`.

        With `wait`, all of them are judged, and their verdicts passed on.
        """
        while self._judged or self._waiting:
            if self._judged is None:
                assert self._accepts is not None
                apart = min(APART_S, (REST_DUE if due else REST) * self._took)
                if not wait and time.monotonic() - self._looked < apart:
                    return
                table, self._waiting = pl.DataFrame(self._waiting, schema=COMPLETION), []
                self._judged = table, self._thread.submit(self._look, self._accepts, table)
            table, future = self._judged
            if not (wait or future.done()):
                return
            self._judged, opinions = None, future.result()
            self._verdicts.add(table, opinions)
            for row, opinion in zip(table.iter_rows(named=True), opinions, strict=True):
                self._pass_on(row, opinion)

    def _pass_on(self, row: Row, opinion: Opinion) -> None:
        if row["sample"] < ROOM:
            self._scheduler.judged(row["problem_id"], row["sample"], opinion.accepted, opinion.ballot)
        self._follow_ups.judged(row, opinion)
        self._outlook.judged(row, opinion.accepted)

    def _look(self, accepts: Accepts, table: pl.DataFrame) -> list[Opinion]:
        self._looked, before = time.monotonic(), time.thread_time()
        try:
            return accepts(table)
        finally:
            self._took = time.thread_time() - before
