"""The real server: vLLM answers each seed the same way, goes on and stops where it is told, enforces the schema of a
judge's reply on a model that can only babble, and scores with a random head.
"""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import httpx
import polars as pl
import pytest
from test_server_engine import ask, engine
from vllm_servers import vllm_servers

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


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Two real vLLM servers: the base URL of a model that can only babble, `chat`, and of one with a random `reward`
    head; `folder` holds both models.
    """
    pytest.importorskip("vllm")
    torch = pytest.importorskip("torch")
    from transformers import AutoConfig, Qwen2ForSequenceClassification

    from distill import scratch

    folder = tmp_path_factory.mktemp("served")
    texts = ["What is the capital of France?", "Which month has 28 days in most years?"]
    shape = {"hidden_size": 64, "layers": 1, "heads": 2, "max_positions": 2048, "vocab_size": 400, "seed": 0}
    for name in ("chat", "reward"):
        scratch.build(folder / name, architecture="qwen2", texts=texts, **shape)
    config = AutoConfig.from_pretrained(folder / "reward", num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2ForSequenceClassification(config)
        torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(folder / "reward")
    # A seed kills the CPU engine under chunked prefill; white space between tokens of JSON is what babble is made of.
    json = '{"backend": "xgrammar", "disable_any_whitespace": true}'
    chat = ("--no-enable-chunked-prefill", "--structured-outputs-config", json)
    with vllm_servers([(folder / "chat", chat), (folder / "reward", ("--runner", "pooling"))]) as urls:
        yield SimpleNamespace(folder=folder, chat=urls[0], reward=urls[1])


def test_vllm_answers_each_seed_the_same_way_and_goes_on_where_a_text_was_cut(vllm):
    requests = [replace(request, max_tokens=40, temperature=1.0) for request in ask(8)]
    with engine(vllm.chat, model="tiny", concurrency=4, timeout_s=120) as opened:
        opened.check_continues()
        first, again = ({c.request_id: c for c in opened.complete(requests)} for _ in range(2))
        assert first == again
        assert {c.finish_reason for c in first.values()} <= {"stop", "length"}
        assert all(0 < c.completion_tokens <= 40 and c.prompt_tokens > 0 for c in first.values())
        assert len({c.text for c in first.values()}) > 1
        cut = [r for r in requests if first[r.request_id].finish_reason == "length"]
        prefixes = [replace(r, prefix=first[r.request_id].text.rstrip("\ufffd")) for r in cut]
        for completion in opened.complete(prefixes):
            whole = first[completion.request_id]
            assert completion.text.startswith(whole.text.rstrip("\ufffd"))
            assert completion.prompt_tokens > whole.prompt_tokens
    assert opened.identity["engine_version"][0].isdigit()


def test_vllm_stops_writing_what_is_doomed(vllm):
    requests = [replace(request, max_tokens=150, temperature=1.0) for request in ask(6)]
    with engine(vllm.chat, model="tiny", concurrency=3, timeout_s=120) as opened:
        whole = {c.request_id: c for c in opened.complete(requests)}
        doomed = lambda shown: ["loop" if p.request.seed % 2 else None for p in shown]  # noqa: E731
        ended = {c.request_id: c for c in opened.complete(requests, doomed)}
    for name, completion in whole.items():
        if ended[name].finish_reason == "aborted:loop":
            assert int(name[2:]) % 2
            assert 64 <= ended[name].completion_tokens < completion.completion_tokens
            assert ended[name].prompt_tokens == completion.prompt_tokens
            assert completion.text.startswith(ended[name].text.rstrip("\ufffd"))
        else:
            assert ended[name] == completion
    assert {"aborted:loop"} < {c.finish_reason for c in ended.values()}
    metrics = httpx.get(vllm.chat.replace("/v1", "/metrics")).text
    assert "vllm:num_requests_running{" in metrics
    assert all(line.endswith(" 0.0") for line in metrics.splitlines() if line.startswith("vllm:num_requests_running{"))


@pytest.mark.parametrize("task", ["equivalence", "rubric"])
def test_every_reply_follows_the_schema(vllm, task):
    judge = Judge(base_url=vllm.chat, task=task, votes=3, temperature=1.0, max_tokens=1500)
    judge.check_ready()
    verdicts = ROWS.select(judge.verdict()).to_series().to_list()
    assert {verdict["reason"] for verdict in verdicts} <= {None, "judged_wrong", "below_rubric"}
    assert all(verdict["score"] is not None for verdict in verdicts)
    assert ROWS.select(judge.verdict()).to_series().to_list() == verdicts


def test_rewards_are_the_raw_output_of_the_model_on_the_rendered_chat(vllm):
    import torch
    from transformers import AutoTokenizer, Qwen2ForSequenceClassification

    reward = RewardScore(base_url=vllm.reward)
    reward.check_ready()
    scores = [verdict["score"] for verdict in ROWS.select(reward.verdict()).to_series()]
    model = Qwen2ForSequenceClassification.from_pretrained(vllm.folder / "reward")
    tokenizer = AutoTokenizer.from_pretrained(vllm.folder / "reward")
    for row, score in zip(ROWS.iter_rows(named=True), scores, strict=True):
        turns = [{"role": "user", "content": row["problem"]}, {"role": "assistant", "content": row["response"]}]
        ids = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            assert score == pytest.approx(model(**ids).logits.item(), abs=1e-3)
    assert scores[0] != scores[1]
