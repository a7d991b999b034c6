"""What is asked of a problem whose plain samples brought too few accepted ones, and in which order.

First what mends its rejected samples, then what mends those, and in the end, if nothing is accepted, samples that are
given the answer. They are looked at in this order, and the first at which enough are accepted is the last. So what a
run ends with depends on the samples and on nothing else, as for plain ones. Makes no requests, and does not judge.
"""

from collections import deque
from collections.abc import Container, Iterable
from copy import copy
from dataclasses import dataclass, field, replace

from distill.lineage import HINTED, ROOM, Key, round_of
from distill.recipe.strategies import Strategies


@dataclass
class _Problem:
    """What is known of one problem."""

    lacking: int
    """Accepted samples that are still wanted."""
    solved: bool
    order: list[int]
    """Numbers of its second tries, as far as it is known which; those that mend others grow it."""
    asked: int = 0
    """Of these, how many have been asked for or were there before."""
    judged: int = 0
    """Of these, how many have been looked at."""
    early: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    """Accepted and mendable, of samples that wait for one before them."""
    hinted: bool = False
    settled: bool = False


class SecondTries:
    """Hands out second tries to ask for, and takes verdicts on them.

    `enough`: accepted samples of a problem that settle it, plain ones included. `answered`: problems with a reference.
    """

    def __init__(self, strategies: Strategies, enough: int, answered: Container[str]) -> None:
        self._rounds = strategies.refine.rounds if strategies.refine else 0
        self._hints = strategies.hint_unsolved.samples if strategies.hint_unsolved else 0
        self.enough, self._answered = enough, answered
        self._problems: dict[str, _Problem] = {}
        self._ready: deque[str] = deque()
        self.open = 0
        """Problems that are not settled."""

    def has(self, problem_id: str) -> bool:
        """Whether the plain samples of a problem are over."""
        return problem_id in self._problems

    def mends(self, number: int) -> bool:
        """Whether a rejected sample of this number would be mended."""
        return number < HINTED and round_of(number) < self._rounds

    def begin(self, problem_id: str, accepted: int, rejected: Iterable[int]) -> list[int]:
        """The plain samples of a problem are over. Take those to be mended, in their order; give what follows."""
        problem = _Problem(self.enough - accepted, accepted > 0, [ROOM + number for number in rejected])
        self._problems[problem_id] = problem
        self.open += 1
        return self._went_on(problem_id, problem, 0)

    def judged(self, problem_id: str, number: int, accepted: bool, mendable: bool) -> list[int]:
        """Take a verdict; give the samples of which it is now known that they may be asked for."""
        problem = self._problems[problem_id]
        known = len(problem.order)
        problem.early[number] = accepted, mendable
        while not problem.settled and problem.judged < known and problem.order[problem.judged] in problem.early:
            number = problem.order[problem.judged]
            accepted, mendable = problem.early.pop(number)
            problem.judged += 1
            problem.lacking -= accepted
            problem.solved |= accepted
            if mendable and not accepted and self.mends(number):
                problem.order.append(number + ROOM)
            self._settle(problem_id, problem)
        return self._went_on(problem_id, problem, known)

    def next(self) -> Key | None:
        """A sample to ask for, or None where everything depends on verdicts that are not in yet."""
        while self._ready:
            problem_id = self._ready.popleft()
            problem = self._problems[problem_id]
            while problem.asked < len(problem.order) and problem.order[problem.asked] in problem.early:
                problem.asked += 1
            if not problem.settled and problem.asked < self._limit(problem):
                problem.asked += 1
                self._ready.appendleft(problem_id)
                return problem_id, problem.order[problem.asked - 1]
        return None

    def never_asked(self, problem_id: str) -> list[int] | None:
        """Of a problem that is settled, the samples that it did not take; None for others."""
        problem = self._problems[problem_id]
        return problem.order[problem.asked :] if problem.settled else None

    def wanted(self, problem_id: str) -> list[int]:
        """The second tries of a problem that count, or are surely needed as far as verdicts are in."""
        problem = self._problems.get(problem_id)
        if problem is None:
            return []
        return problem.order[: problem.judged if problem.settled else self._limit(problem)]

    def open_problems(self) -> list[str]:
        """The problems that are not settled, of those whose plain samples are over."""
        return [problem_id for problem_id, problem in self._problems.items() if not problem.settled]

    def solves(self, problem_id: str) -> bool:
        """Whether a sample of a problem is accepted, as far as is known here."""
        return problem_id in self._problems and self._problems[problem_id].solved

    def mendable(self) -> dict[str, int]:
        """How many plain samples of each problem may be mended."""
        return {
            problem_id: sum(number < HINTED and round_of(number) == 1 for number in problem.order)
            for problem_id, problem in self._problems.items()
        }

    def part(self, problem_id: str) -> "SecondTries":
        """A copy that knows no other problem, and of no sample in flight, in which to try what may come."""
        part = copy(self)
        part._problems = {}
        if problem := self._problems.get(problem_id):
            early = dict(problem.early)
            part._problems[problem_id] = replace(problem, order=[*problem.order], early=early, asked=problem.judged)
        part._ready = deque(part._problems)
        return part

    def _went_on(self, problem_id: str, problem: _Problem, known: int) -> list[int]:
        self._settle(problem_id, problem)
        problem.asked = max(problem.asked, problem.judged)
        self._ready.append(problem_id)
        return problem.order[known:]

    def _settle(self, problem_id: str, problem: _Problem) -> None:
        if problem.settled:
            return
        over = problem.judged == len(problem.order)
        if over and not (problem.solved or problem.hinted) and problem_id in self._answered:
            problem.order += [HINTED + turn for turn in range(self._hints)]
            problem.hinted, over = True, not self._hints
        problem.settled = problem.lacking <= 0 or over
        self.open -= problem.settled

    def _limit(self, problem: _Problem) -> int:
        """How many may have been asked for: those that are surely needed."""
        return min(len(problem.order), problem.judged + problem.lacking)
