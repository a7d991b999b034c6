"""How a problem becomes a prompt, and how a completion splits into reasoning and response.

Does not judge: malformed tags stay in the text, where the `format` filter finds them.
"""

import re
from typing import Any

import polars as pl

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

Message = dict[str, str]


def user_message(problem: str, instruction: str) -> Message:
    """The one message a teacher or student is asked with; R1 advises against a system prompt."""
    return {"role": "user", "content": f"{problem}\n\n{instruction}" if instruction else problem}


def render_prompt(tokenizer: Any, messages: list[Message], *, open_think: bool) -> tuple[str, str]:
    """The prompt by the model's own template, and the opening tag that it ends with, if any.

    The opening is part of the prompt, so the model does not repeat it: put it before the completion to get whole text.
    It is returned as the template writes it, with the white space that follows.
    """
    prompt: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if prompt.rstrip().endswith(THINK_OPEN):
        return prompt, prompt[prompt.rindex(THINK_OPEN) :]
    opening = THINK_OPEN + "\n"
    return (prompt + opening, opening) if open_think else (prompt, "")


def split_completion(text: str) -> tuple[str | None, str]:
    """Reasoning and response of a whole completion; reasoning is None where the think tags never close.

    A completion that carries only the closing tag is read as if it had the opening one. Outer white space is dropped.
    Further tags stay where they are.
    """
    before, close, after = text.partition(THINK_CLOSE)
    if not close:
        return None, text.strip()
    return before.strip().removeprefix(THINK_OPEN).strip(), after.strip()


def split_completions(texts: pl.Series) -> pl.DataFrame:
    """The columns reasoning and response of whole completions, row by row."""
    pairs = [split_completion(text) for text in texts]
    return pl.DataFrame(pairs, schema={"reasoning": pl.String, "response": pl.String}, orient="row")


def join_completion(reasoning: str | None, response: str) -> str:
    """The text a student learns to write; the inverse of `split_completion` up to outer white space."""
    return response if reasoning is None else f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n\n{response}"


def clean_text(text: str) -> str:
    """Replace what JSON and Arrow cannot carry (lone surrogates, NUL) by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)
