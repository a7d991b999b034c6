"""Asks an engine for the samples that each problem needs and journals every one as it finishes. Asks nothing twice.

Serves teachers (trajectories) and students (report) alike. Does not judge.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import polars as pl

from distill import samples
from distill.asking import Asking, Key
from distill.chat import clean_text
from distill.engines import Completion, Engine, Request
from distill.journal import Journal
from distill.ledger import Ledger
from distill.progress import Progress
from distill.recipe.trajectories import Generation, Until
from distill.samples import COMPLETION, FAILED, JOURNAL, JOURNALED
from distill.scheduler import Scheduler
from distill.shards import JournalError
from distill.store import BATCH_ROWS, KEY, RunError

Accepts = Callable[[pl.DataFrame], list[bool]]
"""Whether each of some finished samples (columns of `COMPLETION`) is accepted."""


def sample(
    engine: Engine,
    problems: pl.DataFrame,
    settings: Generation,
    folder: Path,
    *,
    name: str,
    progress: Progress,
    until: Until | None = None,
    accepts: Accepts | None = None,
    ledger: Ledger | None = None,
    partial: bool = False,
    draw_on: Iterable[str] = (),
) -> pl.DataFrame:
    """The samples of every problem, from the journal in `folder` or else the engine.

    All of 0 .. samples_per_problem - 1; with `until`, those up to the one that settled the problem, as `accepts` judges
    them. Rows are in the order of the problems, then of the samples. A sample whose request failed in an earlier call
    is asked again. `ledger` says when to stop, which is LimitError, and holds the counts afterwards, also where
    sampling is interrupted or fails. With `partial`, nothing is asked: the samples wanted that are there. What the runs
    in the folders `draw_on` have of the same requests is taken from them and not asked for.
    Raises RunError where the folder's samples were drawn with other settings; they are left as they are, or where
    samples were damaged on disk meanwhile.
    """
    ledger = ledger or Ledger()
    texts = dict(problems.select("problem_id", "problem").iter_rows())
    asking = Asking(engine, settings, texts)
    samples.check_same(folder, asking.asked)
    hashes = asking.hashes
    fixed = Until(accepted=settings.samples_per_problem, max_samples=settings.samples_per_problem)
    until = until or fixed
    scheduler = Scheduler(texts, until)
    with Journal(folder / JOURNAL, JOURNALED) as journal, _Judging(scheduler, accepts) as judging:
        samples.say_damage(journal, progress)
        for run in draw_on:
            progress.say("  " + samples.draw(journal, run, asking.asked, hashes, until.max_samples))
        ledger.open(folder, samples.paid(journal.scan()))
        answered = samples.last_rows(journal.scan(), hashes).filter(~FAILED)
        judging.replay(answered, lambda: _completions(journal, answered).collect_batches(chunk_size=BATCH_ROWS))
        try:
            if scheduler.open and not partial:
                done = set(answered.select(KEY).iter_rows())
                requests = _Requests(asking, scheduler, judging, done, ledger)
                with ledger.running():
                    _fill(engine, requests, hashes, journal, name=name, progress=progress)
        finally:
            with suppress(JournalError):  # what it could not write is not there, and counts as pending
                journal.flush()
            found = samples.last_rows(journal.scan(), hashes)
            wanted = samples.wanted(scheduler, texts)
            ledger.counts = samples.counts(wanted, found)
            if scheduler.open:
                progress.say(f"  {name}: {ledger.counts}")
        if scheduler.open and not partial:
            raise ledger.limit_reached()
        rows = _completions(journal, found.join(wanted, on=KEY, how="semi")).collect()
    table = wanted.join(rows, on=KEY, how="inner", maintain_order="left", validate="1:1")
    if not partial and (lost := wanted.height - table.height):
        raise RunError(f"{lost} samples were damaged on disk while others were sampled; run again to ask for them")
    return table


class _Judging:
    """Judges finished samples beside the engine, in a thread: it need not wait while others are being sampled."""

    def __init__(self, scheduler: Scheduler, accepts: Accepts | None) -> None:
        self._scheduler, self._accepts = scheduler, accepts
        self.accepting = accepts is not None
        self._waiting: list[dict[str, Any]] = []
        self._judged: tuple[list[dict[str, Any]], Future[list[bool]]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judging")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def replay(self, keys: pl.DataFrame, batches: Callable[[], Iterable[pl.DataFrame]]) -> None:
        """Judge all samples that were there before; their texts are read only where somebody looks at them."""
        if self._accepts is None:
            for problem_id, number in keys.select(KEY).iter_rows():
                self._scheduler.judged(problem_id, number, False)
            return
        for batch in batches():
            verdicts = self._thread.submit(self._accepts, batch).result()
            for (problem_id, number), accepted in zip(batch.select(KEY).iter_rows(), verdicts, strict=True):
                self._scheduler.judged(problem_id, number, accepted)

    def take(self, row: dict[str, Any]) -> None:
        """A sample has finished."""
        if self._accepts is None:
            self._scheduler.judged(row["problem_id"], row["sample"], False)
        else:
            self._waiting.append({column: row[column] for column in COMPLETION})

    def settle(self, *, wait: bool) -> None:
        """Pass on the verdicts that are in, and have the samples judged that wait; with `wait`, all of them."""
        while self._judged or self._waiting:
            if self._judged is None:
                rows, self._waiting = self._waiting, []
                assert self._accepts is not None
                table = pl.DataFrame(rows, schema=COMPLETION)
                self._judged = rows, self._thread.submit(self._accepts, table)
            rows, future = self._judged
            if not (wait or future.done()):
                return
            self._judged = None
            for row, accepted in zip(rows, future.result(), strict=True):
                self._scheduler.judged(row["problem_id"], row["sample"], accepted)


class _Requests:
    """What the engine pulls: requests for samples that are wanted and not there."""

    def __init__(self, asking: Asking, scheduler: Scheduler, judging: _Judging, done: set[Key], ledger: Ledger) -> None:
        self.asking, self.scheduler, self.judging, self.done, self.ledger = asking, scheduler, judging, done, ledger
        self.in_flight: dict[str, Key] = {}

    def __iter__(self) -> Iterator[Request | None]:
        while self.scheduler.open:
            self.judging.settle(wait=False)
            key = self.scheduler.next()
            if key is None and not self.in_flight:
                self.judging.settle(wait=True)
                key = self.scheduler.next()
            if key is None:
                if self.in_flight:
                    yield None
            elif key not in self.done:
                if not self.ledger.has_room(len(self.in_flight)):
                    return
                request = self.asking.request(key)
                self.in_flight[request.request_id] = key
                yield request

    def finished(self, completion: Completion) -> Key:
        """Which sample a completion is."""
        return self.in_flight.pop(completion.request_id)


def _fill(
    engine: Engine,
    requests: _Requests,
    hashes: Mapping[str, str],
    journal: Journal,
    *,
    name: str,
    progress: Progress,
) -> None:
    scheduler = requests.scheduler
    problems, settled = len(hashes), len(hashes) - scheduler.open
    tokens = failed = 0
    with progress.task(name, problems, done=settled) as advance:
        for completion in engine.complete(requests):
            key = requests.finished(completion)
            row = _row(*key, hashes[key[0]], completion)
            journal.append(row)
            requests.done.add(key)
            requests.ledger.took(completion.prompt_tokens, completion.completion_tokens)
            requests.judging.take(row)
            tokens += completion.completion_tokens
            failed += completion.finish_reason.startswith("failed")
            now = problems - scheduler.open
            advance(now - settled, _note(scheduler, requests.judging.accepting, tokens, failed))
            settled = now
        journal.seal()
        requests.judging.settle(wait=True)
        advance(problems - scheduler.open - settled, _note(scheduler, requests.judging.accepting, tokens, failed))
    if left := [*requests.in_flight]:
        raise RunError(f"the engine left {len(left)} requests unanswered, the first is {left[0]}")
    if scheduler.open and not requests.ledger.stopped_at:
        raise RunError("the engine ended before everything was asked")


def _note(scheduler: Scheduler, accepting: bool, tokens: int, failed: int) -> str:
    parts = [f"{tokens:,} tokens"]
    if accepting and tokens:
        parts.append(f"{scheduler.accepted:,} accepted")
    if failed:
        parts.append(f"{failed:,} failed")
    return ", ".join(parts)


def _row(problem_id: str, number: int, request_hash: str, completion: Completion) -> dict[str, Any]:
    return {
        "problem_id": problem_id,
        "sample": number,
        "request_hash": request_hash,
        "text": clean_text(completion.text),
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
    }


def _completions(journal: Journal, chosen: pl.DataFrame) -> pl.LazyFrame:
    return samples.whole(journal.scan(), chosen).select(COMPLETION.names())
