"""The real server: vLLM enforces the reply's schema on a model that can only babble, and scores with a random head."""

import polars as pl
import pytest

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
