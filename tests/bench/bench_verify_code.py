"""What the sandbox costs: ``python tests/bench/bench_verify_code.py --rows 100``.

Baseline: the same trivial programs in a plain interpreter, which protects nothing. Then the filter on the same rows,
in as many threads as there are processors.
"""

import argparse
import json
import statistics
import subprocess

import polars as pl
from table import timed

from filters import load
from filters._languages import python
from filters._sandbox import run
from filters._walls import Limits

PROGRAM = "print(sum(map(int, input().split())))"
FUNCTION = "def add(a, b):\n    return a + b"
TESTS = {
    "stdin, 1 sandbox": (PROGRAM, {"stdin": [{"input": "1 2", "output": "3"}]}),
    "calls, 1 sandbox": (FUNCTION, {"entry_point": "add", "calls": [{"args": [1, 2], "output": 3}]}),
    "check, 2 sandboxes": (FUNCTION, {"entry_point": "add", "check": "def check(f): assert f(1, 2) == 3"}),
}


def medians_ms(rows: int, *actions) -> list[float]:
    """Median time of each action, all of them taking turns, so that a busy machine slows them alike."""
    times = [[timed(action)[0] for action in actions] for _ in range(rows)]
    return [statistics.median(column) * 1e3 for column in zip(*times, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100)
    rows = parser.parse_args().rows
    path, binds = python()
    plain = [path, "-s", "-B", "-c", PROGRAM]
    boxed = (path, "-s", "-B", "/box/program.py")
    files = {"program.py": PROGRAM.encode()}
    baseline, sandboxed = medians_ms(
        rows,
        lambda: subprocess.run(plain, input=b"1 2", capture_output=True, check=True),
        lambda: run(boxed, files=files, stdin=b"1 2", limits=Limits(), binds=binds),
    )
    print(f"{'job':<20} {'baseline ms':>12} {'ms':>8} {'ratio':>6} {'target ms':>10}")
    print(f"{'one after another':<20} {baseline:>12.1f} {sandboxed:>8.1f} {sandboxed / baseline:>6.2f} {25:>10}")
    f = load("verify_code")
    f.check_ready()
    for name, (program, tests) in TESTS.items():
        responses = [f"```python\n{program}  # {n}\n```" for n in range(rows)]
        frame = pl.DataFrame({"response": responses, "tests": [json.dumps(tests)] * rows})
        seconds, verdicts = timed(lambda frame=frame: frame.select(f.verdict()).to_series())
        kept, each = (verdicts.struct.field("outcome") == "keep").sum(), seconds / rows * 1e3
        print(f"{name:<20} {baseline:>12.1f} {each:>8.1f} {each / baseline:>6.2f} {'':>10}  kept {kept} of {rows}")


if __name__ == "__main__":
    main()
