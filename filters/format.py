"""Format: one piece of reasoning, then one answer, and nothing of the chat machinery in between."""

from typing import Literal

import polars as pl

from filters import Filter, verdict_where
from filters._text import text

THINK_TAG = r"</?think>"
LEAKED_TOKEN = (
    r"<[|｜][a-zA-Z][^<>|｜\s]{2,40}[|｜]>"
    r"|</?(?:tool_call|tool_response|start_of_turn|end_of_turn|bos|eos|pad|unk)>|</s>|\[/?INST\]|<<SYS>>"
)
"""Control tokens of ChatML, Llama 3, DeepSeek, Gemma and Mistral templates, and tool-call tags."""
_INNER = r"[^{}]*"
for _ in range(4):
    _INNER = rf"(?:[^{{}}]|\{{{_INNER}\}})*"
BOX = rf"\\boxed\s*\{{{_INNER}\}}"
"""A box with up to five levels of braces: patterns that run in linear time cannot count further."""


class Format(Filter):
    r"""Keep trajectories of the form: reasoning that opens and closes once, then a response with one final answer.

    The tags are gone from a well-formed row: ``reasoning`` is what stood between them. Where they never closed,
    ``reasoning`` is null and ``response`` is the raw text. Think tags that are left anywhere, even quoted from the
    problem, are rejected: whoever splits the student's training text at the tag would split there too. The same
    answer boxed twice is one answer.

    A null ``finish_reason`` is unknown, as in imported rows, and not held against the row.

    Score: number of different boxed answers in the response.
    Rejects: truncated (finish_reason length), aborted, not_stopped (any other finish_reason), unclosed_reasoning,
        no_reasoning (absent or empty; also where the prompt opened it and nothing closed it), repeated_think_tags,
        leaked_token, empty_response, no_final_answer, several_final_answers.
    Abstains: missing_input.
    """

    reasoning: Literal["required", "optional"] = "required"
    """``optional`` also keeps rows without reasoning, such as imported solutions; unclosed reasoning stays rejected."""
    final_answer: Literal["boxed", "any"] = "boxed"
    r"""``boxed`` wants exactly one answer in ``\boxed{}``; ``any`` wants a response that is not empty."""

    reads = ("reasoning", "response", "finish_reason")
    nullable = ("reasoning", "finish_reason")
    examples = (
        ({"reasoning": "6 times 7 is 42", "response": r"\boxed{42}", "finish_reason": "stop"}, "keep"),
        ({"reasoning": "so", "response": r"\boxed{42}, that is, \boxed{42}", "finish_reason": "stop"}, "keep"),
        ({"reasoning": "6 times", "response": "", "finish_reason": "length"}, "truncated"),
        ({"reasoning": "6", "response": "", "finish_reason": "aborted:loop"}, "aborted"),
        ({"reasoning": "6", "response": r"\boxed{4}", "finish_reason": "tool_calls"}, "not_stopped"),
        ({"reasoning": "6", "response": r"\boxed{4}", "finish_reason": None}, "keep"),
        ({"reasoning": None, "response": r"<think>\boxed{42}", "finish_reason": "stop"}, "unclosed_reasoning"),
        ({"reasoning": None, "response": r"\boxed{42}", "finish_reason": "stop"}, "no_reasoning"),
        ({"reasoning": "\n\n", "response": r"\boxed{42}", "finish_reason": "stop"}, "no_reasoning"),
        ({"reasoning": "a <think> b", "response": r"\boxed{1}", "finish_reason": "stop"}, "repeated_think_tags"),
        ({"reasoning": "a", "response": r"b</think>\boxed{1}", "finish_reason": "stop"}, "repeated_think_tags"),
        ({"reasoning": "a", "response": r"\boxed{1}<|im_start|>user", "finish_reason": "stop"}, "leaked_token"),
        ({"reasoning": "a", "response": " \n", "finish_reason": "stop"}, "empty_response"),
        ({"reasoning": "a", "response": "It is 42.", "finish_reason": "stop"}, "no_final_answer"),
        ({"reasoning": "a", "response": r"\boxed{1} or \boxed{2}", "finish_reason": "stop"}, "several_final_answers"),
        ({"reasoning": "a", "response": None, "finish_reason": "stop"}, "missing_input"),
    )

    def judge(self) -> pl.Expr:
        """Look at how generation ended, then at the tags, then at the answer."""
        reasoning, response, finish = (
            text("reasoning").fill_null(""),
            text("response"),
            text("finish_reason").fill_null("stop"),
        )
        no_reasoning = reasoning.str.strip_chars() == ""
        boxes = response.str.extract_all(BOX).list.eval(pl.element().str.replace_all(r"\s", "")).list.unique()
        answers = boxes.list.len()
        leak = reasoning.str.extract(f"({LEAKED_TOKEN})").fill_null(response.str.extract(f"({LEAKED_TOKEN})"))
        is_boxed = pl.lit(self.final_answer == "boxed")
        rejects = {
            "truncated": finish == "length",
            "aborted": finish.str.starts_with("aborted"),
            "not_stopped": finish != "stop",
            "unclosed_reasoning": text("reasoning").is_null() & response.str.contains("<think>", literal=True),
            "no_reasoning": pl.lit(self.reasoning == "required") & no_reasoning,
            "repeated_think_tags": reasoning.str.contains(THINK_TAG) | response.str.contains(THINK_TAG),
            "leaked_token": leak.is_not_null(),
            "empty_response": response.str.strip_chars() == "",
            "no_final_answer": is_boxed & (answers == 0),
            "several_final_answers": is_boxed & (answers > 1),
        }
        return verdict_where(score=answers, rejects=rejects, evidence=leak.fill_null(boxes.list.sort().list.join(" ")))
