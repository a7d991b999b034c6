"""The search for secrets and places in rows, a second, and how much slower it is with Unicode's word boundaries.

python tests/bench/bench_leaks.py
"""

import random
import tempfile
import time
from pathlib import Path

import polars as pl

from distill.hub.repo import File
from distill.push import leaks

ROWS, WORDS = 4_000, 3_000


def main() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz\\/-.", k=rng.randint(1, 9))) for _ in range(5_000)]
    texts = [" ".join(rng.choices([*words, "é", "≤"], k=WORDS)) for _ in range(ROWS)]
    taken = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        pl.DataFrame({"text": texts}).write_parquet(path)
        for name, edge in (("ASCII's boundaries", leaks.RUST_EDGE), ("Unicode's boundaries", r"\b")):
            leaks.RUST_EDGE = edge
            start = time.perf_counter()
            found = list(leaks.leaks("rows.parquet", File(path)))
            taken[name] = time.perf_counter() - start
            size = sum(len(text.encode()) for text in texts) / 1e6
            print(f"{name}: {size / taken[name]:,.1f} MB a second, {len(found)} found in {size:,.0f} MB")
    fast, slow = taken.values()
    print(f"{slow / fast:.0f} times as slow")


if __name__ == "__main__":
    main()
