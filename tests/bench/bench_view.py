"""`distill view` and `Run` on a large run: time and memory until the first page, and of what is looked at after it.

    python tests/bench/bench_view.py

The server takes a process of its own. Time runs from its start, imports included, until the first page is answered;
memory is the peak of that process. So does each question to `Run`, whose time runs from the question to its text.
"""

import argparse
import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from distill.fates import keep_fates
from distill.schema import TRAJECTORY
from distill.store import BATCH_ROWS, write_parquet, write_text
from filters import VERDICT

FILTERS = {"format": 0.05, "length": 0.1, "repetition": 0.02, "verify_math": 0.4, "dedup_exact": 0.1, "pass_rate": 0.4}
"""What share each filter rejects of what comes to it."""
SAMPLES = 4
WORDS = 600
"""Of each reasoning: some 4 KB. Their length does not matter to the list, which reads none of them."""


def write_run(folder: Path, rows: int) -> None:
    """Trajectories of random words and their verdicts; every batch of rows has the same texts."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5_000)]
    texts = [" ".join(rng.choices(words, k=WORDS)) for _ in range(BATCH_ROWS)]
    (folder / "trajectories").mkdir(parents=True)
    table = pl.DataFrame(schema=TRAJECTORY).to_arrow().schema
    with pq.ParquetWriter(folder / "trajectories" / "trajectories.parquet", table, compression="zstd") as writer:
        for begin in range(0, rows, BATCH_ROWS):
            problems = [hashlib.blake2b(b"%d" % (n // SAMPLES), digest_size=8).hexdigest()
                        for n in range(begin, begin + BATCH_ROWS)]  # fmt: skip
            batch = pl.DataFrame(
                {
                    "problem_id": problems,
                    "problem": [texts[(begin + n // SAMPLES) % BATCH_ROWS][:200] for n in range(BATCH_ROWS)],
                    "source": [f"source {n // SAMPLES % 12}" for n in range(BATCH_ROWS)],
                    "sample": [n % SAMPLES for n in range(BATCH_ROWS)],
                    "reasoning": texts,
                    "response": [text[:300] for text in texts],
                    "completion_tokens": [rng.randint(100, 30_000) for _ in range(BATCH_ROWS)],
                }
            )
            missing = [
                pl.lit(None, dtype).alias(name) for name, dtype in TRAJECTORY.items() if name not in batch.columns
            ]
            whole = batch.with_columns(missing).select(list(TRAJECTORY)).cast(dict(TRAJECTORY))
            writer.write_table(whole.to_arrow().cast(table), row_group_size=BATCH_ROWS)
    keys = pl.read_parquet(folder / "trajectories" / "trajectories.parquet", columns=["problem_id", "sample"])
    chance, alive, columns = np.random.default_rng(0), np.ones(rows, bool), {}
    for name, share in FILTERS.items():
        rejected = alive & (chance.random(rows) < share)
        said = pl.DataFrame(
            {
                "outcome": np.where(rejected, "reject", "keep"),
                "reason": pl.select(pl.when(pl.Series(rejected)).then(pl.lit(f"bad_{name}"))).to_series(),
                "score": chance.random(rows),
                "evidence": keys["problem_id"],
            }
        )
        verdict = said.to_struct("said").cast(VERDICT)
        columns[f"verdict_{name}"] = pl.select(pl.when(pl.Series(alive)).then(verdict)).to_series()
        alive &= ~rejected
    (folder / "verdicts").mkdir()
    judged = keys.with_columns(**columns)
    write_parquet(judged, folder / "verdicts" / "verdicts.parquet")
    keep_fates(judged, folder / "verdicts")
    for stage, recipe in {"trajectories": {"import": {"path": "rows.jsonl"}}, "verdicts": list(FILTERS)}.items():
        write_text(folder / "manifests" / f"{stage}.json", json.dumps({"recipe": recipe}))


QUESTIONS = (
    "run.funnel",
    "run.rejected('verify_math').sample(5)",
    "run.kept.sample(5)",
    "run.problem(some)",
    "run.borderline('length')",
    "run.plots.scores('length')",
    "run.plots.pass_rates()",
)
ASK = """
import hashlib, re, sys, time
from distill import Run
some = hashlib.blake2b(b"7", digest_size=8).hexdigest()
run, start = Run(sys.argv[1]), time.perf_counter()
repr(eval(sys.argv[2]))
seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024 / 1e9
print(f"  {sys.argv[2]:<40} {seconds:.2f} s  {peak:.2f} GB")
"""


def ask(folder: Path) -> None:
    """What a person asks of a run in a notebook, each question in a process of its own."""
    for question in QUESTIONS:
        subprocess.run([sys.executable, "-c", ASK, str(folder), question], check=True)


def measure(folder: Path, rows: int) -> None:
    """Start the viewer, ask for pages as a browser does."""
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "distill", "view", str(folder)], stdout=subprocess.PIPE, text=True
    ) as viewer:
        try:
            address = viewer.stdout.readline().strip()
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
            page = browser.open(address).read().decode()
            first = time.perf_counter() - start
            assert f"{rows:,} trajectories" in page
            print(f"{rows:,} rows, first page: {first:.2f} s, {peak_gb(viewer.pid):.2f} GB  target <= 2 s")
            site = address.partition("?")[0]
            row = re.search(r'href="/\?(row=\w+&amp;sample=\d)"', page)[1].replace("&amp;", "&")
            for words, asked in {
                "a row opens": row,
                "its siblings side by side": f"{row}&side=1",
                "rejected by verify_math": "fell=verify_math",
                "longest first": "sort=-tokens",
                "highest score of length": "sort=-score&score_of=length",
                "the same again": "sort=-score&score_of=length",
                "words of a problem": "search=ab+ba",
            }.items():
                start = time.perf_counter()
                browser.open(f"{site}?{asked}").read()
                print(f"  {words:<28} {time.perf_counter() - start:.2f} s")
            print(f"  {'peak':<28} {peak_gb(viewer.pid):.2f} GB")
        finally:
            viewer.terminate()


def peak_gb(process: int) -> float:
    """Of another process."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[1]) * 1024 / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help=f"a multiple of {BATCH_ROWS}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_run(Path(folder, "large"), given.rows)
        measure(Path(folder, "large"), given.rows)
        ask(Path(folder, "large"))
