"""Whole runs that are killed at any operation on a file, or whose disk is really full, end as the undisturbed run does.

DISTILL_KILLS=10 kills less often than 100 times in all, for speed.
"""

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from test_durability import KILLS, OTHERS, PRELOAD, WRITES, killer, strike_at

from distill.progress import Silent
from distill.run import make, open_run

RECIPE = """\
problems:
  arithmetic: {count: 12, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic, mistake_share: 0.5}
  SAMPLES
verdicts:
  - format
  - length: {min_tokens: 1, max_tokens: 60}
  - dedup_exact
dataset:
  license: apache-2.0
"""
SAMPLES = {
    "fixed": "samples_per_problem: 3",
    "until": "until: {accepted: 2, max_samples: 6}",
    "vote": "until: {accepted: 2, max_samples: 6, vote: {}}",
}


def whole(recipe: Path, runs: Path) -> None:
    make(open_run(recipe, runs=runs), Silent())


def killed(recipe: Path, runs: Path, at: int, seed: int) -> None:
    """Make the run, and be killed before, amid or after the operation `at`."""
    strike_at(at, killer(random.Random(seed)), [*WRITES, *OTHERS])
    whole(recipe, runs)


def made(folder: Path) -> dict[str, bytes]:
    """The files that a run ends with, and no others: no temporary ones."""
    names = ("problems", "trajectories/trajectories", "verdicts/verdicts")
    files = [*(folder / f"{name}.parquet" for name in names), *folder.glob("dataset/**/*.parquet")]
    left = [path.name for path in folder.rglob(".*") if path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files} | {"left": "".join(left).encode()}


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_run_that_is_killed_anywhere_ends_with_the_same_files(tmp_path, kind):
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOAD)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(RECIPE.replace("SAMPLES", SAMPLES[kind]))
    whole(recipe, tmp_path / "undisturbed")
    expected, chance, kills = made(tmp_path / "undisturbed" / "r"), random.Random(kind), 0
    while kills < KILLS // 8:
        runs = tmp_path / "runs"
        for _ in count():
            process = server.Process(target=killed, args=(recipe, runs, chance.randrange(1, 60), kills))
            process.start()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            kills += 1
        assert made(runs / "r") == expected
        shutil.rmtree(runs)


# --- a disk that is really full ---------------------------------------------------------------------------------------

FULL = """
import subprocess, sys
from pathlib import Path
from test_durability import LIMITS, draw, failure_of
from functools import partial
from distill import sampler
from distill.journal import Journal

sampler.Journal = partial(Journal, **LIMITS)
folder, expected = Path(sys.argv[1]), draw(Path(sys.argv[2]))
for kilobytes in (4, 12, 20, 28, 36, 44, 200):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", folder], check=True)
    full = "No space left" in failure_of(lambda: draw(folder / "run"))
    subprocess.run(["mount", "-o", "remount,size=9m", folder], check=True)
    assert draw(folder / "run").equals(expected)
    subprocess.run(["umount", folder], check=True)
    print(kilobytes, "full" if full else "enough")
"""


def may_mount() -> bool:
    try:
        command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


def test_a_small_disk_that_fills_up_and_is_made_larger(tmp_path):
    if not may_mount():
        pytest.skip("mounts a tmpfs in a namespace of its own, which this user may not")
    (tmp_path / "disk").mkdir()
    command = ["unshare", "--mount", sys.executable, "-c", FULL, tmp_path / "disk", tmp_path / "undisturbed"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["tests", *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    said = [line.split()[1] for line in done.stdout.splitlines()]
    assert said.count("full") > 3
    assert said[-1] == "enough"
