"""Methods besides imitation train for real, on tiny models, and are recorded."""

import json

import polars as pl
import pytest

import filters
from distill import arithmetic
from distill.progress import Silent
from distill.recipe.file import RecipeError, load_recipe
from distill.recipe.methods import Reward
from distill.run import make
from distill.stages import chain
from distill.store import Run, RunError
from distill.student.rewards import judge, neutral

RECIPE = """\
trajectories:
  import: {path: answers.jsonl}
verdicts: [format, verify_math, {rejection_sampling: {keep: 1, by: shortest}}]
student:
  steps: 12
  batch_rows: 4
  max_length_tokens: 256
  learning_rate: 3.0e-3
  warmup_share: 0.0
  arms:
    ARM: {base: {architecture: qwen2, hidden_size: 32, layers: 1, heads: 1}, method: METHOD}
"""


def answers(wrong):
    """Each of 20 problems with its solution and, if `wrong`, with one that states another answer."""
    for problem, answer in arithmetic.generate(20, steps=(1, 1), seed=0, held_out=False):
        solved = arithmetic.solve(problem)
        yield {"problem": problem, "reference_answer": answer, "response": solved}
        if wrong:
            yield {
                "problem": problem,
                "reference_answer": answer,
                "response": solved.replace(f"{{{answer}}}", "{7777}"),
            }


def made(tmp_path, monkeypatch, arm, *, wrong=True, recipe=RECIPE):
    """The run of a recipe with that arm, and what is recorded of it."""
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(answers(wrong)).write_ndjson("answers.jsonl")
    (tmp_path / "r.yaml").write_text(recipe.replace("METHOD", arm).replace("ARM", "small"))
    run = Run("r", tmp_path / "runs/r", load_recipe("r.yaml"))
    make(run, Silent())
    return run, json.loads(run.path("student", "small", "made.json").read_text())


def test_dpo_learns_to_prefer_what_the_verifier_accepts_and_records_the_pairs(tmp_path, monkeypatch):
    run, facts = made(tmp_path, monkeypatch, "dpo, dpo: {beta: 0.5}, own: {learning_rate: 1.0e-2}")
    assert facts["method"] == "dpo"
    assert (facts["rows"], facts["steps"], facts["dropped"]) == (20, 12, {})
    assert facts["pairs"]["policy"]["verifier"] == "verify_math"
    assert (facts["pairs"]["count"], len(facts["pairs"]["digest"])) == (20, 16)
    logged = [json.loads(line) for line in run.path("student", "small", "training.jsonl").read_text().splitlines()]
    assert logged[-1]["rewards/margins"] > 0.1  # 0 where nothing was learned
    assert facts["loss"] < 0.69
    make(run, Silent())
    assert json.loads(run.path("student", "small", "made.json").read_text()) == facts  # not trained again


def test_dpo_without_a_wrong_answer_says_so(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="no preference pairs"):
        made(tmp_path, monkeypatch, "dpo", wrong=False)


GRPO = """\
problems:
  arithmetic: {count: 16, steps: [1, 1]}
  held_out: 2
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 1
  instruction: ""
verdicts: [format, verify_math]
student:
  steps: 10
  launch: null
  batch_rows: 8
  max_length_tokens: 128
  precision: fp32
  arms:
    small: {base: {architecture: qwen2, hidden_size: 32, layers: 1, heads: 1}, method: METHOD}
"""


@pytest.mark.usefixtures("fsdp2")
@pytest.mark.parametrize("launch", ["null", pytest.param("{devices: 2}", marks=pytest.mark.slow)])
def test_grpo_learns_by_the_weighted_rewards_of_filters(tmp_path, monkeypatch, launch):
    rewards = "{verify_math: 1, short: {weight: 2, by: score, filter: {length: {min_tokens: 1, max_tokens: 4}}}}"
    arm = f"grpo, grpo: {{rewards: {rewards}, samples_per_prompt: 4, max_tokens: 12, beta: 0.01}}"
    run, facts = made(tmp_path, monkeypatch, arm, recipe=GRPO.replace("launch: null", f"launch: {launch}"))
    assert (facts["method"], facts["rows"], facts["steps"]) == ("grpo", 16, 10)
    assert {name: one["weight"] for name, one in facts["rewards"].items()} == {"verify_math": 1, "short": 2}
    logged = [json.loads(line) for line in run.path("student", "small", "training.jsonl").read_text().splitlines()]
    assert logged[-1]["reward"] == pytest.approx(
        logged[-1]["rewards/verify_math/mean"] + 2 * logged[-1]["rewards/short/mean"], rel=1e-3
    )
    assert 0 < logged[-1]["kl"] < 0.01  # the reference is the base in every process


