"""Scores with honest intervals, from counts and answers.

Pure functions on NumPy arrays and Polars frames. They sample no models and judge no answers. Every interval is at the
95 % level; every resampling is seeded and does not depend on the order of the problems.
"""

import math
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Z95 = 1.959963984540054
"""Standard normal quantile of 0.975."""

RESAMPLES = 10_000

_CHUNK = 4_000_000
"""Random numbers held at once."""

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value and its 95 % interval, low <= value <= high."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int) -> Estimate:
    """A share of independent trials, with Wilson's score interval; 0 to 1 if there were no trials (value 0.5).

    Source: Wilson 1927; Brown, Cai and DasGupta 2001 recommend it for small counts.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, found {successes} of {trials}")
    if trials == 0:
        return Estimate(0.5, 0.0, 1.0)
    share, z2 = successes / trials, Z95**2 / trials
    center = (share + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    return Estimate(share, max(0.0, min(share, center - half)), min(1.0, max(share, center + half)))


def mean_score(per_problem: ArrayLike, *, seed: int = 0) -> Estimate:
    """The mean of one score of 0 to 1 a problem, with a percentile bootstrap over problems.

    Where all scores are 0, or all 1, resampling sees no spread; the interval is then Wilson's, which knows that few
    problems show little.
    """
    scores = _scores(per_problem)
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(f"expected scores of 0 to 1, found {scores.min()} to {scores.max()}")
    if scores.min() == scores.max() and scores[0] in (0.0, 1.0):
        return wilson(int(scores.sum()), scores.size)
    return _bootstrap(scores, seed)


def paired_difference(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Estimate:
    """How much higher the mean of `a` is than that of `b`, with a bootstrap over the problems that they share.

    Entry i of both is the score of one problem. Pairing removes what makes a problem hard for both. Where they agree on
    every problem, resampling sees no spread; the interval then reaches as far as the share of problems on which they
    may differ all the same, by Wilson.
    """
    first, second = _scores(a), _scores(b)
    if first.shape != second.shape:
        raise ValueError(f"expected scores on the same problems, found {first.size} and {second.size}")
    if (first == second).all():
        reach = wilson(0, first.size).high
        return Estimate(0.0, -reach, reach)
    return _bootstrap(first - second, seed)


def pass_at_k(samples: ArrayLike, correct: ArrayLike, k: int) -> Floats:
    """Per problem, the chance that k of its samples drawn without replacement hold a correct one.

    Unbiased for the chance that k fresh samples do, which 1 - (1 - pass rate)^k is not.
    Source: Chen et al. 2021, Evaluating Large Language Models Trained on Code, equation 1.

    Args:
        samples: Samples of each problem, at least k.
        correct: Correct ones among them.
        k: 1 or more.
    """
    n, c = np.asarray(samples, dtype=np.int64), np.asarray(correct, dtype=np.int64)
    if n.shape != c.shape or n.ndim != 1:
        raise ValueError(f"expected one count a problem, found shapes {n.shape} and {c.shape}")
    if ((c < 0) | (c > n)).any():
        raise ValueError("expected 0 <= correct <= samples for every problem")
    if k < 1 or (n < k).any():
        raise ValueError(f"pass@{k} needs k of 1 or more and as many samples of each problem, found {n.min(initial=0)}")
    all_wrong = np.ones(n.shape)
    for drawn in range(k):
        all_wrong *= np.maximum(n - c - drawn, 0) / (n - drawn)
    return 1.0 - all_wrong


def per_problem(samples: pl.DataFrame) -> pl.DataFrame:
    """Counts and majority of each problem, in the order of first appearance.

    Takes the columns problem_id, answer (canonical text; null if none was found) and correct (null if the verifier
    could not decide: such samples are counted, but neither as right nor as wrong). Returns problem_id, samples
    (decided), correct, undecided, pass_rate and majority; the last two are null where no sample was decided.

    The majority is over decided samples. No answer is no vote; without votes the score is 0. Where answers tie, it is
    their mean correctness: what drawing one of them at random would score, whatever the order of the samples.
    """
    decided = samples.filter(pl.col("correct").is_not_null())
    votes = (
        decided.filter(pl.col("answer").is_not_null())
        .group_by("problem_id", "answer")
        .agg(votes=pl.len(), right=pl.col("correct").mean())
        .filter(pl.col("votes") == pl.col("votes").max().over("problem_id"))
        .group_by("problem_id")
        .agg(majority=pl.col("right").mean())
    )
    counts = samples.group_by("problem_id", maintain_order=True).agg(
        samples=pl.col("correct").count(), correct=pl.col("correct").sum(), undecided=pl.col("correct").null_count()
    )
    has_decided = pl.col("samples") > 0
    return counts.join(votes, on="problem_id", how="left", maintain_order="left").with_columns(
        pl.when(has_decided).then(pl.col("correct") / pl.col("samples")).alias("pass_rate"),
        pl.when(has_decided).then(pl.col("majority").fill_null(0.0)).alias("majority"),
    )


def sentence(what: str, difference: Estimate) -> str:
    """A paired difference in words that claim no more than its interval does.

    `what` is the subject, such as "filtering".
    """
    numbers = in_numbers(difference)
    if difference.low > 0:
        return f"{what} helped: {numbers}"
    if difference.high < 0:
        return f"{what} hurt: {numbers}"
    return f"{what} bought nothing measurable: {numbers}"


def in_numbers(difference: Estimate) -> str:
    """A difference with its interval; one that just crosses zero is seen to cross it."""
    decimals = 3 if any(number and abs(number) < 0.005 for number in difference) else 2
    value, low, high = (signed(number, decimals) for number in difference)
    return f"{value} [{low}, {high}]"


def signed(number: float, decimals: int = 2) -> str:
    """A number with its sign, a true minus, and no sign for what rounds to zero."""
    text = f"{number:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _scores(values: ArrayLike) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise ValueError(f"expected one score for each of 1 or more problems, found shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("expected a score for every problem, found NaN or infinity: leave undecided problems out")
    return scores


def _bootstrap(values: Floats, seed: int) -> Estimate:
    """The mean and the 2.5 and 97.5 percentiles of resampled means.

    What is drawn is how often each value comes: of a million problems with four samples there are five.
    """
    distinct, counts = np.unique(values, return_counts=True)
    random = np.random.default_rng(seed)
    rows = max(1, _CHUNK // distinct.size)
    sizes = [min(rows, RESAMPLES - done) for done in range(0, RESAMPLES, rows)]
    drawn = [random.multinomial(values.size, counts / values.size, size=size) @ distinct for size in sizes]
    means = [sums / values.size for sums in drawn]
    value = float(distinct @ counts / values.size)
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))
