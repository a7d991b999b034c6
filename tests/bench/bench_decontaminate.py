"""Decontamination of traces against open-r1's sets: ``python tests/bench/bench_decontaminate.py --rows 2000``.

The baseline is given our normalised words, untimed; our time includes making them. A row is flagged for a single
n-gram, as there; both look at the trace, ours at the problem as well.
"""

import argparse
from functools import partial

import polars as pl
from corpus import benchmarks, frames
from open_r1 import is_contaminated, ngram_lookup
from table import HEADER, row, timed
from tokens import as_words

from filters import _text
from filters._contamination import normalised
from filters.decontaminate import Decontaminate

N = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    rows, items = pl.concat(frames(arguments.rows)), tuple(benchmarks())
    traces = as_words(rows.select(_text.whole_text()).to_series(), normalised)
    lookup = ngram_lookup(as_words(pl.Series(items), normalised), N)
    baseline_s, flags = timed(lambda: [is_contaminated(trace, lookup, N) for trace in traces])
    print(f"{arguments.rows} rows, {len(items)} benchmark items, {sum(flags)} traces hold an n-gram of one\n{HEADER}")
    decontaminate = Decontaminate(
        texts=items, ngram_words=N, problem_share=1, trace_share=0, boilerplate_documents=None
    )
    rows = rows.with_columns(problem=pl.lit(""))
    for name, numba, target in [("whole arrays (NumPy)", "never", ">= 8x"), ("compiled (Numba)", "always", ">= 15x")]:
        _text.numba = numba
        rows[:8].select(decontaminate.verdict())  # starts Numba
        times = [timed(lambda: rows.select(decontaminate.verdict())) for _ in range(arguments.repeats)]
        ours_s, verdicts = min(times, key=lambda t: t[0])
        print(row(f"decontaminate traces, {name}", baseline_s, ours_s, target))
        features = rows.with_columns(_text.words(rows.select(_text.whole_text()).to_series()).alias("words"))
        alone_s, _ = timed(partial(features.select, decontaminate.verdict()))
        print(row("  with words made by another filter", baseline_s, alone_s))
        ours = (verdicts.to_series().struct.field("outcome") == "reject").to_list()
        print(f"  equal flags: {sum(a == b for a, b in zip(ours, flags, strict=True))} of {len(flags)}")


if __name__ == "__main__":
    main()
