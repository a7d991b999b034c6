"""Format: one piece of reasoning, then one answer, and nothing of the chat machinery in between."""

import re
from typing import Literal

import polars as pl
from pydantic import NonNegativeInt

from filters import VERDICT, Filter, canonical_answer, extract_answer, verdict_where
from filters._text import text

THINK_TAG = r"(?i)</?think(?:ing)?\s*>"
LEAKED_TOKEN = (
    r"<[|｜][a-zA-Z][^<>|｜\s]{2,40}[|｜]>"
    r"|</?(?:tool_calls?|tool_response|tool_use|tools|function_calls?|start_of_turn|end_of_turn|bos|eos|pad|unk)>"
    r"|</s>|<(?:unused|extra_id_)\d+>|<0x[0-9A-F]{2}>|<<SYS>>|\[/?(?:INST|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\]"
)
"""Control tokens of ChatML, Llama 3, DeepSeek, Gemma, Mistral and T5, bytes of SentencePiece, and tool-call tags."""
_INNER = r"[^{}]*"
for _ in range(4):
    _INNER = rf"(?:[^{{}}]|\{{{_INNER}\}})*"
BOX = rf"\\boxed\s*\{{{_INNER}\}}"
"""A box with up to five levels of braces: patterns that run in linear time cannot count further."""
_HASHES = re.compile(r"^[ \t]*####[ \t]*([-+$]?\d[^\n]{0,60})$", re.MULTILINE)
"""The mark of GSM8K with a number behind it; other lines of the kind are Markdown headings."""
_STYLE = {"math": "boxed", "choice": "stated", "code": "code"}
"""What counts as a final answer in a domain, where any text does in the others."""


