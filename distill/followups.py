"""What is asked once a sample has finished: to go on where it was cut, to mend it, to try again with the answer.

Holds the text of a sample for as long as a request needs it. Does not judge.
"""

from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any

import polars as pl

from distill.asking import Asking, attempt
from distill.engines import Request
from distill.lineage import HINTED, ROOM, Key, continuation, is_continuation
from distill.opinion import Opinion
from distill.samples import COMPLETION, merged
from distill.scheduler import Scheduler
from distill.second_tries import SecondTries

Row = dict[str, Any]
"""A finished sample: columns of `COMPLETION`, and its request_hash."""


class FollowUps:
    """Requests that follow from finished samples. `answered` are those that a journal has: key and request_hash.

    `references` has the answers that problems have, by their problem_id.
    """

    def __init__(
        self,
        asking: Asking,
        scheduler: Scheduler,
        answered: AbstractSet[tuple[str, int, str]] = frozenset(),
        references: Mapping[str, str] = MappingProxyType({}),
        *,
        enough: int = 1,
    ) -> None:
        self._asking, self._scheduler, self._answered, self._references = asking, scheduler, answered, references
        self.tries = (
            SecondTries(asking.strategies, enough, references.keys()) if asking.strategies.second_tries else None
        )
        self.hashes: dict[Key, str] = {}
        """Names what is asked in each."""
        self.there: list[Key] = []
        """Those that the journal has, and that have not been taken from it yet."""
        self._requests: dict[Key, Request] = {}
        """Of follow-ups that have not finished."""
        self._cut: dict[Key, Row] = {}
        """First parts of those that go on where one was cut."""
        self._rejected: dict[str, dict[int, tuple[str, str]]] = {}
        """Of each problem that is not settled, text and complaint of the samples that may be mended."""
        self._ready: deque[Key] = deque()

    @property
    def open(self) -> int:
        """Problems that are not settled."""
        return self._scheduler.open + (self.tries.open if self.tries else 0)

    @property
    def continues(self) -> bool:
        """Whether truncated samples are gone on with."""
        return self._asking.continues

    def finished(self, row: Row) -> Row | None:
        """Take a finished row; give the sample that it makes, or None where that is to be continued first."""
        key = row["problem_id"], row["sample"]
        request = self._requests.pop(key, None)
        if is_continuation(key[1]):
            both = pl.DataFrame([self._cut.pop(key), row], schema=COMPLETION)
            return merged(both).row(0, named=True)
        needed = request is not None or key[1] < ROOM
        if needed and self.continues and row["finish_reason"] == "length":
            second = key[0], continuation(key[1])
            self._cut[second] = row
            first, named = request or self._asking.plain(key), self.hash(key)
            self._add(second, *self._asking.continued(first, named, second, row["text"]))
            if second in self.there:
                self._cut[second] = row | {"text": ""}  # which nothing needs then
            else:
                self._ready.append(second)
            return None
        return row

    def judged(self, row: Row, opinion: Opinion) -> None:
        """Take what was said of a sample; its problem may need others."""
        problem_id, number = row["problem_id"], row["sample"]
        if self.tries is None or (number < ROOM and self.tries.has(problem_id)):
            return
        ended = row["finish_reason"] == "stop" and attempt(row["text"]) is not None
        mendable = bool(opinion.complaint) and ended and self.tries.mends(number)
        if mendable:
            self._rejected.setdefault(problem_id, {})[number] = row["text"], opinion.complaint
        if number >= ROOM:
            new = self.tries.judged(problem_id, number, opinion.accepted, mendable)
        elif outcome := self._scheduler.outcome(problem_id):
            accepted, drawn = outcome
            rejected = sorted(each for each in self._rejected.get(problem_id, ()) if each < drawn)
            new = self.tries.begin(problem_id, accepted, rejected)
        else:
            return
        for each in new:
            self._try(problem_id, each)
        if (unneeded := self.tries.never_asked(problem_id)) is not None:
            self._rejected.pop(problem_id, None)
            for each in unneeded:
                self._requests.pop((problem_id, each), None)

    def next(self) -> Key | None:
        """A follow-up to ask for."""
        if self._ready:
            return self._ready.popleft()
        while self.tries and (key := self.tries.next()):
            if key in self._requests:  # or else its first part has finished, and it waits for the second
                return key
        return None

    def request(self, key: Key) -> Request:
        """The request for a sample."""
        return self._requests[key] if key in self.hashes else self._asking.plain(key)

    def hash(self, key: Key) -> str:
        """Names what is asked of a sample."""
        return self.hashes.get(key) or self._asking.hashes[key[0]]

    def numbers(self, problem_id: str) -> list[int]:
        """The samples of a problem that count or are surely needed, each followed by its second part, if it has one."""
        numbers = [*range(self._scheduler.wanted(problem_id)), *(self.tries.wanted(problem_id) if self.tries else [])]
        both = [(number, continuation(number)) for number in numbers]
        return [each for pair in both for each in pair if each == pair[0] or (problem_id, each) in self.hashes]

    def _try(self, problem_id: str, number: int) -> None:
        key = problem_id, number
        if number >= HINTED:
            self._add(key, *self._asking.hinted(key, self._references[problem_id]))
        else:
            self._add(key, *self._asking.mended(key, *self._rejected[problem_id].pop(number - ROOM)))

    def _add(self, key: Key, request: Request, named: str) -> None:
        self.hashes[key], self._requests[key] = named, request
        if (*key, named) in self._answered:
            self.there.append(key)
