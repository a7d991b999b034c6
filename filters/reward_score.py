"""A reward model's score of each trajectory, from a server such as vLLM. Which one to keep is decided by others.

vLLM serves a reward model with ``vllm serve MODEL --runner pooling``. The server renders problem and response by the
model's own chat template. This file loads no model, and does not compare trajectories: `rejection_sampling` does.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import ConfigDict, Field, PositiveFloat

from filters import Filter, Verdict, abstain, reject
from filters._endpoint import BaseUrl, Endpoint, KeyVariable, Question, Reply
from filters._untrusted import defused


class RewardScore(Filter):
    """Record the reward of a trajectory, and keep it if that is high enough.

    The score is what ``rejection_sampling: {by: best_score}`` compares. Without ``min_reward`` every trajectory with a
    reward is kept.

    Score: the reward, in the model's own unit, before any sigmoid.
    Rejects: low_reward.
    Abstains: missing_input, failed_call (the server gave no reward), non_finite_reward.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    min_reward: float | None = None
    """Least reward that is kept, in the model's unit; null keeps all."""
    sees: Literal["response", "reasoning_and_response"] = "response"
    """What is rewarded: the response alone, or with the reasoning before it. Helpfulness is usually judged by the
    response, harmlessness by both (DeepSeek-R1, section 2.3.4). No think tags are written: chat templates drop what
    stands between them."""
    route: Literal["classify", "pooling", "score"] = "classify"
    """vLLM's route: ``classify`` for models with one output (…ForSequenceClassification, or any with ``--convert
    classify``), ``pooling`` for those with a reward a token (…ForRewardModel), of which the last counts, and ``score``
    for rerankers that compare two texts without a chat template."""
    model: str = ""
    """Model name as the server knows it. Empty: the only one that the server lists, which a record of the run then does
    not name. Rewards are remembered by address and name: serve another model under another name."""
    base_url: BaseUrl = None
    """Address of the server up to ``/v1``. Null: the environment's OPENAI_BASE_URL, else vLLM on this machine,
    http://127.0.0.1:8000/v1. A reward model and a judge are two servers: name at least one of them here."""
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, ending in API_KEY; a local server needs none."""
    timeout_s: PositiveFloat = 120.0
    """Seconds to wait for a server that sends nothing, for each try."""
    retries: int = Field(4, ge=0, le=20)
    """Further tries of a request that met a busy or failing server, each after a longer wait."""
    concurrency: int = Field(32, ge=1, le=512)
    """Requests in flight at once."""

    reads = ("problem", "response", "reasoning")
    nullable = ("reasoning",)
    example_parameters: ClassVar[dict[str, Any]] = {"min_reward": 0.0}
    examples = (
        ({"problem": "Why is the sky blue?", "response": "Because air scatters blue light most."}, "keep"),
        ({"problem": "Why is the sky blue?", "response": "No idea."}, "low_reward"),
        ({"problem": "Why is the sky blue?", "response": None}, "missing_input"),
    )

    @property
    def optional(self) -> tuple[str, ...]:
        """Reasoning, where it is looked at."""
        return ("reasoning",) if self.sees == "reasoning_and_response" else ()

    def check_ready(self) -> None:
        """Ask for one reward."""
        row = {"problem": "1 + 1 = ?", "response": "2", "reasoning": None}
        Endpoint.of(self).check_ready(f"/{self.route}", self._question(row), _READERS[self.route])

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Ask for the reward of each distinct trajectory."""
        questions = [self._question(row) for row in rows.iter_rows(named=True)]
        replies = Endpoint.of(self).ask(f"/{self.route}", questions, _READERS[self.route])
        return (self._verdict(reply) for reply in replies)

    def _question(self, row: dict[str, Any]) -> Question:
        reasoning = row["reasoning"] if self.sees == "reasoning_and_response" else None
        problem = defused(row["problem"])
        answer = defused("\n\n".join(text for text in (reasoning, row["response"]) if text is not None))
        if self.route == "score":
            return Question({"text_1": problem, "text_2": answer, "use_activation": False})
        turns = [{"role": "user", "content": problem}, {"role": "assistant", "content": answer}]
        return Question({"messages": turns, "use_activation": False})

    def _verdict(self, reply: Reply) -> Verdict:
        if reply.failure:
            return abstain("failed_call", None, reply.failure)
        reward = float(reply.value)
        if not math.isfinite(reward):
            return abstain("non_finite_reward", None, str(reward))
        if self.min_reward is not None and reward < self.min_reward:
            return reject("low_reward", reward)
        return Verdict("keep", None, reward)


def _of_sequence(reply: Any) -> float:
    rewards = reply["data"][0]["probs"]
    if len(rewards) != 1:
        raise ValueError(f"{len(rewards)} classes: this is no reward model")
    return float(rewards[0])


def _of_last_token(reply: Any) -> float:
    last = reply["data"][0]["data"][-1]
    if isinstance(last, list) and len(last) != 1:
        raise ValueError(f"{len(last)} values a token: this is no reward model")
    return float(last[0] if isinstance(last, list) else last)


def _of_pair(reply: Any) -> float:
    return float(reply["data"][0]["score"])


_READERS: dict[str, Callable[[Any], float]] = {"classify": _of_sequence, "pooling": _of_last_token, "score": _of_pair}
