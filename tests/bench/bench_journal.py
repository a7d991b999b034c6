"""The journal: rows a second in groups, and bytes after sealing.

python tests/bench/bench_journal.py
"""

import tempfile
import time
from pathlib import Path

from corpus import frames

from distill import samples
from distill.journal import Journal
from distill.recipe.trajectories import Generation

SETTINGS = Generation(samples_per_problem=8)
TEXT_CHARS = 4_000
"""Of each sample that a run resumes with."""


def rows(count: int, chars: int | None = None) -> list[dict]:
    """Samples as they are journaled, of R1's length or cut."""
    return [
        {
            "problem_id": problem_id,
            "sample": sample,
            "request_hash": "0" * 16,
            "text": f"<think>\n{reasoning}\n</think>\n\n{response}"[:chars],
            "finish_reason": "stop",
            "prompt_tokens": 100,
            "completion_tokens": 5_000,
        }
        for frame in frames(count)
        for problem_id, sample, reasoning, response in frame.select(
            "problem_id", "sample", "reasoning", "response"
        ).iter_rows()
    ]


def grouped_against_single(folder: Path) -> None:
    """Rows a second, one fdatasync a row and one a group, by turns."""
    data, seconds = rows(1_000, TEXT_CHARS), {1: [], 64: []}
    for turn in range(3):
        for flush_rows, times in seconds.items():
            with Journal(folder / f"{turn}-{flush_rows}.jsonl", samples.JOURNALED, flush_rows=flush_rows) as journal:
                start = time.perf_counter()
                for row in data:
                    journal.append(row)
                journal.flush()
                times.append(time.perf_counter() - start)
    single, grouped = (sorted(times)[1] for times in seconds.values())
    print(f"rows/s: fdatasync a row {len(data) / single:,.0f}, in groups {len(data) / grouped:,.0f}: "
          f"{single / grouped:.1f}x  target >= 3x")  # fmt: skip


def sealed_bytes(folder: Path) -> None:
    """Bytes of a shard against those of the lines it is made from."""
    with Journal(folder / "s.jsonl", samples.JOURNALED, seal_bytes=10**12) as journal:
        for row in rows(3_000):
            journal.append(row)
        journal.flush()
        before = journal.path.stat().st_size
        start = time.perf_counter()
        journal.seal()
        took = time.perf_counter() - start
    after = (folder / "s-00001.parquet").stat().st_size
    print(f"sealed: {after / 1e6:.1f} of {before / 1e6:.1f} MB in {took:.1f} s: {after / before:.1%}  target <= 40 %")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".") as name:
        grouped_against_single(Path(name))
        sealed_bytes(Path(name))
