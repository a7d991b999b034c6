"""Asks an engine for the samples that each problem needs and journals every one as it finishes. Asks nothing twice.

Serves teachers (trajectories) and students (report) alike. Does not judge.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import polars as pl

from distill import samples
from distill.asking import Asking, most_tokens
from distill.chat import clean_text
from distill.doom import Doom
from distill.engines import Completion, Engine, Request
from distill.followups import FollowUps, Row
from distill.journal import Journal
from distill.judging import Accepts, Judging
from distill.known_verdicts import KnownVerdicts
from distill.ledger import Ledger
from distill.lineage import Key
from distill.outlook import Outlook
from distill.progress import Progress
from distill.recipe.abort import Abort
from distill.recipe.trajectories import Generation, Trajectories, Until
from distill.samples import ASKED_AGAIN, COMPLETION, CUT, JOURNAL, JOURNALED
from distill.scheduler import Scheduler
from distill.shards import JournalError
from distill.store import BATCH_ROWS, KEY, RunError
from distill.track import Tracker
from distill.watch import Watch


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
    judged_by: pl.DataFrame | None = None,
    ledger: Ledger | None = None,
    partial: bool = False,
    draw_on: Iterable[str] = (),
    abort: Abort | None = None,
    tracker: Tracker | None = None,
    begins: Callable[[], None] = lambda: None,
    kept: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """The samples of every problem, from the journal in `folder` or else the engine.

    All of 0 .. samples_per_problem - 1; with `until`, those up to the one that settled the problem, as `accepts` judges
    them, and then what its second tries take, for which `accepts` must be given; what that said is remembered under
    `judged_by` (see `KnownVerdicts`). Rows are in the order of the problems, then of the samples. A sample whose
    request failed in an earlier call is asked again, unless its prompt is too long for the model. `ledger` says when to
    stop, which is LimitError, and holds the counts afterwards, also where sampling is interrupted or fails. With
    `partial`, nothing is asked: the samples wanted that are there. What the runs in the folders `draw_on` have of the
    same requests is taken from them and not asked for. `abort` ends samples early; those that it has ended before are
    samples for as long as it has the rule that did. `tracker` is shown how it goes. `begins` is called once the
    settings are found to be those of the folder, and before anything is changed. With `kept`, which returns the key and
    what else is to be kept of a batch of samples, all of these together are returned: for samples whose texts need not
    fit into memory. They must have no second parts.
    Raises RunError where the folder's samples were drawn with other settings; they are left as they are, or where
    samples were damaged on disk meanwhile.
    """
    ledger = ledger or Ledger()
    texts = dict(problems.select("problem_id", "problem").iter_rows())
    asking = Asking(engine, settings, texts)
    samples.check_same(folder, asking.asked)
    begins()
    hashes = asking.hashes
    fixed = Until(accepted=settings.samples_per_problem, max_samples=settings.samples_per_problem)
    until = until or fixed
    scheduler = Scheduler(texts, until)
    watch = Watch()
    most, accepting = most_tokens(settings), accepts is not None
    outlook = Outlook(scheduler, watch, folder, accepting=accepting, most_tokens=most, tracker=tracker)
    enough = 1 if until is fixed else until.accepted
    with Journal(folder / JOURNAL, JOURNALED) as journal:
        samples.say_damage(journal, progress)
        for run in draw_on:
            progress.say("  " + samples.draw(journal, run, asking.asked, hashes, until.max_samples, abort=abort))
        ledger.open(folder, samples.paid(journal.scan()))
        answered = samples.last_rows(journal.scan(), hashes, abort=abort).filter(~ASKED_AGAIN)
        further = samples.follow_ups(journal.scan(), hashes, abort=abort)
        there = {*further.select(*KEY, "request_hash").iter_rows()}
        follow_ups = FollowUps(asking, scheduler, there, _references(problems), enough=enough)
        with Judging(scheduler, follow_ups, accepts, outlook, KnownVerdicts(folder, judged_by)) as judging:
            earlier = _Earlier(journal, judging, follow_ups, further)
            earlier.replay(answered)
            try:
                if follow_ups.open and not partial:
                    if asking.continues:
                        engine.check_continues()
                    done = set(answered.select(KEY).iter_rows())
                    requests = _Requests(follow_ups, scheduler, judging, earlier, done, ledger, watch)
                    outlook.open(replace(ledger.spent, samples=answered.height), follow_ups.tries)
                    doom = Doom(abort, settings.seed, texts, requests.in_flight) if abort else None
                    with ledger.running():
                        _fill(engine, requests, journal, doom, outlook, name=name, progress=progress)
            finally:
                with suppress(JournalError):  # what it could not write is not there, and counts as pending
                    journal.flush()
                found = samples.last_rows(journal.scan(), hashes, follow_ups.hashes, abort=abort)
                wanted = samples.keys(follow_ups.numbers, texts)
                ledger.counts = samples.counts(wanted, found)
                if follow_ups.open:
                    progress.say(f"  {name}: {ledger.counts}")
        if follow_ups.open and not partial:
            raise ledger.limit_reached()
        chosen = found.join(wanted, on=KEY, how="semi")
        if not partial and (lost := wanted.height - chosen.height):
            raise RunError(f"{lost} samples were damaged on disk while others were sampled; run again to ask for them")
        rows = _journaled(journal, chosen)
        if kept is None:
            table = samples.merged(_in_order(wanted, rows.collect()))
            return table.select(COMPLETION.names())
        batches = rows.select(COMPLETION.names()).collect_batches(chunk_size=BATCH_ROWS)
        return _in_order(wanted, pl.concat([*map(kept, batches)] or [kept(pl.DataFrame(schema=COMPLETION))]))


def draw_for(engine: Engine, problems: pl.DataFrame, settings: Trajectories, folder: Path, progress: Progress) -> None:
    """Take what other runs have of the same requests for these problems, and ask for nothing."""
    asking = Asking(engine, settings, dict(problems.select("problem_id", "problem").iter_rows()))
    most = settings.until.max_samples if settings.until else settings.samples_per_problem
    with Journal(folder / JOURNAL, JOURNALED) as journal:
        for run in settings.draw_on:
            said = samples.draw(journal, run, asking.asked, asking.hashes, most, abort=settings.abort)
            progress.say(f"  for all problems: {said}")


def _references(problems: pl.DataFrame) -> dict[str, str]:
    if "reference_answer" not in problems.columns:
        return {}
    return dict(problems.select("problem_id", "reference_answer").drop_nulls().iter_rows())


class _Earlier:
    """Samples that the journal had before; texts are read only where somebody looks at them."""

    def __init__(self, journal: Journal, judging: "Judging", follow_ups: FollowUps, further: pl.DataFrame) -> None:
        self._journal, self._judging, self._follow_ups, self._further = journal, judging, follow_ups, further

    def replay(self, answered: pl.DataFrame) -> None:
        """Take these samples, and what follows from them."""
        looked_at = answered.filter(pl.lit(self._follow_ups.continues) & CUT)
        whole = answered.join(looked_at, on="row", how="anti")
        if self._judging.accepting:
            known = self._judging.recall(samples.numbered(self._journal.scan(), whole))
            looked_at = answered.join(known, on="row", how="anti")
        else:
            self._judging.skip(whole)
        self._take(looked_at)
        self.replay_what_follows()

    def replay_what_follows(self) -> None:
        """Take follow-ups that are there, and what follows from those."""
        while there := self._follow_ups.there:
            named = [(*key, self._follow_ups.hashes[key]) for key in there]
            there.clear()
            keys = pl.DataFrame(named, schema=self._further.select(*KEY, "request_hash").schema, orient="row")
            self._take(self._further.join(keys, on=keys.columns, how="semi", maintain_order="left"))

    def _take(self, chosen: pl.DataFrame) -> None:
        for batch in _journaled(self._journal, chosen).collect_batches(chunk_size=BATCH_ROWS):
            rows = batch.iter_rows(named=True)
            self._judging.replay([sample for row in rows if (sample := self._follow_ups.finished(row))])


class _Requests:
    """What the engine pulls: requests for samples that are wanted and not there."""

    def __init__(
        self,
        follow_ups: FollowUps,
        scheduler: Scheduler,
        judging: Judging,
        earlier: _Earlier,
        done: set[Key],
        ledger: Ledger,
        watch: Watch,
    ) -> None:
        self.follow_ups, self.scheduler, self.judging, self.earlier = follow_ups, scheduler, judging, earlier
        self.done, self.ledger, self.watch = done, ledger, watch
        self.in_flight: dict[str, Key] = {}

    def __iter__(self) -> Iterator[Request | None]:
        while self.follow_ups.open:
            self.judging.settle()
            key = self._next()
            if key is None:  # it depends on verdicts
                self.judging.settle(due=True, wait=not self.in_flight)
                key = self._next()
            if key is None:
                if self.in_flight:
                    yield None
                elif self.follow_ups.open:
                    return
            elif key not in self.done:
                if not self.ledger.has_room(len(self.in_flight)):
                    return
                request = self.follow_ups.request(key)
                self.in_flight[request.request_id] = key
                self.watch.asks(key)
                yield request
                self.watch.asked(key)

    def _next(self) -> Key | None:
        self.earlier.replay_what_follows()
        return self.follow_ups.next() or self.scheduler.next()

    def finished(self, completion: Completion) -> Key:
        """Which sample a completion is."""
        return self.in_flight.pop(completion.request_id)


def _fill(
    engine: Engine,
    requests: _Requests,
    journal: Journal,
    doom: Doom | None,
    outlook: Outlook,
    *,
    name: str,
    progress: Progress,
) -> None:
    follow_ups = requests.follow_ups
    problems = len(requests.scheduler.standing())
    settled = problems - follow_ups.open
    with progress.task(name, problems, done=settled) as advance:
        for completion in engine.complete(requests, doom):
            key = requests.finished(completion)
            took = requests.watch.finished(key)
            row = _row(*key, follow_ups.hash(key), completion, *took)
            if doom:
                row |= doom.finished(completion)
            journal.append(row)
            requests.done.add(key)
            requests.ledger.took(completion.prompt_tokens, completion.completion_tokens)
            if sampled := follow_ups.finished(row):
                requests.judging.take(sampled)
            outlook.finished(completion, *took)
            for line in outlook.foresee():
                progress.say(line)
            now = problems - follow_ups.open
            advance(now - settled, outlook.note(), outlook.left_s())
            settled = now
        journal.seal()
        requests.judging.settle(wait=True)
        if not follow_ups.open:
            outlook.over()
        advance(problems - follow_ups.open - settled, outlook.note(), 0.0)
    if left := [*requests.in_flight]:
        raise RunError(f"the engine left {len(left)} requests unanswered, the first is {left[0]}")
    if follow_ups.open and not requests.ledger.stopped_at:
        raise RunError("the engine ended before everything was asked")


def _row(
    problem_id: str, number: int, request_hash: str, completion: Completion, seconds: float, in_flight: int
) -> Row:
    return {
        "problem_id": problem_id,
        "sample": number,
        "request_hash": request_hash,
        "text": clean_text(completion.text),
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
        "continued_at": None,
        "doomed": None,
        "doomed_at": None,
        "seconds": round(seconds, 6),
        "in_flight": in_flight,
    }


def _in_order(wanted: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return wanted.join(rows, on=KEY, how="inner", maintain_order="left", validate="1:1")


def _journaled(journal: Journal, chosen: pl.DataFrame) -> pl.LazyFrame:
    return samples.whole(journal.scan(), chosen).select(*COMPLETION, "request_hash")
