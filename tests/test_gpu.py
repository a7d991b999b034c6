"""The parts that a GPU changes: vLLM's core in a process of its own, training in bf16, kernels, several devices."""

import pytest

from distill import arithmetic, scratch
from distill.chat import user_message
from distill.engines import Request
from distill.progress import Silent
from distill.recipe.student import Arm, Student

pytestmark = pytest.mark.gpu
PROBLEMS = arithmetic.generate(32, steps=(1, 2), seed=0, held_out=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    folder = tmp_path_factory.mktemp("model")
    texts = [text for problem, _ in PROBLEMS for text in (problem, arithmetic.solve(problem))]
    shape = {"hidden_size": 128, "layers": 2, "heads": 2, "max_positions": 1024, "vocab_size": 400, "seed": 0}
    scratch.build(folder, architecture="qwen2", texts=texts, **shape)
    return folder


def test_vllm_answers_every_request(model):
    from distill.engines.vllm import VllmEngine

    requests = [Request(str(n), (user_message(problem, ""),), max_tokens=20) for n, (problem, _) in enumerate(PROBLEMS)]
    with VllmEngine(str(model), revision=None, args={"gpu_memory_utilization": 0.2}) as engine:
        completions = list(engine.complete(requests))
    assert sorted(completion.request_id for completion in completions) == sorted(map(str, range(len(PROBLEMS))))
    assert all(completion.completion_tokens > 0 for completion in completions)


CHATS = [
    {"prompt": [user_message(problem, "")], "completion": [{"role": "assistant", "content": arithmetic.solve(problem)}]}
    for problem, _ in PROBLEMS
]
PLAIN = {"precision": "fp32", "attention": "sdpa", "packing": False, "optimizer": "adamw", "kernels": "torch"}


def trained(model, out, **settings):
    """The facts of a short training."""
    from distill.student.sft import train

    arm = Arm(base=str(model))
    short = {"steps": 3, "batch_rows": 8, "device_batch_rows": 4, "max_length_tokens": 512}
    settings = Student.model_validate({"arms": {"a": arm}, **short, **settings})
    facts = train(CHATS, name="a", key="k", base=str(model), arm=arm, settings=settings, out=out, progress=Silent())
    assert facts["steps"] == 3
    assert (out / "model.safetensors").is_file()
    return facts


def test_a_student_is_trained_in_bf16(model, tmp_path):
    exact, rounded = trained(model, tmp_path / "fp32", **PLAIN), trained(model, tmp_path / "bf16")
    assert rounded["loss"] == pytest.approx(exact["loss"], rel=0.02)


@pytest.mark.parametrize(
    ("needs", "settings"),
    [("liger_kernel", {"kernels": "liger"}), ("flash_attn", {"attention": "flash_attention_2", "precision": "bf16"})],
)
def test_kernels_change_the_speed_and_not_the_training(model, tmp_path, needs, settings):
    pytest.importorskip(needs)
    plain, other = trained(model, tmp_path / "plain", **PLAIN), trained(model, tmp_path / needs, **PLAIN | settings)
    assert other["loss"] == pytest.approx(plain["loss"], rel=0.02)


@pytest.mark.parametrize(
    "launch",
    [
        {"devices": 2, "shard": "none"},
        {"devices": 2, "shard": "fsdp2"},
        {"devices": 2, "shard": "fsdp2", "context_parallel": 2},
        {"devices": 2, "shard": "zero3"},
    ],
    ids=str,
)
def test_two_devices_train_as_one_does(model, tmp_path, launch):
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    if launch["shard"] == "zero3":
        pytest.importorskip("deepspeed")
    one = trained(model, tmp_path / "one", **PLAIN)
    two = trained(model, tmp_path / "two", **PLAIN, launch=launch)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
