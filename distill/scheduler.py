"""Which sample to ask for next, so that no problem is asked more than it needs.

A problem's samples are looked at in their order 0, 1, 2, …: it is settled by the first one at which it has enough
accepted, has had its most, or is hopeless. So what a run ends with depends on the samples and on nothing else: not on
which finished first, nor on how often the run was interrupted. Does not sample, and does not judge.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import comb

from distill.recipe.trajectories import Until
from distill.vote import Ballot, agreeing, most_alike

SURE = 0.95
"""Probability, by the posterior, from which a problem counts as hopeless."""


@dataclass
class _Problem:
    """What is known of one problem."""

    asked: int = 0
    """Samples 0 .. asked - 1 have been asked for or were there before."""
    judged: int = 0
    """Samples 0 .. judged - 1 have been looked at, in their order."""
    accepted: int = 0
    """Of these; with a vote, those that agree with its stable outcome."""
    ballots: list[Ballot] = field(default_factory=list)
    """With a vote, those of the samples that may vote."""
    early: dict[int, tuple[bool, Ballot | None]] = field(default_factory=dict)
    """Verdicts on samples that wait for one before them."""
    settled: bool = False


class Scheduler:
    """Hands out samples to ask for, and takes verdicts on them.

    A fixed number k of samples is the case `accepted: k, max_samples: k` in which nothing is accepted before its end.
    """

    def __init__(self, problem_ids: Iterable[str], until: Until) -> None:
        self.until = until
        self._problems = {problem_id: _Problem() for problem_id in problem_ids}
        self._ready: deque[str] = deque(self._problems)
        self.open = len(self._problems)
        """Problems that are not settled."""
        self.accepted = 0
        """Accepted samples of all problems, as far as they count."""
        self.solved = 0
        """Problems with an accepted sample."""

    def next(self) -> tuple[str, int] | None:
        """A sample to ask for, or None where everything depends on verdicts that are not in yet."""
        while self._ready:
            problem_id = self._ready.popleft()
            problem = self._problems[problem_id]
            while problem.asked in problem.early:  # there before, of an interrupted run
                problem.asked += 1
            if not problem.settled and problem.asked < self._limit(problem, self.until.ahead):
                problem.asked += 1
                # Samples of a problem are asked for together, so that an engine reads their prompt once.
                self._ready.appendleft(problem_id)
                return problem_id, problem.asked - 1
        return None

    def judged(self, problem_id: str, sample: int, accepted: bool, ballot: Ballot | None = None) -> None:
        """Take a verdict; one that did not decide counts as not accepted. Without a ballot, all vote the same."""
        problem = self._problems[problem_id]
        problem.early[sample] = accepted, ballot
        while not problem.settled and problem.judged in problem.early:
            accepted, ballot = problem.early.pop(problem.judged)
            problem.judged += 1
            before = problem.accepted
            if self.until.vote is None:
                problem.accepted += accepted
            elif accepted:
                problem.ballots.append(ballot or Ballot(""))
                problem.accepted = agreeing(problem.ballots, self.until.vote.min_lead)
            self.accepted += problem.accepted - before
            self.solved += bool(problem.accepted) - bool(before)
            problem.settled = self._is_settled(problem)
            self.open -= problem.settled
        problem.asked = max(problem.asked, problem.judged)
        self._ready.append(problem_id)

    def drawn(self, problem_id: str) -> int:
        """How many samples of a problem count: those up to the one that settled it."""
        return self._problems[problem_id].judged

    def outcome(self, problem_id: str) -> tuple[int, int] | None:
        """Of a problem that is settled, how many samples are accepted, and how many count; None for others."""
        problem = self._problems[problem_id]
        return (problem.accepted, problem.judged) if problem.settled else None

    def wanted(self, problem_id: str) -> int:
        """How many samples of a problem count, or are surely needed as far as its verdicts are in."""
        problem = self._problems[problem_id]
        return problem.judged if problem.settled else self._limit(problem, ahead=0)

    def needed(self) -> int:
        """How many more samples all problems surely need."""
        return sum(self._limit(each, ahead=0) - each.judged for each in self._problems.values() if not each.settled)

    def open_problems(self) -> list[str]:
        """The problems that are not settled."""
        return [problem_id for problem_id, problem in self._problems.items() if not problem.settled]

    def standing(self) -> dict[str, tuple[int, int]]:
        """Of each problem, how many samples are accepted and how many judged, as far as they count."""
        return {problem_id: (problem.accepted, problem.judged) for problem_id, problem in self._problems.items()}

    def ballots(self) -> dict[str, list[str | None]]:
        """The answers of the samples of each problem that vote; none of any where there is no vote."""
        if self.until.vote is None:
            return {}
        return {problem_id: [each.answer for each in problem.ballots] for problem_id, problem in self._problems.items()}

    def unanswered(self) -> list[tuple[str, int]]:
        """Samples that have been asked for, and on which no verdict is in."""
        return [
            (problem_id, number)
            for problem_id, problem in self._problems.items()
            for number in range(problem.judged, problem.asked)
            if number not in problem.early
        ]

    def part(self, problem_ids: Iterable[str]) -> "Scheduler":
        """A copy that knows no other problems, in which to try what may come."""
        copy = Scheduler(problem_ids, self.until)
        for problem_id in copy._problems:
            problem = self._problems[problem_id]
            copy._problems[problem_id] = replace(problem, early=dict(problem.early), ballots=[*problem.ballots])
        return copy

    def _limit(self, problem: _Problem, ahead: int) -> int:
        """How many samples may have been asked for: those that are surely needed, and `ahead` more."""
        so_far = problem.accepted if self.until.vote is None else most_alike(problem.ballots)
        needed = max(self.until.accepted - so_far, 1)
        return min(self.until.max_samples, problem.judged + needed + ahead)

    def _is_settled(self, problem: _Problem) -> bool:
        return (
            problem.accepted >= self.until.accepted
            or problem.judged >= self.until.max_samples
            or hopeless(problem.accepted, problem.judged, self.until.give_up_below)
        )


def hopeless(accepted: int, judged: int, rate: float) -> bool:
    """Whether the acceptance rate lies below `rate` with a probability of 95 %: Beta posterior, uniform prior."""
    return rate > 0 and beta_below(1 + accepted, 1 + judged - accepted, rate) > SURE


def beta_below(a: int, b: int, x: float) -> float:
    """The probability that a Beta(a, b) variable is below x, for whole a and b: a binomial tail."""
    n = a + b - 1
    return sum(comb(n, i) * x**i * (1 - x) ** (n - i) for i in range(a, n + 1))
