"""The vote among the samples of a problem while they come in (adaptive consistency, Aggarwal et al. 2023).

Counts as the filter `majority` does once they are all there. Does not find out what a sample answers.
"""

from collections import Counter
from collections.abc import Sequence
from math import exp, sqrt
from typing import NamedTuple


class Ballot(NamedTuple):
    """What a sample votes."""

    answer: str | None
    """In its canonical form; None where it states none."""
    reward: float | None = None
    """What `reward_score` gave it."""


def agreeing(ballots: Sequence[Ballot], min_lead: float) -> int:
    """How many samples give the leading answer; 0 where its lead, in standard errors, is below `min_lead` or nothing.

    Votes are weighted by the logistic function of the reward where every sample has one.
    """
    rewards = [ballot.reward for ballot in ballots if ballot.reward is not None]
    scored = len(rewards) == len(ballots)
    weights = [1 / (1 + exp(-max(-30.0, min(30.0, reward)))) for reward in rewards] if scored else [1.0] * len(ballots)
    votes: dict[str, float] = {}
    for ballot, weight in zip(ballots, weights, strict=True):
        if ballot.answer is not None:
            votes[ballot.answer] = votes.get(ballot.answer, 0.0) + weight
    if not votes:
        return 0
    (answer, first), (_, second) = sorted([*votes.items(), ("", 0.0)], key=lambda vote: -vote[1])[:2]
    lead = (first - second) / sqrt(first + second) * sqrt(len(ballots) / sum(weights))
    if second >= first * (1 - 1e-9) or round(lead, 9) < min_lead:
        return 0
    return sum(ballot.answer == answer for ballot in ballots)


def most_alike(ballots: Sequence[Ballot]) -> int:
    """How many samples give the answer that most of them give."""
    return max(Counter(ballot.answer for ballot in ballots if ballot.answer is not None).values(), default=0)
