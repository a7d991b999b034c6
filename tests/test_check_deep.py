"""`distill check R --deep`: every row as the student will see it, and what training will cost, before it is begun."""

import re
from dataclasses import replace

import pytest
from transformers import AutoModelForCausalLM, GenerationConfig, Qwen2Config
from typer.testing import CliRunner

from distill.cli import app
from distill.recipe.student import Arm, Launch, Lora, Student
from distill.student.base import Base
from distill.student.estimate import arithmetic, batches, memory, shape
from distill.student.preflight import Preflight, Shown
from distill.student.words import show_preflight

RECIPE = """\
problems:
  arithmetic: {count: 30, steps: [1, 2]}
trajectories:
  teacher: {program: arithmetic}
  samples_per_problem: 1
verdicts: [format]
dataset: {license: apache-2.0}
student:
  steps: 4
  batch_rows: 4
  max_length_tokens: 200
  arms:
    small: {base: {architecture: qwen2, hidden_size: 32, layers: 1, heads: 1}}
"""
SPOILT = "{% for m in messages %}{{ '<|im_start|>' + m.content.split('</think>')[-1] + '<|im_end|>' }}{% endfor %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep")
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "spoilt.jinja").write_text(SPOILT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert CliRunner().invoke(app, ["dataset", "tiny.yaml"]).exit_code == 0
    return folder


def deep(folder, monkeypatch, *options):
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(app, ["check", "tiny.yaml", "--deep", *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert [line for line in result.output.splitlines() if len(line) > 80 or line != line.rstrip()] == []
    return result.exit_code, result.output


def test_it_says_what_training_will_cost_and_shows_three_masks(folder, monkeypatch):
    code, output = deep(folder, monkeypatch, "--set", "student.max_length_tokens=160")
    assert code == 0, output
    assert re.search(r"dropped +\d+ +[\d.]+%: longer than max_length_tokens 160", output)
    for name in ("tokens", "an epoch", "efficiency", "passes", "parameters", "memory", "time here"):
        assert f"{name} " in output
    rows = re.split(r"\nrow \d+: ", output)[1:]
    assert len(rows) == 3
    for row in rows:
        untrained, trained = ("".join(re.findall(rf"^  {sign} (.*)$", row, re.MULTILINE)) for sign in (r"\.", r"\+"))
        assert untrained.startswith("<|im_start|>user")
        assert untrained.endswith("<|im_start|>assistant")
        assert trained.startswith("<think>")
        assert trained.endswith("<|im_end|>")


def test_faults_of_every_arm_are_told_with_row_and_cure(folder, monkeypatch):
    code, output = deep(
        folder,
        monkeypatch,
        "--set",
        "student.arms.small.chat_template=spoilt.jinja",
        "--set",
        "student.arms.other={base: {architecture: qwen2, hidden_size: 32, layers: 1, heads: 1}, end_token: <eos>}",
    )
    told = " ".join(output.split())
    assert code == 1
    assert "small: row 0 and 29 more: reasoning_lost: " in told
    assert "other: base: end_token '<eos>' is not a token of this base" in told


def test_before_anything_is_sampled_base_and_template_are_checked_on_examples(folder, monkeypatch):
    deep(folder, monkeypatch)  # builds the base, where no test before has
    [made] = (folder / "runs" / "tiny" / "bases").iterdir()
    base = f"student.arms={{small: {{base: {made}}}}}"
    code, output = deep(folder, monkeypatch, "--name", "fresh", "--set", base)
    assert code == 0, output
    assert "no rows yet: three examples are checked in their place" in output
    assert output.count("\nrow ") == 3
    spoilt = base.replace("}}", ", chat_template: spoilt.jinja}}")
    code, output = deep(folder, monkeypatch, "--name", "fresh", "--set", spoilt)
    assert code == 1
    assert "reasoning_lost" in output


def test_what_a_stranger_wrote_moves_no_cursor():
    row = Shown("row 0", 9, 4, [(False, "a\x1b[2Jb" + "界" * 60), (True, "c\r\x07d")])
    seen = Preflight("m", "hub/\x1b[31mred", 1, examples=False, shown=[row])
    lines = [str(text) for text in show_preflight(seen, Student(arms={"m": Arm(base="b")}))]
    assert not any(re.search(r"[\x00-\x09\x0b-\x1f\x7f]", line) for line in lines)


# --- what a training costs --------------------------------------------------------------------------------------------

SETTINGS = Student(arms={"m": Arm(base="b")}, steps=2, batch_rows=4, max_length_tokens=100, device_batch_tokens=200)
CONFIG = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 500,
}


def base(**changes):
    config = Qwen2Config(**(CONFIG | changes))
    return Base("b", None, config, GenerationConfig())


def test_padding_and_packing_are_counted():
    lengths = [100, 50, 50, 20]
    padded = batches(lengths, SETTINGS, packed=False)
    assert (padded.steps, padded.per_step, padded.tokens) == (2, 2, 440)
    assert (padded.computed, padded.largest) == (2 * (2 * 100 + 2 * 50), (2, 100))
    packed = batches(lengths, SETTINGS, packed=True)
    assert (packed.per_step, packed.tokens, packed.computed, packed.efficiency) == (2, 440, 440, 1.0)
    assert packed.squares == 2 * sum(length**2 for length in lengths)


@pytest.mark.parametrize("tied", [True, False])
def test_shape_and_arithmetic_are_those_of_the_real_model(tied):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    start = base(tie_word_embeddings=tied)
    rows, length = 2, 96
    found = shape(start, SETTINGS.model_copy(update={"precision": "fp32"}), rows, length)
    model = AutoModelForCausalLM.from_config(start.config, attn_implementation="sdpa").train()
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())

    own, kept = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.zeros(rows, length, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = model.base_model(input_ids=ids, use_cache=False)
    assert found.saved == pytest.approx(sum(kept.values()), rel=0.1)
    del hidden

    done = batches([length] * rows, SETTINGS.model_copy(update={"steps": 1, "batch_rows": rows}), packed=False)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    counted = counter.get_total_flops()  # without attention, of which the counter knows nothing on a CPU
    assert arithmetic(found, replace(done, squares=0), SETTINGS) == pytest.approx(counted, rel=0.02)


def test_memory_is_for_what_is_trained_and_shared_out():
    start, rows, length = base(), 2, 96
    plain = memory(shape(start, SETTINGS, rows, length), SETTINGS)
    assert plain.optimizer == 2 * plain.gradients == 2 * plain.weights
    assert plain.total > plain.activations > 0

    def changed(**changes):
        settings = SETTINGS.model_copy(update=changes)
        return memory(shape(start, settings, rows, length), settings)

    lora = changed(lora=Lora(rank=2), precision="bf16")
    assert lora.weights < plain.weights
    assert lora.optimizer < plain.optimizer / 10
    sharded = changed(launch=Launch(devices=4))
    assert (sharded.weights, sharded.activations) == (plain.weights / 4, plain.activations)
    assert changed(launch=Launch(devices=4, shard="none")).weights == plain.weights
    assert changed(gradient_checkpointing=True).activations < plain.activations


def test_a_real_size_is_foreseen_without_its_weights():
    start = base(
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
    )
    found = shape(start, SETTINGS, 1, 16_384)
    assert found.parameters == 1_543_714_304  # Qwen2.5-Math-1.5B
    assert memory(found, SETTINGS).weights == pytest.approx(6.17e9, rel=0.01)
