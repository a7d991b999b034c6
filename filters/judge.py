"""A language model judges: whether an answer matches the reference, or how good a response is by a rubric.

The server may be any that speaks OpenAI's protocol, such as vLLM on this machine. What it is told is in
`filters._judge_talk`. A judge is no verifier: what a rule can decide should be decided by one first.
"""

from collections.abc import Iterable
from typing import Any, Literal, Self

import polars as pl
from pydantic import ConfigDict, Field, JsonValue, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from filters import Filter, Verdict, abstain, extract_answer, reject
from filters._endpoint import BaseUrl, Endpoint, KeyVariable, Question, Reply
from filters._judge_talk import MAX_ANSWER_CHARS, comparison, decisions, rating, reply_format
from filters._untrusted import clean

MAX_REPLY_CHARS = 20_000


class Judge(Filter):
    """Keep a trajectory that a language model finds right, or good enough.

    With ``task: equivalence`` it compares the final answer with the reference. Write it behind the rule,
    ``any_of: [verify_math, judge]``, and it is shown only what the rule did not keep, such as "the 4th of May" for
    05/04. With ``task: rubric`` it gives a score, for domains that cannot be verified. Each distinct question is asked
    once, and never again on this machine: replies are kept in the folder that DISTILL_CACHE names.

    Score: share (0..1) of the votes for "same"; of a rubric the mean score, on its scale.
    Rejects: judged_wrong, below_rubric.
    Abstains: missing_input, failed_call (the server gave no answer), no_majority (a tie, or replies that cannot be
        read). None of these means that the trajectory is wrong.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    task: Literal["equivalence", "rubric"] = "equivalence"
    """The question: does the answer match the reference, or how good is the response by ``rubric``?"""
    rubric: str = "The response does what was asked, is correct and complete, and says no more than it should."
    """What makes a response good, in words, for ``task: rubric``."""
    lowest_score: int = 1
    """Worst score of the rubric's scale."""
    highest_score: int = 10
    """Best score of the rubric's scale."""
    min_score: float = 7.0
    """Least mean score that is kept, on the rubric's scale."""
    sees: Literal["response", "reasoning_and_response"] = "response"
    """What a rubric is applied to: the response alone, or with the reasoning before it."""
    max_chars: PositiveInt = 24_000
    """Characters shown of a problem, and of what a rubric is applied to; the middle of longer ones is left out."""
    votes: PositiveInt = 1
    """How often the model is asked, each time with another seed. More than half of the votes must agree on "same" or
    "not the same"; more than half must give a score. Votes that fail count for neither."""
    temperature: NonNegativeFloat = 0.0
    """Sampling temperature of the judge; several votes need one above 0."""
    seed: int = 0
    """Seed of the first vote; further votes have the seeds after it."""
    max_tokens: PositiveInt = 1024
    """Tokens of a reply; a judge that reasons needs more."""
    request: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of every request, such as ``chat_template_kwargs: {enable_thinking: false}``. A null removes one:
    ``response_format: null`` for servers that cannot enforce a JSON schema, ``seed: null`` for those without seeds."""
    model: str = ""
    """Model name as the server knows it. Empty: the only one that the server lists, which a record of the run then does
    not name. Replies are remembered by address and name: serve another model under another name."""
    base_url: BaseUrl = None
    """Address of the server up to ``/v1``. Null: the environment's OPENAI_BASE_URL, else vLLM on this machine,
    http://127.0.0.1:8000/v1."""
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key, ending in API_KEY; a local server needs none."""
    timeout_s: PositiveFloat = 120.0
    """Seconds to wait for a server that sends nothing, for each try."""
    retries: int = Field(4, ge=0, le=20)
    """Further tries of a request that met a busy or failing server, each after a longer wait."""
    concurrency: int = Field(32, ge=1, le=512)
    """Requests in flight at once."""

    reads = ("problem", "reference_answer", "response", "reasoning")
    nullable = ("reference_answer", "reasoning")
    examples = (
        (
            {"problem": "Capital of France?", "reference_answer": "Paris", "response": "The answer is Paris, France."},
            "keep",
        ),
        (
            {"problem": "Capital of France?", "reference_answer": "Paris", "response": "The answer is Lyon."},
            "judged_wrong",
        ),
        ({"problem": "Capital of France?", "reference_answer": None, "response": "Paris"}, "missing_input"),
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("votes: several votes at temperature 0 are all the same; raise the temperature")
        if not self.lowest_score < self.min_score <= self.highest_score:
            raise ValueError("min_score: expected more than lowest_score and at most highest_score")
        return self

    @property
    def required(self) -> tuple[str, ...]:
        """A rubric needs no reference."""
        return self.reads[:3] if self.task == "equivalence" else ("problem", "response")

    @property
    def optional(self) -> tuple[str, ...]:
        """Reasoning, where it is looked at."""
        return ("reasoning",) if self.task == "rubric" and self.sees == "reasoning_and_response" else ()

    def check_ready(self) -> None:
        """Ask the model to judge one answer."""
        row = {"problem": "1 + 1 = ?", "reference_answer": "2", "response": "2", "reasoning": None}
        Endpoint.of(self).check_ready("chat/completions", self._question(self._prompt(row), 0), _content)

    def unverifiable(self, problems: pl.DataFrame) -> pl.Series:
        """Answers need a reference to be compared with."""
        if self.task == "rubric":
            return super().unverifiable(problems)
        missing = pl.any_horizontal(pl.col("problem", "reference_answer").is_null())
        return problems.select(pl.when(missing).then(pl.lit("missing_input"))).to_series()

    def judge_batch(self, rows: pl.DataFrame) -> Iterable[Verdict]:
        """Ask as often as there are votes, all rows at once; equal questions are asked once."""
        prompts = [self._prompt(row) for row in rows.iter_rows(named=True)]
        questions = [self._question(prompt, nth) for prompt in prompts for nth in range(self.votes)]
        replies = iter(Endpoint.of(self).ask("chat/completions", questions, _content))
        return [self._verdict([next(replies) for _ in range(self.votes)]) for _ in prompts]

    def _prompt(self, row: dict[str, Any]) -> str:
        problem, response = row["problem"], row["response"]
        if self.task == "equivalence":
            answer = extract_answer(response) or response[-MAX_ANSWER_CHARS:]
            return comparison(problem, row["reference_answer"], answer, max_chars=self.max_chars)
        reasoning = row["reasoning"] if self.sees == "reasoning_and_response" else None
        scale = (self.lowest_score, self.highest_score)
        return rating(problem, reasoning, response, rubric=self.rubric, scale=scale, max_chars=self.max_chars)

    def _question(self, prompt: str, nth: int) -> Question:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "seed": self.seed + nth,
            "response_format": self._reply_format(),
            **self.request,
        }
        return Question({name: value for name, value in body.items() if value is not None}, nth)

    def _reply_format(self) -> dict[str, Any]:
        if self.task == "equivalence":
            return reply_format("same", {"type": "boolean"})
        scale = {"minimum": self.lowest_score, "maximum": self.highest_score}
        return reply_format("score", {"type": "integer", **scale})

    def _vote(self, reply: str) -> tuple[float, str] | None:
        """Decision and reason; None where a reply has none, or several that contradict each other."""
        found = decisions(reply, "same" if self.task == "equivalence" else "score")
        votes = [(float(decision), reason) for decision, reason in found if self._allows(decision)]
        return votes[0] if len({decision for decision, _ in votes}) == 1 else None

    def _allows(self, decision: Any) -> bool:
        if self.task == "equivalence" or isinstance(decision, bool):
            return self.task == "equivalence" and isinstance(decision, bool)
        return isinstance(decision, int | float) and self.lowest_score <= decision <= self.highest_score

    def _verdict(self, replies: list[Reply]) -> Verdict:
        votes = [v for reply in replies if reply.failure is None and (v := self._vote(reply.value)) is not None]
        score = sum(decision for decision, _ in votes) / len(votes) if votes else None
        if score is not None and (decided := self._decide(votes, score)):
            outcome, reason = decided
            return Verdict("keep", None, score, reason) if outcome == "keep" else reject(outcome, score, reason)
        for reply in replies:
            if reply.failure:
                return abstain("failed_call", score, reply.failure)
        return abstain("no_majority", score, f"replied: {' '.join(replies[0].value.split())}")

    def _decide(self, votes: list[tuple[float, str]], score: float) -> tuple[str, str] | None:
        """What more than half of the votes say, and why; None where they do not."""
        if self.task == "equivalence":
            for decision, outcome in ((1.0, "keep"), (0.0, "judged_wrong")):
                reasons = [reason for vote, reason in votes if vote == decision]
                if len(reasons) > self.votes / 2:
                    return outcome, reasons[0]
            return None
        if len(votes) <= self.votes / 2:
            return None
        nearest = min(votes, key=lambda vote: abs(vote[0] - score))
        return "keep" if score >= self.min_score else "below_rubric", nearest[1]


def _content(reply: Any) -> str:
    choice = reply["choices"][0]
    content, finish = choice["message"]["content"], choice.get("finish_reason")
    if finish == "length" or not isinstance(content, str):
        raise ValueError("it was cut at max_tokens" if finish == "length" else f"no content, finish_reason {finish}")
    return clean(content[:MAX_REPLY_CHARS])