@pytest.mark.usefixtures("fsdp2")
def test_on_policy_comes_nearer_to_the_teacher_by_two_processes_as_by_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = GRPO.replace(", method: METHOD", "")
    (tmp_path / "base.yaml").write_text(base.replace("student:", "dataset: {license: mit}\nstudent:"))
    greedy = "{teacher: {recipe: base.yaml}, max_tokens: 12, top_p: 1.0e-6}"  # so that answers do not depend on chance
    text = GRPO.replace("METHOD", f"on_policy, rows: problems, on_policy: {greedy}, own: {{steps: 20}}")
    text = text.replace("steps: 10", "steps: 10\n  learning_rate: 1.0e-2")
    losses = []
    for name, launch in (("one", "null"), ("two", "{devices: 2}")):
        (tmp_path / f"{name}.yaml").write_text(text.replace("launch: null", f"launch: {launch}"))
        run = Run(name, tmp_path / "runs" / name, load_recipe(f"{name}.yaml"))
        make(run, Silent())
        facts = json.loads(run.path("student", "small", "made.json").read_text())
        assert (facts["method"], facts["rows"], facts["steps"]) == ("on_policy", 16, 20)
        assert [stage.name for stage in chain(run)] == ["base", name]
        logged = run.path("student", "small", "training.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in logged])
    assert 0 < losses[0][1] < losses[0][0]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_an_answer_on_which_a_filter_abstains_neither_gains_nor_loses():
    rows = {"problem_id": list("aaab"), "domain": ["math"] * 4, "response": ["\\boxed{7}", "\\boxed{8}", "", ""]}
    answers = pl.DataFrame({**rows, "reference_answer": ["7", "7", None, None]})
    judged = judge(answers, filters.load("verify_math"), Reward(weight=1))
    assert judged.to_list() == [1, 0, None, None]
    assert neutral(judged, answers["problem_id"]).to_list() == [1, 0, 0.5, None]
    elsewhere = Reward(weight=1, domains=["code"])
    assert judge(answers, filters.load("verify_math"), elsewhere).null_count() == 4


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ("sft, dpo: {beta: 0.5}", "is for method: dpo, found method: sft"),
        ("dpo, rows: sampled", "leave rows out"),
        ("dpo, dpo: {verifier: judge}", "verify_"),
        ("grpo, rows: sampled", "grpo needs rewards"),
        ("on_policy, rows: sampled", "no model as their teacher"),
        ("grpo, rows: sampled, grpo: {rewards: {dedup_exact: 1}, samples_per_prompt: 2}", "compares rows"),
        ("grpo, rows: sampled, grpo: {rewards: {verify_maths: 1}, samples_per_prompt: 2}", "verify_math"),
        ("grpo, rows: sampled, grpo: {rewards: {format: 1}}", "no multiple of samples_per_prompt 16"),
        ("grpo, grpo: {rewards: {format: 1}, samples_per_prompt: 2}", "an import has no problems"),
        ("dpo, own: {device_batch_tokens: 99}", "small.own: device_batch_tokens 99 is less than max_length_tokens 256"),
    ],
)
def test_what_does_not_fit_a_method_is_refused(tmp_path, monkeypatch, arm, message):
    with pytest.raises(RecipeError, match=message):
        made(tmp_path, monkeypatch, arm)


@pytest.mark.parametrize(
    ("arm", "launch", "message"),
    [
        ("dpo", "{devices: 2, context_parallel: 2}", "dpo goes without student.launch.context_parallel"),
        (
            "on_policy, rows: sampled",
            "{devices: 2, context_parallel: 2}",
            "on_policy goes without student.launch.context",
        ),
        ("on_policy, rows: sampled", "{devices: 2, shard: zero3}", "goes with student.launch.shard: fsdp2 or none"),
        (
            "grpo, rows: sampled, grpo: {rewards: {format: 1}, samples_per_prompt: 4}",
            "{devices: 2}",
            "batch_rows 4 is no multiple of samples_per_prompt 4 times the 2 processes of launch",
        ),
        ("sft, rows: sampled", "{devices: 3}", "student: batch_rows 4 is no multiple of the 3 that launch"),
        ("dpo, own: {batch_rows: 7}", "{devices: 2}", "small.own: batch_rows 7 is no multiple of the 2 that"),
        ("dpo, own: {optimizer: muon}", "{devices: 2}", "small.own: muon needs whole matrices"),
        ("sft, rows: sampled", "{devices: 2}\n  average_every: 6", "average_every is of whole weights in one process"),
    ],
)
def test_what_several_processes_cannot_train_is_refused(tmp_path, monkeypatch, arm, launch, message):
    recipe = RECIPE.replace("  steps: 12", f"  launch: {launch}\n  steps: 12")
    with pytest.raises(RecipeError, match=message):
        made(tmp_path, monkeypatch, arm, recipe=recipe)
