"""A tracker is shown how sampling goes, and nothing that it does or fails to do costs a sample."""

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_cli import call

from distill import judging, track
from distill.engines.scripted import ScriptedEngine

RECIPE = """\
problems: {arithmetic: {count: 20}}
trajectories:
  teacher: {program: arithmetic}
  until: {accepted: 2, max_samples: 4}
verdicts: [format, verify_math]
"""


class Tracking:
    """trackio and wandb as far as both are alike: init gives a run, which has log and finish."""

    def __init__(self, fails_at=None):
        self.fails_at, self.begun, self.points, self.finished = fails_at, [], [], 0

    def init(self, project=None, name=None, config=None):
        self._meet("init")
        self.begun.append((project, name, config))
        return self

    def log(self, point):
        self._meet("log")
        self.points.append(point)

    def finish(self):
        self._meet("finish")
        self.finished += 1

    def _meet(self, step):
        if step == self.fails_at:
            raise ConnectionError("no network")
        if self.fails_at == f"{step} hangs":
            time.sleep(5)  # longer than it samples


@pytest.fixture
def sampled(tmp_path, monkeypatch):
    """Samples while the library of a tracker is this one; half a second at the least."""
    monkeypatch.setattr(track, "EVERY_S", 0.05)
    monkeypatch.setattr(judging, "APART_S", 0.01)
    monkeypatch.setattr(track, "WAIT_S", 0.05)
    answered = ScriptedEngine._complete_one
    monkeypatch.setattr(ScriptedEngine, "_complete_one", lambda *args: time.sleep(0.008) or answered(*args))
    (tmp_path / "sums.yaml").write_text(RECIPE)

    def sampled(module, track="{wandb: sums}", *further):
        for library in ("trackio", "wandb"):
            monkeypatch.setitem(sys.modules, library, module if library in track else None)
        sets = ["--set", f"trajectories.track={track}", *further]
        return call("trajectories", str(tmp_path / "sums.yaml"), "--runs", str(tmp_path / "runs"), *sets)

    return sampled


@pytest.mark.parametrize("library", ["trackio", "wandb"])
def test_points_come_while_it_samples_and_at_the_end(sampled, library):
    result = sampled(tracking := Tracking(), f"{{{library}: sums}}")
    assert result.exit_code == 0, result.output
    [(project, name, config)] = tracking.begun
    assert (project, name) == ("sums", "sums")
    assert config["until"]["accepted"] == 2
    assert tracking.finished == 1
    assert len(tracking.points) > 2
    solved = [point["solved"] for point in tracking.points]
    assert solved == sorted(solved)
    assert solved[-1] == 20
    assert any(0 < each < 20 for each in solved), "no point has come while it sampled"
    last = tracking.points[-1]
    assert {"solved", "accepted", "tokens_per_s", "accepted_per_1k_tokens", "hours_left"} <= last.keys()
    assert last["hours_left"] == 0
    assert last["accepted_per_1k_tokens"] == pytest.approx(1000 * last["accepted"] / last["tokens"])


@pytest.mark.parametrize("library", ["trackio", "wandb"])
def test_the_real_library_takes_the_points(tmp_path, library):
    """Where it is installed, in a folder on PYTHONPATH at least; it is none of ours."""
    if not find_spec(library):
        pytest.skip(f"needs {library}")
    (tmp_path / "sums.yaml").write_text(RECIPE)
    at_home = {"HOME": str(tmp_path), "TRACKIO_DIR": str(tmp_path / "trackio"), "WANDB_MODE": "offline"}
    path = [str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    sets = ["--set", f"trajectories.track={{{library}: sums}}"]
    command = [sys.executable, "-m", "distill", "trajectories", "sums.yaml", "--runs", "runs", *sets]
    environment = os.environ | at_home | {"PYTHONPATH": os.pathsep.join(path)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "track:" not in run.stderr, run.stderr
    if library == "wandb":
        assert re.search(r"solved +20\b", run.stderr), run.stderr
        assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    else:
        with contextlib.closing(sqlite3.connect(tmp_path / "trackio" / "sums.db")) as points:
            [*_, (last,)] = points.execute("SELECT metrics FROM metrics ORDER BY id")
        assert json.loads(last)["solved"] == 20


@pytest.mark.parametrize("fails_at", ["init", "log", "finish", "init hangs", "log hangs"])
def test_a_tracker_that_breaks_is_told_of_once_and_costs_nothing(sampled, tmp_path, fails_at):
    result = sampled(Tracking(fails_at))
    assert result.exit_code == 0, result.output
    assert result.output.count("track: wandb") == 1, result.output
    assert ("no network" in " ".join(result.output.split())) == ("hangs" not in fails_at)
    assert (tmp_path / "runs/sums/trajectories/trajectories.parquet").is_file()


def test_a_library_that_is_missing_is_an_error_before_anything_is_sampled(sampled, tmp_path):
    result = sampled(None)
    assert result.exit_code == 1
    assert "trajectories.track: cannot import wandb" in result.stderr
    assert "pip install wandb" in result.stderr
    assert not (tmp_path / "runs/sums/trajectories/journal.jsonl").exists()


def test_no_sample_depends_on_who_looks_on(sampled):
    assert sampled(Tracking()).exit_code == 0
    result = sampled(tracking := Tracking(), "{trackio: other}")
    assert result.exit_code == 0
    assert "trajectories: up to date" in result.output
    assert tracking.begun == []


def test_it_is_one_tracker(sampled):
    result = sampled(Tracking(), "{wandb: sums, trackio: sums}")
    assert (result.exit_code, "exactly one of trackio, wandb" in result.stderr) == (2, True)
