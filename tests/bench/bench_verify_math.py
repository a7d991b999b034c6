r"""Speed and agreement of `verify_math` beside TRL's `accuracy_reward`, which parses whole completions one by one.

    python tests/bench/bench_verify_math.py --rows 20000

Both judge the same rows in the same run: ours all of them, in the frames in which a chain hands them over and from a
cold start; the baseline the first ``--baseline-rows``, scaled to all. TRL reads LaTeX only, so its golds are given as
``$gold$``. Rows whose answer is not boxed are counted apart: TRL does not read "A: 18".
"""

import argparse

import polars as pl
from corpus import frames
from table import HEADER, row, timed
from trl.rewards import accuracy_reward

from filters.verify_math import VerifyMath

TARGET = ">= 5x, 0 disagreements"


def theirs(frame: pl.DataFrame, *, whole: bool) -> tuple[float, list[float | None]]:
    """Seconds and rewards of TRL on whole completions, or on the responses after the reasoning."""
    texts = frame.select(pl.format("<think>\n{}\n</think>\n\n{}", "reasoning", "response") if whole else "response")
    completions = [[{"role": "assistant", "content": text}] for text in texts.to_series()]
    golds = [f"${gold}$" for gold in frame["reference_answer"]]
    return timed(lambda: accuracy_reward(completions, golds))


def disagreements(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows that were decided and on which the two differ."""
    kept = pl.col("verdict").struct.field("outcome") == "keep"
    decided = (pl.col("verdict").struct.field("outcome") != "abstain") & pl.col("reward").is_not_null()
    return frame.filter(decided & (kept != (pl.col("reward") == 1)))


def main() -> None:
    """Print one line a job, and the disagreements: all on boxed answers, a few of the others."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--baseline-rows", type=int, default=2_000)
    arguments.add_argument("--k", type=int, default=8)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()

    ours_s, verdicts, few = 0.0, [], []
    for frame in frames(given.rows, seed=given.seed, k=given.k):
        seconds, verdict = timed(lambda rows=frame: rows.select(VerifyMath().verdict()).to_series())
        ours_s += seconds
        verdicts.append(verdict)
        if sum(part.height for part in few) < given.baseline_rows:
            few.append(frame)
    sample, verdict = pl.concat(few).head(given.baseline_rows), pl.concat(verdicts)
    outcomes = dict(verdict.struct.field("outcome").value_counts(sort=True).iter_rows())
    print(f"{given.rows} rows, k = {given.k}; the baseline on {sample.height}, scaled. Ours: {outcomes}\n{HEADER}")
    for whole in (True, False):
        seconds, rewards = theirs(sample, whole=whole)
        job = f"TRL accuracy_reward, serial, {'completions' if whole else 'responses'}"
        print(row(job, seconds * given.rows / sample.height, ours_s, TARGET))
        judged = sample.with_columns(verdict=verdict.head(sample.height), reward=pl.Series(rewards, dtype=pl.Float64))
        differ = disagreements(judged)
        boxed = differ["response"].str.contains(r"\boxed{", literal=True)
        print(f"    disagreements: {boxed.sum()} on boxed answers, {(~boxed).sum()} on others, such as")
        for line in pl.concat([differ.filter(boxed), differ.filter(~boxed).head(3)]).iter_rows(named=True):
            said = f"TRL {line['reward']:.0f}, ours {line['verdict']['outcome']}"
            print(f"    gold {line['reference_answer']}; {said}: {line['response'][-40:]!r}")


if __name__ == "__main__":
    main()
