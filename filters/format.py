"""Format: one piece of reasoning, then one answer, and nothing of the chat machinery in between."""

import re
from typing import Literal

import polars as pl
from pydantic import NonNegativeInt

from filters import Filter, canonical_answer, extract_answer, verdict_where
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
_FINAL = {"answers": pl.Int64, "shown": pl.String, "behind": pl.String}


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
        reasoning, response, finish = (
            text("reasoning").fill_null(""),
            text("response"),
            text("finish_reason").fill_null("stop"),
        )
        leak = reasoning.str.extract(f"({LEAKED_TOKEN})").fill_null(response.str.extract(f"({LEAKED_TOKEN})"))
        answers_of = pl.struct(response=response, style=self._style())
        final = answers_of.map_batches(_final_answers, return_dtype=pl.Struct(_FINAL)).struct
        answers, shown, behind = final.field("answers"), final.field("shown"), final.field("behind")
        rejects = {
            "truncated": finish == "length",
            "aborted": finish.str.starts_with("aborted"),
            "not_stopped": finish != "stop",
            "unclosed_reasoning": text("reasoning").is_null() & response.str.contains(r"(?i)<think(?:ing)?\s*>"),
            "no_reasoning": pl.lit(self.reasoning == "required") & (reasoning.str.strip_chars() == ""),
            "repeated_think_tags": reasoning.str.contains(THINK_TAG) | response.str.contains(THINK_TAG),
            "leaked_token": leak.is_not_null(),
            "empty_response": response.str.strip_chars() == "",
            "no_final_answer": answers == 0,
            "several_final_answers": answers > 1,
            "text_after_answer": behind.str.len_chars() > self.max_chars_after_answer,
        }
        evidence = leak.fill_null(pl.when(rejects["text_after_answer"]).then(behind).otherwise(shown))
        return verdict_where(score=answers, rejects=rejects, evidence=evidence)

    def _style(self) -> pl.Expr:
        if self.final_answer != "by_domain":
            return pl.lit(self.final_answer)
        return text("domain").fill_null("math").replace_strict(_STYLE, default="any", return_dtype=pl.String)


def _final_answers(column: pl.Series) -> pl.Series:
    """For each response and style: how many final answers, which, and the text behind the last one."""
    rows = column.struct.unnest().with_columns(
        boxes=pl.col("response").str.extract_all(BOX), behind=pl.col("response").str.replace(rf"(?s)^.*{BOX}", "")
    )
    found = [_final_answer(**row) for row in rows.iter_rows(named=True)]
    return pl.DataFrame(found, schema=_FINAL, orient="row").to_struct()


def _final_answer(response: str, style: str, boxes: list[str], behind: str) -> tuple[int, str, str]:
    if style in ("code", "any"):
        return int(bool(response.strip()) if style == "any" else response.count("```") > 1), "", ""
    answers = [box[box.index("{") + 1 : -1].strip() for box in boxes]
    if style == "stated":
        for mark in _HASHES.finditer(response):
            answers.append(mark[1])
            behind = min(behind, response[mark.end() :], key=len)
        if not answers and (answer := extract_answer(response)):
            answers, behind = [answer], response.rpartition(answer)[2]
    different = {canonical_answer(answer): answer for answer in answers} if len(answers) > 1 else answers
    return len(different), " | ".join(sorted(set(answers))), behind if answers else ""
