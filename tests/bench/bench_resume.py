"""How soon a large run goes on, with a fixed number of samples and with `until`, whose verdicts are known.

    python tests/bench/bench_resume.py

Each takes a process of its own, whose time runs from the call of `sample` to the first request that the engine pulls,
and whose peak is that of the whole process until then. The same without the known verdicts is the baseline of `until`.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from bench_journal import TEXT_CHARS, rows

from distill import sampler
from distill.engines.scripted import ScriptedEngine
from distill.known_verdicts import FILE, judged_by
from distill.progress import Silent
from distill.recipe.trajectories import Trajectories, Until
from distill.trajectories import accepted_by
from filters.format import Format
from filters.verify_math import VerifyMath

SECTION = Trajectories(teacher="script", samples_per_problem=8)
UNTIL = Until(accepted=8, max_samples=8)
"""Every sample is needed, so that as many are drawn as without it."""
HEAD = [Format(), VerifyMath()]


def draw(folder: Path, problems: pl.DataFrame, answer, *, until: bool) -> None:
    """Sample as `trajectories` does."""
    by = judged_by(problems, [filter.provenance() for filter in HEAD])
    accepts = accepted_by(HEAD, problems, "script", SECTION)
    takes = {"until": UNTIL, "accepts": accepts, "judged_by": by} if until else {}
    with ScriptedEngine(answer, name="script", in_flight=256) as engine:
        sampler.sample(engine, problems, SECTION, folder, name="t", progress=Silent(), **takes)


def fill(folder: Path, samples: int) -> None:
    """A run of so many finished samples, and a problem more that is not sampled yet."""
    count = samples // UNTIL.max_samples
    problems = pl.DataFrame(
        {
            "problem_id": [f"p{n}" for n in range(count + 1)],
            "problem": ["How many?"] * (count + 1),
            "reference_answer": ["7"] * (count + 1),
            "domain": ["math"] * (count + 1),
            "source": ["bench"] * (count + 1),
            "split": ["train"] * (count + 1),
        }
    )
    problems.write_parquet(folder / "problems.parquet")
    texts = [row["text"].partition("</think>")[0] for row in rows(2_000, TEXT_CHARS)]

    def answer(request) -> str:
        text = texts[request.seed % 2_000][request.seed % 97 :]
        return f"<think>\n{text}\n</think>\n\nSo it is \\boxed{{{request.seed % 2 + 6}}}."

    draw(folder, problems[:count], answer, until=True)


def peak_gb() -> float:
    """Of this process since it was started: ru_maxrss would be its parent's, where that was larger."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9


def resume(folder: Path, *, until: bool) -> None:
    """The child: sample until the first request."""
    problems = pl.read_parquet(folder / "problems.parquet")
    known = until and (folder / FILE).exists()

    def answer(request) -> str:
        raise KeyboardInterrupt

    start = time.perf_counter()
    try:
        draw(folder, problems, answer, until=until)
    except KeyboardInterrupt:
        took, peak = time.perf_counter() - start, peak_gb()
    samples = UNTIL.max_samples * (problems.height - 1)
    kind = "until" if known else "until, judged again" if until else "fixed number"
    target = "target <= 5 s, 1 GB" if known or not until else "baseline"
    print(f"{kind:<20} {samples:,} samples of {TEXT_CHARS:,} characters: {took:.2f} s, {peak:.2f} GB  {target}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000, help="finished samples of the run that goes on")
    parser.add_argument("--baseline", action="store_true", help="also judge all of them again")
    parser.add_argument("--resume", choices=["until", "fixed"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.resume:
        resume(given.folder, until=given.resume == "until")
        sys.exit()
    with tempfile.TemporaryDirectory(dir=".") as name:
        fill(Path(name), given.samples)

        def child(kind: str) -> None:
            """One of them, in a process of its own."""
            command = [sys.executable, __file__, "--resume", kind, "--folder", name]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)

        child("fixed")
        child("until")
        if given.baseline:
            (Path(name) / FILE).unlink()
            child("until")
