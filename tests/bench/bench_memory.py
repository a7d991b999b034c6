"""Memory and time of the whole chain on rows that are made on the fly and never held: 20 KB each, a million are 20 GB.

    python tests/bench/bench_memory.py --rows 20000 200000 1000000

Each size runs in a process of its own. The peak is that of the process and of the workers that it waited for, each by
itself; time is also given without the making of the rows, which every pass over them pays anew.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import polars as pl
from corpus import frames
from whole_chain import whole_chain

from filters import kept

LIMIT_GB, LINEAR = 6, 11


def measure(rows: int) -> dict[str, float]:
    """Judge so many rows in this process."""
    making_s, passes = 0.0, 0

    def source() -> Iterator[pl.DataFrame]:
        nonlocal making_s, passes
        passes += 1
        made = iter(frames(rows))
        while True:
            start = time.perf_counter()
            frame = next(made, None)
            making_s += time.perf_counter() - start
            if frame is None:
                return
            yield frame

    start = time.perf_counter()
    verdicts = whole_chain().judge_batches(source)
    seconds = time.perf_counter() - start
    peaks = [resource.getrusage(who).ru_maxrss / 1e6 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "rows": rows,
        "kept": kept(verdicts.with_row_index()).height,
        "passes": passes,
        "seconds": seconds,
        "judging_s": seconds - making_s,
        "peak_gb": peaks[0],
        "worker_peak_gb": peaks[1],
    }


def main() -> None:
    """Print a line a size, and how time grew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    print(f"{'rows':>9} {'kept':>9} {'passes':>6} {'seconds':>8} {'judging s':>9} {'peak GB':>8} {'worker GB':>9}")
    before = None
    for rows in options.rows:
        command = [sys.executable, __file__, "--one", str(rows)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        growth = f"   {found['judging_s'] / before['judging_s']:.1f}x the time" if before else ""
        growth += f" for {rows / before['rows']:.0f}x the rows" if before else ""
        print(
            f"{rows:>9,} {found['kept']:>9,} {found['passes']:>6} {found['seconds']:>8.1f} {found['judging_s']:>9.1f} "
            f"{found['peak_gb']:>8.2f} {found['worker_peak_gb']:>9.2f}{growth}",
            flush=True,
        )
        before = found
    print(f"targets: peak below {LIMIT_GB} GB at a million rows; 20,000 to 200,000 rows at most {LINEAR}x the time")


if __name__ == "__main__":
    main()
