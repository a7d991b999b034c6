"""What samples that are still to be drawn will cost and bring, foreseen from those that are there.

The rest of a run is played through by the scheduler itself, many times: each time with other problems for evidence
(bootstrap) and other luck. So an estimate knows that a few hard problems ask for many samples one after another, that
what is rejected is longer than what is accepted, and that seats stay empty at the end. What is tried again is as good
for one problem as for another; where none was tried yet, it comes on top. Samples nothing.
"""

import heapq
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from distill.evidence import Evidence, Try
from distill.lineage import HINTED, ROOM, Key
from distill.metrics import Estimate
from distill.mixture import Floats, Voters, shares
from distill.scheduler import Scheduler
from distill.second_tries import SecondTries
from distill.vote import Ballot

RATES = np.linspace(0, 1, 21)
"""Acceptance rates that problems are taken to have."""
PLAYED_SAMPLES = 4_000
"""Samples that a run is played through with, at most; of a longer one a part of the problems is played."""
PLAYS = 100


class World:
    """How problems and samples are distributed, as far as evidence shows: draws new ones like those seen."""

    def __init__(self, evidence: Evidence, random: np.random.Generator) -> None:
        self._random, self._mendable = random, evidence.mendable
        self.voters = Voters(evidence.votes, random) if evidence.votes else None
        """How samples vote; None where none was seen: then they all agree."""
        self._tries = {kind: [each for each in evidence.tries if each.hinted == kind] for kind in (False, True)}
        self._shares = _mixture(evidence)
        self._lengths = [_Lengths(evidence, accepted, random) for accepted in (False, True)]

    def rates(self, accepted: Sequence[int], judged: Sequence[int]) -> list[float]:
        """An acceptance rate of each problem, given how many of its judged samples were accepted."""
        likely = _likelihood(np.asarray(accepted, float), np.asarray(judged, float)) * self._shares
        total = np.cumsum(likely, axis=1)
        drawn = self._random.random((len(total), 1)) * total[:, -1:]
        rates: list[float] = RATES[np.minimum((drawn > total).sum(axis=1), RATES.size - 1)].tolist()
        return rates

    def sample(self, rate: float, beyond: float = 0.0) -> tuple[float, bool]:
        """Tokens of one more sample, which has more than so many already, and whether it is accepted."""
        accepted = bool(self._random.random() < rate)
        return self._lengths[accepted].draw(beyond), accepted

    def has_tries(self) -> bool:
        """Whether any was seen."""
        return any(self._tries.values())

    def try_again(self, hinted: bool) -> Try:
        """One more of a kind, or of the other where none of it was seen."""
        alike = self._tries[hinted] or self._tries[not hinted]
        return alike[int(self._random.integers(len(alike)))]

    def mends(self) -> bool:
        """Whether a rejected sample may be mended."""
        return bool(self._random.random() < self._mendable)


class _Lengths:
    """The lengths of accepted, or of rejected samples."""

    def __init__(self, evidence: Evidence, accepted: bool, random: np.random.Generator) -> None:
        weight = evidence.weight * evidence.times[evidence.problem]
        chosen = weight * (evidence.accepted == accepted)
        chosen = chosen if chosen.any() else weight  # none of the kind was seen
        self._tokens, self._random = np.append(evidence.tokens, evidence.tail), random
        tail = np.full(evidence.tail.size, evidence.unseen / evidence.tail.size)
        self._shares = np.append(chosen / chosen.sum() * (1 - evidence.unseen), tail)
        self._most = float(evidence.max_tokens)
        self._drawn: list[float] = []

    def draw(self, beyond: float = 0.0) -> float:
        """One that is longer than `beyond`; max_tokens where none is."""
        if beyond > 0:
            longer = np.where(self._tokens > beyond, self._shares, 0.0)
            some = longer.sum()
            return float(self._random.choice(self._tokens, p=longer / some) if some > 0 else self._most)
        if not self._drawn:
            self._drawn = self._random.choice(self._tokens, p=self._shares, size=1_000).tolist()
        return self._drawn.pop()


def _mixture(evidence: Evidence) -> Floats:
    """The share of problems at each of RATES."""
    judged = np.bincount(evidence.problem, evidence.weight, evidence.times.size)
    accepted = np.bincount(evidence.problem, evidence.weight * evidence.accepted, evidence.times.size)
    return shares(_likelihood(accepted.astype(float), judged.astype(float)), evidence.times)


def _likelihood(accepted: Floats, judged: Floats) -> Floats:
    """Of each problem's counts (rows) at each rate (columns)."""
    return np.maximum(RATES ** accepted[:, None] * (1 - RATES) ** (judged - accepted)[:, None], 1e-300)


@dataclass(frozen=True)
class Rest:
    """What is still to come; each with a 95 % interval."""

    samples: Estimate
    tokens: Estimate
    """Completion tokens."""
    accepted: Estimate
    solved: Estimate
    """Problems that get their first accepted sample."""
    turns: Estimate
    """How long it takes, in the time that a seat (a request in flight) takes for a token."""


