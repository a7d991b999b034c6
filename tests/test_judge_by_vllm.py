"""The real server: vLLM enforces the reply's schema on a model that can only babble, and scores with a random head."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import polars as pl
import pytest

from distill import scratch
from filters.judge import Judge
from filters.reward_score import RewardScore

ROWS = pl.DataFrame(
    {
        "problem": ["What is the capital of France?", "Which month has 28 days in most years?"],
        "reference_answer": ["Paris", "February"],
        "response": ["The answer is the city of Paris.", "The answer is all of them."],
        "reasoning": ["Let me think.", None],
    }
)
START_S = 240.0
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    pytest.importorskip("vllm")
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, Qwen2ForSequenceClassification

    folder = tmp_path_factory.mktemp("models")
    shape = {"hidden_size": 64, "layers": 1, "heads": 2, "max_positions": 2048, "vocab_size": 400, "seed": 0}
    for name in ("chat", "reward"):
        scratch.build(folder / name, architecture="qwen2", texts=ROWS["problem"], **shape)
    config = AutoConfig.from_pretrained(folder / "reward", num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reward_model = Qwen2ForSequenceClassification(config)
        torch.nn.init.normal_(reward_model.score.weight)
    reward_model.save_pretrained(folder / "reward")
    return folder


@contextmanager
def served(model, *arguments):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny", "--enforce-eager"]
    command += ["--dtype", "float32", "--max-model-len", "2048", "--max-num-seqs", "8", *arguments]
    log = (model / "server.log").open("w")
    server = subprocess.Popen(command, env=os.environ | SETTINGS, stdout=log, stderr=log, start_new_session=True)
    try:
        yield server, f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        log.close()


def wait_for(server, url, deadline):
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended; its log is beside the model"
        try:
            with urllib.request.urlopen(url + "/models", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


@pytest.fixture(scope="module")
def urls(models):
    """Both servers start at once: most of a start is imports that wait for the disk."""
    # A seed kills the CPU engine under chunked prefill; white space between tokens of JSON is what babble is made of.
    chat = (
        "--no-enable-chunked-prefill",
        "--structured-outputs-config",
        '{"backend": "xgrammar", "disable_any_whitespace": true}',
    )
    with served(models / "chat", *chat) as judge, served(models / "reward", "--runner", "pooling") as reward:
        deadline = time.monotonic() + START_S
        wait_for(*judge, deadline)
        wait_for(*reward, deadline)
        yield judge[1], reward[1]


@pytest.mark.parametrize("task", ["equivalence", "rubric"])
def test_every_reply_follows_the_schema(urls, task):
    judge = Judge(base_url=urls[0], task=task, votes=3, temperature=1.0, max_tokens=1500)
    judge.check_ready()
    verdicts = ROWS.select(judge.verdict()).to_series().to_list()
    assert {verdict["reason"] for verdict in verdicts} <= {None, "judged_wrong", "below_rubric"}
    assert all(verdict["score"] is not None for verdict in verdicts)
    assert ROWS.select(judge.verdict()).to_series().to_list() == verdicts


def test_rewards_are_the_raw_output_of_the_model_on_the_rendered_chat(urls, models):
    import torch
    from transformers import AutoTokenizer, Qwen2ForSequenceClassification

    reward = RewardScore(base_url=urls[1])
    reward.check_ready()
    scores = [verdict["score"] for verdict in ROWS.select(reward.verdict()).to_series()]
    model = Qwen2ForSequenceClassification.from_pretrained(models / "reward")
    tokenizer = AutoTokenizer.from_pretrained(models / "reward")
    for row, score in zip(ROWS.iter_rows(named=True), scores, strict=True):
        turns = [{"role": "user", "content": row["problem"]}, {"role": "assistant", "content": row["response"]}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            assert score == pytest.approx(model(**ids).logits.item(), abs=1e-3)
    assert scores[0] != scores[1]
