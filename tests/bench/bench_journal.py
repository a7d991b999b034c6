"""The journal: rows a second in groups, bytes after sealing, and how soon a large run goes on.

    python tests/bench/bench_journal.py

The last takes a process of its own, whose time runs from the call of `sample` to the first request that the engine
pulls, and whose peak is that of the whole process until then.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from corpus import frames

from distill import sampler, samples
from distill.engines.scripted import ScriptedEngine
from distill.journal import Journal
from distill.progress import Silent
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


def resume(folder: Path, samples: int) -> None:
    """Time and memory until a run with so many finished samples asks for its next one."""
    count = samples // SETTINGS.samples_per_problem
    problems = pl.DataFrame({"problem_id": [f"p{n}" for n in range(count + 1)], "problem": ["?"] * (count + 1)})
    problems.write_parquet(folder / "problems.parquet")
    texts = [row["text"] for row in rows(2_000, TEXT_CHARS)]

    def answer(request) -> str:
        number = request.seed % 2_000
        return texts[number][request.seed % 97 :]

    with ScriptedEngine(answer, name="script") as engine:
        sampler.sample(engine, problems[:count], SETTINGS, folder, name="fill", progress=Silent())
    command = [sys.executable, __file__, "--resume", str(folder)]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def peak_gb() -> float:
    """Of this process since it was started: ru_maxrss would be its parent's, where that was larger."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9


def resumed(folder: Path) -> None:
    """The child: sample until the first request."""
    problems = pl.read_parquet(folder / "problems.parquet")

    def answer(request) -> str:
        raise KeyboardInterrupt

    start = time.perf_counter()
    try:
        with ScriptedEngine(answer, name="script") as engine:
            sampler.sample(engine, problems, SETTINGS, folder, name="resume", progress=Silent())
    except KeyboardInterrupt:
        took, peak = time.perf_counter() - start, peak_gb()
    samples = SETTINGS.samples_per_problem * (problems.height - 1)
    print(f"resume of {samples:,} samples of {TEXT_CHARS:,} characters: {took:.2f} s, {peak:.2f} GB  "
          "target <= 5 s, 1 GB")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000, help="finished samples of the run that goes on")
    parser.add_argument("--resume", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.resume:
        resumed(given.resume)
    else:
        with tempfile.TemporaryDirectory(dir=".") as name:
            grouped_against_single(Path(name))
            sealed_bytes(Path(name))
            (Path(name) / "run").mkdir()
            resume(Path(name) / "run", given.samples)