class Format(Filter):
    r"""Keep trajectories of the form: reasoning that opens and closes once, then a response with one final answer.

    The tags are gone from a well-formed row: ``reasoning`` is what stood between them. Where they never closed,
    ``reasoning`` is null and ``response`` is the raw text. Think tags that are left anywhere, even quoted from the
    problem, are rejected: whoever splits the student's training text at the tag would split there too. The problem
    itself may hold such tags. The same answer twice is one answer, also in another notation (``1/2`` and ``0.5``).

    A null ``finish_reason`` is unknown, as in imported rows, and not held against the row.

    Score: number of different final answers in the response; where any text is one, 1 or 0.
    Rejects: truncated (finish_reason length), aborted, not_stopped (any other finish_reason), unclosed_reasoning,
        no_reasoning (absent or empty; also where the prompt opened it and nothing closed it), repeated_think_tags,
        leaked_token, empty_response, no_final_answer, several_final_answers, text_after_answer (such as the token
        garbage that may follow a correct box).
    Abstains: missing_input.
    """

    reasoning: Literal["required", "optional"] = "required"
    """``optional`` also keeps rows without reasoning, such as imported solutions; unclosed reasoning stays rejected."""
    final_answer: Literal["by_domain", "boxed", "stated", "code", "any"] = "by_domain"
    r"""``boxed`` wants one answer in ``\boxed{}``; ``stated`` one in any style that `extract_answer` reads; ``code`` a
    fenced block; ``any`` a text. ``by_domain``: boxed for math and where the domain is null, stated for choice, code
    for code, else any."""
    max_chars_after_answer: NonNegativeInt = 1000
    """Most characters behind a boxed or stated answer. Of the reference solutions of MATH-500, 99 % end within 512."""

    reads = ("reasoning", "response", "finish_reason", "domain")
    nullable = ("reasoning", "finish_reason", "domain")
    examples = tuple(
        (dict(zip(("reasoning", "response", "finish_reason", "domain"), row, strict=True)), expected)
        for *row, expected in (
            ("6 times 7 is 42", r"\boxed{42}", "stop", "math", "keep"),
            ("so", r"\boxed{42}, that is, \boxed{42}", "stop", None, "keep"),
            ("6 times", "", "length", "math", "truncated"),
            ("6", "", "aborted:loop", "math", "aborted"),
            ("6", r"\boxed{4}", "tool_calls", "math", "not_stopped"),
            ("6", r"\boxed{4}", None, "math", "keep"),
            (None, r"<think>\boxed{42}", "stop", "math", "unclosed_reasoning"),
            (None, r"\boxed{42}", "stop", "math", "no_reasoning"),
            ("\n\n", r"\boxed{42}", "stop", "math", "no_reasoning"),
            ("a <think> b", r"\boxed{1}", "stop", "math", "repeated_think_tags"),
            ("a", r"b</think>\boxed{1}", "stop", "math", "repeated_think_tags"),
            ("a", r"\boxed{1}<|im_start|>user", "stop", "math", "leaked_token"),
            ("a", " \n", "stop", "math", "empty_response"),
            ("a", "It is 42.", "stop", "math", "no_final_answer"),
            ("a", r"\boxed{1} or \boxed{2}", "stop", "math", "several_final_answers"),
            ("a", r"\boxed{1}" + " token" * 200, "stop", "math", "text_after_answer"),
            ("a", "Answer: B", "stop", "choice", "keep"),
            ("a", "```python\nprint(1)\n```", "stop", "code", "keep"),
            ("a", "A poem.", "stop", "general", "keep"),
            ("a", None, "stop", "math", "missing_input"),
        )
    )

    def judge(self) -> pl.Expr:
        """Look at how generation ended, then at the tags, then at the answer."""
        # In steps, since an expression that occurs twice is computed twice.
        return pl.struct(self.reads).map_batches(self._judge_rows, return_dtype=VERDICT)

    def _judge_rows(self, column: pl.Series) -> pl.Series:
        reasoning, response, leak = pl.col("reasoning").fill_null(""), pl.col("response"), f"({LEAKED_TOKEN})"
        rows = column.struct.unnest().select(text(name) for name in self.reads)
        rows = rows.with_columns(
            finish=pl.col("finish_reason").fill_null("stop"),
            opened=pl.col("reasoning").is_null() & response.str.contains(r"(?i)<think(?:ing)?\s*>"),
            tags=reasoning.str.contains(THINK_TAG) | response.str.contains(THINK_TAG),
            leak=reasoning.str.extract(leak).fill_null(response.str.extract(leak)),
            **_final_answers(rows.select("response", self._style())),
        )
        rejects = {
            "truncated": pl.col("finish") == "length",
            "aborted": pl.col("finish").str.starts_with("aborted"),
            "not_stopped": pl.col("finish") != "stop",
            "unclosed_reasoning": pl.col("opened"),
            "no_reasoning": pl.lit(self.reasoning == "required") & (reasoning.str.strip_chars() == ""),
            "repeated_think_tags": pl.col("tags"),
            "leaked_token": pl.col("leak").is_not_null(),
            "empty_response": response.str.strip_chars() == "",
            "no_final_answer": pl.col("answers") == 0,
            "several_final_answers": pl.col("answers") > 1,
            "text_after_answer": pl.col("behind").str.len_chars() > self.max_chars_after_answer,
        }
        shown = pl.when(rejects["text_after_answer"]).then("behind").otherwise("shown")
        evidence = pl.col("leak").fill_null(shown)
        return rows.select(verdict_where(score=pl.col("answers"), rejects=rejects, evidence=evidence)).to_series()

    def _style(self) -> pl.Expr:
        if self.final_answer != "by_domain":
            return pl.lit(self.final_answer).alias("style")
        return (
            text("domain")
            .fill_null("math")
            .replace_strict(_STYLE, default="any", return_dtype=pl.String)
            .alias("style")
        )


def _final_answers(rows: pl.DataFrame) -> dict[str, pl.Series]:
    """Of each response and style: how many final answers, which ones are shown, and the text behind the last one."""
    boxes = rows["response"].str.extract_all(BOX)
    behind = rows["response"].str.replace(rf"(?s)^.*{BOX}", "")
    found = [_final_answer(*row) for row in zip(*rows, boxes.to_list(), behind, strict=True)]
    schema = {"answers": pl.Int64, "shown": pl.String, "behind": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row").to_dict()


def _final_answer(response: str, style: str, boxes: list[str], behind: str) -> tuple[int, str, str]:
    if style in ("code", "any"):
        return int(bool(response.strip()) if style == "any" else response.count("```") > 1), "", ""
    answers = [box[box.index("{") + 1 : -1].strip() for box in boxes]
    if style == "stated":
        marks = list(_HASHES.finditer(response))
        answers += [mark[1].strip() for mark in marks]
        behind = min(behind, response[marks[-1].end() :], key=len) if marks else behind
    answers = [answer for answer in dict.fromkeys(answers) if answer]
    if style == "stated" and not answers and (answer := extract_answer(response)):
        answers, behind = [answer], response.rpartition(answer)[2]
    different = {canonical_answer(answer): answer for answer in answers} if len(answers) > 1 else answers
    return len(different), " | ".join(sorted(answers)), behind if answers else ""
