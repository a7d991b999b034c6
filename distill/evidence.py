"""What is known of the samples that a forecast goes by: lengths, verdicts, tries and votes, each by its problem.

Does not say what is to come: `forecast` does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from distill.mixture import Floats


class Try(NamedTuple):
    """A mended or a hinted sample."""

    hinted: bool
    tokens: float
    accepted: bool


@dataclass(frozen=True)
class Evidence:
    """Finished samples (entry i of an array is of sample i) and their problems."""

    problem: NDArray[np.int64]
    """0 .. problems - 1."""
    tokens: Floats
    accepted: NDArray[np.bool_]
    weight: Floats
    """How many samples it stands for: 1, or more where it is a long one and others as long are still running."""
    unseen: float
    """Share of samples that are longer than all of these."""
    tail: Floats
    """Lengths that those may have, each as likely."""
    times: Floats
    """How often each problem counts."""
    max_tokens: int
    tries: Sequence[Try] = ()
    mendable: float = 1.0
    """Share of the rejected samples that may be mended."""
    votes: Sequence[Sequence[int]] = ()
    """Of problems whose samples vote, how many gave each answer."""

    @classmethod
    def of(
        cls,
        samples: pl.DataFrame,
        max_tokens: int,
        running: Sequence[float] = (),
        **further: Any,
    ) -> Self:
        """From the columns problem_id, completion_tokens and accepted, of at least one sample of the plain question;
        `further` are other fields.

        `running` has the tokens so far of samples that have not finished: long samples finish late, so those that have
        finished are too short as a whole. Kaplan and Meier's estimate (1958) corrects for that, with an exponential
        tail (Brown, Hollander and Korwar 1974) beyond the longest that has finished.
        """
        unfinished = np.asarray(running, dtype=float)
        tokens = samples["completion_tokens"].to_numpy().astype(float)
        problem = samples["problem_id"].rank("dense").to_numpy().astype(np.int64) - 1
        weight, unseen = _kaplan_meier(tokens, unfinished)
        mean = (tokens.sum() + unfinished.sum()) / tokens.size
        tail = np.minimum(tokens.max() - mean * np.log1p(-(np.arange(20) + 0.5) / 20), max_tokens)
        accepted = samples["accepted"].to_numpy().astype(bool)
        times = np.ones(problem.max() + 1)
        return cls(problem, tokens, accepted, weight, unseen, tail, times, max_tokens, **further)

    def resampled(self, random: np.random.Generator) -> Self:
        """As many problems, drawn with replacement."""
        drawn = random.integers(self.times.size, size=self.times.size)
        chosen: list[int] = random.integers(max(1, len(self.tries)), size=len(self.tries)).tolist()
        times = np.bincount(drawn, minlength=self.times.size).astype(float)
        voted: list[int] = random.integers(max(1, len(self.votes)), size=len(self.votes)).tolist()
        tries, votes = [self.tries[place] for place in chosen], [self.votes[place] for place in voted]
        return replace(self, times=times, tries=tries, votes=votes)


def _kaplan_meier(finished: Floats, running: Floats) -> tuple[Floats, float]:
    """What each finished sample counts for, 1 on average; and the share that is longer than all of them."""
    values = np.concatenate([finished, running])
    order = np.lexsort((np.arange(values.size) >= finished.size, values))  # of equals, the finished first
    ends = order < finished.size
    at_risk = values.size - np.arange(values.size)
    survive = np.concatenate([[1.0], np.cumprod(1 - ends / at_risk)])
    share = np.empty(values.size)
    share[order] = survive[:-1] * ends / at_risk
    share = share[: finished.size]
    return share * finished.size / share.sum(), float(survive[-1])
