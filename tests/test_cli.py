"""What a person sees of their mistakes: exit codes, one clear message, no traceback."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from typer.testing import CliRunner

import filters
from distill.cli import app

RECIPE = """\
problems:
  arithmetic: {count: 30, steps: [1, 2]}
  held_out: 2
trajectories:
  teacher: {program: arithmetic}
verdicts: [format, verify_math]
dataset: {license: apache-2.0}
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.yaml").write_text(RECIPE)
    return "r.yaml"


def call(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_check_says_ok_and_makes_nothing(recipe, tmp_path):
    result = call("check", recipe)
    assert (result.exit_code, result.stdout) == (0, "r.yaml: ok (problems, trajectories, verdicts, dataset)\n")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["check", "run", "verdicts"])
def test_a_wrong_recipe_is_exit_code_2_with_every_error(recipe, tmp_path, command):
    (tmp_path / recipe).write_text(RECIPE.replace("held_out", "helt_out").replace("format", "formt"))
    result = call(command, recipe)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["r.yaml:3:3", "problems.helt_out"],
        ["r.yaml:6:12", "verdicts[0]"],
    ]
    assert not (tmp_path / "runs").exists()


def test_trouble_of_a_run_is_exit_code_1_with_the_cure(recipe):
    assert call("run", recipe).exit_code == 0
    result = call("run", recipe, "--set", "trajectories.temperature=0.1")
    assert result.exit_code == 1
    assert "temperature: was 0.6, is 0.1" in result.stderr
    assert "--name" in result.stderr


def test_a_stage_that_the_recipe_has_not_is_told(recipe):
    result = call("student", recipe)
    assert result.exit_code == 1
    assert "no section student; it has problems, trajectories, verdicts, dataset" in " ".join(result.stderr.split())


def test_a_stage_prints_its_own_summary(recipe):
    output = call("verdicts", recipe).stdout
    assert "Funnel of r" in output
    assert "verify_math" in output
    assert max(map(len, output.splitlines())) <= 80


def test_ctrl_c_is_exit_code_130_and_the_same_command_goes_on(recipe, tmp_path):
    (tmp_path / recipe).write_text(RECIPE.replace("count: 30", "count: 12000"))
    command = [sys.executable, "-m", "distill", "run", recipe]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        journal = tmp_path / "runs/r/trajectories/journal.jsonl"
        for _ in range(2000):
            if journal.exists() and journal.stat().st_size:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (
        130,
        "Stopped. What is finished is kept: the same command goes on from here.",
    )
    kept = journal.read_bytes()
    result = call("trajectories", recipe)
    assert result.exit_code == 0
    sealed = pl.read_parquet(journal.with_name("journal-00001.parquet"))
    assert [json.loads(line.partition(b" ")[2]) for line in kept.splitlines()] == sealed[: kept.count(b"\n")].to_dicts()


def test_filters_are_listed_and_shown():
    listed = CliRunner().invoke(app, ["filters"])
    assert listed.exit_code == 0
    for name in filters.available():
        assert re.search(rf"^{name} +(row|problem|dataset) +\w+", listed.output, re.MULTILINE)
    shown = CliRunner().invoke(app, ["filters", "length"])
    assert "max_tokens: 16384\n    Most completion tokens of a trajectory that is kept." in shown.output
    assert max(map(len, (listed.output + shown.output).splitlines())) <= 80
    assert "Did you mean 'length'?" in CliRunner().invoke(app, ["filters", "lenth"]).output
