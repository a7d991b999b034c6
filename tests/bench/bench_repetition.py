"""Repetition against open-r1's 20-gram reward: ``python tests/bench/bench_repetition.py --rows 2000``.

The baseline is given our tokens as ready words, untimed; our time includes making them. Shares must be equal.
"""

import argparse
from functools import partial

import polars as pl
from corpus import frames
from open_r1 import repetition_reward
from table import HEADER, row, timed
from tokens import as_words

from filters import _text
from filters.repetition import WINDOW_TOKENS, Repetition


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rows = pl.concat(frames(arguments.rows))
    texts = as_words(rows.select(_text.whole_text()).to_series())
    baseline_s, rewards = timed(lambda: [repetition_reward(text, WINDOW_TOKENS) for text in texts])
    print(f"{arguments.rows} rows, {rows['reasoning'].str.len_chars().mean():,.0f} characters each\n{HEADER}")
    limit = Repetition().max_repeated_share
    for name, numba, target in [("whole arrays (NumPy)", "never", ">= 4x"), ("compiled (Numba)", "always", ">= 15x")]:
        _text.numba = numba
        rows[:8].select(Repetition().verdict())  # starts Numba
        ours = min(
            (timed(lambda: rows.select(Repetition().verdict())) for _ in range(arguments.repeats)), key=lambda t: t[0]
        )
        print(row(f"repetition, {name}", baseline_s, ours[0], target))
        words = _text.words(rows.select(_text.whole_text()).to_series())
        features = rows.with_columns(words.alias("words"))
        alone_s, _ = timed(partial(features.select, Repetition().verdict()))
        print(row("  with words made by another filter", baseline_s, alone_s))
        shares = ours[1].to_series().struct.field("score").to_list()
        equal = sum(abs(share + reward) < 1e-12 for share, reward in zip(shares, rewards, strict=True))
        flags = sum((share > limit) == (-reward > limit) for share, reward in zip(shares, rewards, strict=True))
        print(f"  equal shares: {equal} of {len(rewards)}; equal flags at share > {limit}: {flags}")


if __name__ == "__main__":
    main()
