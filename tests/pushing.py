"""A small finished run, and `distill push` of it to a stand-in Hub: what the tests of publishing have in common."""

import json

import polars as pl
from hub_server import Hub
from typer.testing import CliRunner

from distill.cli import app

TOKEN = "hf_" + "canary" * 6
REPO = "me/sums"
RECIPE = """\
problems:
  arithmetic: {count: 40, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 2
verdicts: [format, verify_math, dedup_exact]
dataset:
  license: apache-2.0
  source_licenses: {distill/arithmetic: cc0-1.0}
  teacher_license: mit
  title: Sums
  rejected: true
"""


def make_run(folder, recipe=RECIPE, name="sums"):
    """`folder` with the recipe and its finished run."""
    (folder / f"{name}.yaml").write_text(recipe)
    result = CliRunner().invoke(app, ["run", str(folder / f"{name}.yaml"), "--runs", str(folder / "runs")])
    assert result.exit_code == 0, result.output
    return folder


def push_run(folder, *options, repo=REPO, name="sums"):
    """`distill push` of a run made there: its exit code and all that it said."""
    arguments = ["push", str(folder / f"{name}.yaml"), repo, "--runs", str(folder / "runs"), *options]
    result = CliRunner().invoke(app, arguments)
    assert TOKEN not in result.output + str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


def rows_of(folder, config, name="sums"):
    """The rows of a config of a run made there, as plain data."""
    return pl.read_parquet(folder / "runs" / name / "dataset" / config / "*.parquet").to_dicts()


def sent(hub: Hub):
    """The operations of each commit that the Hub received, its header first."""
    return [[json.loads(line) for line in seen.body.splitlines()] for seen in hub.received("POST", "/commit/")]


def paths(operations):
    """What a commit writes or deletes."""
    return [operation["value"]["path"] for operation in operations if operation["key"] != "header"]
