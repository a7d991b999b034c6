"""The whole job for real and small, by the command line: vLLM samples, TRL trains, and a second run makes nothing."""

import json
import subprocess
import sys

import polars as pl
import pytest

TEACHER = """\
problems:
  arithmetic: {count: 64, steps: [1, 2]}
  held_out: 4
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 1
verdicts: [format, verify_math, dedup_exact]
dataset: {license: apache-2.0, title: Sums}
student:
  steps: 4
  batch_rows: 8
  max_length_tokens: 512
  learning_rate: 3.0e-3
  arms:
    teacher: {base: {architecture: qwen2, hidden_size: 32, layers: 1, heads: 1}}
    llama: {base: {architecture: llama, hidden_size: 32, layers: 1, heads: 1}, rows: sampled}
report:
  samples_per_problem: 2
  max_tokens: 40
"""
SAMPLED = """\
problems:
  arithmetic: {count: 6, steps: [1, 2], seed: 1}
trajectories:
  teacher: {recipe: teacher.yaml, arm: teacher}
  samples_per_problem: 3
  max_tokens: 40
verdicts: [format, verify_math]
"""


def distill(folder, *arguments):
    command = [sys.executable, "-m", "distill", *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    (folder / "teacher.yaml").write_text(TEACHER)
    (folder / "sampled.yaml").write_text(SAMPLED)
    return folder


@pytest.fixture(scope="module")
def output(folder):
    return distill(folder, "run", "sampled.yaml")


def test_every_stage_of_both_recipes_is_made_in_order(output):
    done = [line.split()[1].rstrip(":") for line in output.splitlines() if ": done in" in line]
    whole = ["problems", "trajectories", "verdicts", "dataset", "student", "report"]
    assert done == whole + whole[:3]


def test_the_teacher_is_sampled_k_times_a_problem(folder, output):
    table = pl.read_parquet(folder / "runs/sampled/trajectories/trajectories.parquet")
    assert table.height == 18
    assert table["completion_tokens"].is_between(1, 40).all()
    assert table["teacher"][0].startswith("runs/teacher/student/teacher@")
    assert "engine: vllm" in output


def test_students_are_smaller_models_of_both_families(folder, output):
    for arm, architecture, rows in (("teacher", "Qwen2ForCausalLM", 64), ("llama", "LlamaForCausalLM", 64)):
        model = folder / "runs/teacher/student" / arm
        assert json.loads((model / "config.json").read_text())["architectures"] == [architecture]
        assert json.loads((model / "made.json").read_text())["rows"] == rows
        assert (model / "model.safetensors").is_file()


def test_the_report_has_every_model_and_says_what_filtering_bought(folder, output):
    report = json.loads((folder / "runs/teacher/report/report.json").read_text())
    [held_out] = report["sets"]
    assert [model["kind"] for model in held_out["models"]] == ["base", "student", "base", "student"]
    for model in held_out["models"]:
        assert 0 <= model["pass@1"]["low"] <= model["pass@1"]["value"] <= model["pass@1"]["high"] <= 1
    assert all("distilling" in comparison["says"] for comparison in held_out["comparisons"])
    page = (folder / "runs/teacher/report.html").read_text()
    assert "Sums" in page
    assert str(folder) not in page


def test_the_output_reads_well_at_80_columns(output):
    assert max(map(len, output.splitlines())) <= 100
    assert "\x1b" not in output


def test_a_second_run_makes_nothing(folder, output):
    again = distill(folder, "run", "sampled.yaml")
    assert ": done in" not in again
    assert again.count("up to date") == 9