def rest(
    scheduler: Scheduler,
    evidence: Evidence,
    *,
    seats: int,
    running: Mapping[Key, float] = MappingProxyType({}),
    unjudged: Container[Key] = (),
    accepting: bool = True,
    second: SecondTries | None = None,
    plays: int = PLAYS,
    seed: int = 0,
) -> Rest:
    """Play the rest of a run, with so many requests in flight. `running` has the tokens so far of those that are now;
    `unjudged` are samples that have finished and wait for a verdict.

    Without `accepting`, the scheduler is told of no acceptance, as where a fixed number of samples is drawn. `second`
    tries problems again that lack accepted samples.
    """
    random = np.random.default_rng(seed)
    still = [*scheduler.open_problems(), *(second.open_problems() if second else ())]
    most = max(1, PLAYED_SAMPLES // scheduler.until.max_samples)
    played = []
    for _ in range(plays):
        some = still if len(still) <= most else random.choice(still, most, replace=False).tolist()
        world = World(evidence.resampled(random), random)
        played.append(
            _play(scheduler.part(some), world, seats, running, unjudged, accepting, second)
            * np.array(_scales(still, some))
        )
    table = np.array(played)
    if len(still) > most:  # what is not played keeps all seats busy
        table[:, 4] += table[:, 1] * (1 - most / len(still)) / seats
    low, middle, high = np.quantile(table, [0.025, 0.5, 0.975], axis=0)
    return Rest(*(Estimate(*each) for each in zip(middle.tolist(), low.tolist(), high.tolist(), strict=True)))


def _scales(still: Sequence[str], some: Sequence[str]) -> list[float]:
    """What the played part's numbers are multiplied by: all but the time at its end."""
    return [len(still) / max(1, len(some))] * 4 + [1.0]


def _play(
    scheduler: Scheduler,
    world: World,
    seats: int,
    running: Mapping[Key, float],
    unjudged: Container[Key],
    accepting: bool,
    second: SecondTries | None,
) -> NDArray[np.float64]:
    """Samples, tokens, accepted, solved and turns of one run to its end."""
    standing = scheduler.standing()
    ballots = scheduler.ballots()
    passed = [len(ballots[each]) if ballots else accepted for each, (accepted, _) in standing.items()]
    judged = [judged for _, judged in standing.values()]
    rates = dict(zip(standing, world.rates(passed, judged) if standing else [], strict=True))
    votes = {each: world.voters.votes(answers) for each, answers in ballots.items()} if world.voters else {}
    second = second if world.has_tries() else None
    solved = {problem_id for problem_id, (accepted, _) in standing.items() if accepted}
    solved |= {problem_id for problem_id in standing if second and second.solves(problem_id)}
    over = {problem_id for problem_id in standing if scheduler.outcome(problem_id)}
    was_solved, samples, tokens, accepted_rows, now = len(solved), 0, 0.0, 0, 0.0
    flight: list[tuple[float, int, Key, bool]] = []

    def start(key: Key, done: float) -> None:
        nonlocal samples, tokens
        length, accepted = world.sample(rates[key[0]], done)
        samples, tokens = samples + 1, tokens + length - done
        heapq.heappush(flight, (now + length - done, samples, key, accepted))

    def try_again(problem_id: str, accepted: int, judged: int) -> None:
        nonlocal samples, tokens, accepted_rows
        assert second is not None
        trying, length = second.part(problem_id), 0.0
        if not trying.has(problem_id):
            trying.begin(problem_id, accepted, [number for number in range(judged - accepted) if world.mends()])
        while following := trying.next():
            drawn = world.try_again(hinted=following[1] >= HINTED)
            trying.judged(*following, drawn.accepted, world.mends())
            samples, length, accepted_rows = samples + 1, length + drawn.tokens, accepted_rows + drawn.accepted
            if drawn.accepted:
                solved.add(problem_id)
        tokens += length
        if length:  # one seat has them all, one after the other
            heapq.heappush(flight, (now + length, samples, (problem_id, ROOM), False))

    for problem_id in second.open_problems() if second else ():
        if problem_id in standing:
            try_again(problem_id, *standing[problem_id])
    for key in scheduler.unanswered():
        if key in unjudged:
            heapq.heappush(flight, (now, -len(flight), key, world.sample(rates[key[0]])[1]))
        else:
            start(key, running.get(key, 0.0))
    while True:
        while len(flight) < seats and (following := scheduler.next()):
            start(following, 0.0)
        if not flight:
            found = (scheduler.accepted, scheduler.solved) if ballots else (accepted_rows, len(solved) - was_solved)
            return np.array([samples, tokens, *found, now])
        now, _, key, accepted = heapq.heappop(flight)
        if key[1] >= ROOM:
            continue
        ballot = Ballot(votes[key[0]].draw()) if accepted and key[0] in votes else None
        scheduler.judged(*key, accepted and accepting, ballot)
        if accepted:
            accepted_rows += 1
            solved.add(key[0])
        outcome = scheduler.outcome(key[0])
        if second and outcome and key[0] not in over:
            over.add(key[0])
            try_again(key[0], *outcome)
