"""How problems differ, found from few samples of each: of several kinds, and how their answers agree.

Knows nothing of schedulers and filters.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEADS = np.linspace(0, 1, 21)
"""How often samples of a problem give its leading answer: what problems are taken to have."""
ALPHAS = np.geomspace(0.1, 30, 6)
"""How much its other answers differ."""


def shares(likely: Floats, times: Floats) -> Floats:
    """The share of problems of each kind: nonparametric maximum likelihood (Laird 1978), by EM.

    `likely` has the likelihood of each problem (row) if it were of each kind (column), `times` how often each counts.
    One problem more, of which nothing is known, keeps a few problems from claiming that all others are like them.
    """
    kinds = likely.shape[1]
    found = np.full(kinds, 1 / kinds)
    for _ in range(100):
        posterior = likely * found
        posterior *= (times / posterior.sum(axis=1))[:, None]
        found = (posterior.sum(axis=0) + 1 / kinds) / (times.sum() + 1)
    return found


class Votes:
    """Answers of one problem: the leading one, or from an urn that repeats what it gave or gives a new one (Hoppe)."""

    def __init__(
        self, lead: float, alpha: float, leading: str | None, others: list[str | None], random: np.random.Generator
    ) -> None:
        self._lead, self._alpha, self._leading, self._others, self._random = lead, alpha, leading, others, random

    def draw(self) -> str | None:
        """The next answer."""
        if self._random.random() < self._lead:
            return self._leading
        seen = len(self._others)
        place = self._random.random() * (seen + self._alpha)
        self._others.append(self._others[int(place)] if place < seen else f"other {seen}")
        return self._others[-1]


class Voters:
    """Problems like those seen. `votes` has of each of them how many samples gave each answer."""

    def __init__(self, votes: Sequence[Sequence[int]], random: np.random.Generator) -> None:
        self._random = random
        alike = Counter(tuple(sorted(each)) for each in votes)
        likely = np.array([_likelihood(counts).sum(axis=2).ravel() for counts in alike])
        self._shares = shares(likely, np.array([*alike.values()], float)).reshape(LEADS.size, ALPHAS.size, 1)

    def votes(self, answers: Sequence[str | None]) -> Votes:
        """Of a problem that has given these answers."""
        counts = sorted(Counter(answers).items(), key=lambda each: each[1])
        likely = _likelihood(tuple(count for _, count in counts)) * self._shares
        drawn = int(np.searchsorted(np.cumsum(likely), self._random.random() * likely.sum()))
        lead, alpha, which = np.unravel_index(drawn, likely.shape)
        leading = counts[which][0] if which < len(counts) else "leading"
        others = [answer for answer in answers if which == len(counts) or answer != leading]
        return Votes(float(LEADS[lead]), float(ALPHAS[alpha]), leading, others, self._random)


@cache
def _likelihood(counts: tuple[int, ...]) -> Floats:
    """Of answers given so often: by LEADS, ALPHAS, and which of them is the leading one, or none is yet (Ewens)."""
    total = sum(counts)
    rising = np.array([[lgamma(alpha + n) - lgamma(alpha) for n in range(total + 1)] for alpha in ALPHAS])
    likely = np.empty((LEADS.size, ALPHAS.size, len(counts) + 1))
    for which, count in enumerate((*counts, 0)):
        others = [each for place, each in enumerate(counts) if place != which]
        ewens = len(others) * np.log(ALPHAS) + sum(map(lgamma, others)) - rising[:, total - count]
        likely[:, :, which] = (LEADS**count * (1 - LEADS) ** (total - count))[:, None] * np.exp(ewens)
    return np.maximum(likely, 1e-300)
