"""The parts that a GPU changes: vLLM's core in a process of its own, and training in bf16 weights."""

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


def test_a_student_is_trained(model, tmp_path):
    from distill.student.sft import train

    chats = [
        {
            "prompt": [user_message(problem, "")],
            "completion": [{"role": "assistant", "content": arithmetic.solve(problem)}],
        }
        for problem, _ in PROBLEMS
    ]
    arm = Arm(base=str(model))
    settings = Student(arms={"a": arm}, steps=3, batch_rows=8, device_batch_rows=4, max_length_tokens=512)
    facts = train(
        chats, name="a", key="k", base=str(model), arm=arm, settings=settings, out=tmp_path, progress=Silent()
    )
    assert facts["steps"] == 3
    assert (tmp_path / "model.safetensors").is_file()
