"""A chat reply as a completion: reasoning in whichever field a server puts it, and what it says of tokens."""

import re
from collections.abc import Mapping
from typing import Any

from distill.chat import THINK_CLOSE, THINK_OPEN, join_completion
from distill.engines import Completion, Request

_MOST_TOKENS = 2**31 - 1


def read_reply(request: Request, reply: Mapping[str, Any]) -> Completion:
    """The completion in a chat reply that has a choice with a message."""
    choice = reply["choices"][0]
    message, reason = choice["message"], choice.get("finish_reason")
    reasoning = message.get("reasoning") or message.get("reasoning_content") or None
    text, finish = message.get("content"), reason if reason in ("stop", "length") else f"failed:{_word(reason)}"
    if request.prefix and isinstance(reasoning, str | None) and isinstance(text, str | None):
        text = request.prefix + _further(reasoning, text, closed=THINK_CLOSE in request.prefix)
    elif isinstance(reasoning, str) and isinstance(text, str | None):
        text = join_completion(reasoning, text) if text else f"{THINK_OPEN}\n{reasoning}"
    elif not isinstance(text, str):
        text, finish = "", "failed:no_text"
    elif request.open_think and THINK_CLOSE in text and THINK_OPEN not in text.partition(THINK_CLOSE)[0]:
        text = f"{THINK_OPEN}\n{text}"
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Completion(
        request.request_id, text, finish, _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    )


def _further(reasoning: str | None, text: str | None, *, closed: bool) -> str:
    """What follows a prefix, in which reasoning has been closed or not."""
    between = "" if closed or not (reasoning and text) else f"\n{THINK_CLOSE}\n\n"
    return f"{reasoning or ''}{between}{text or ''}"


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else 0


def _word(value: Any) -> str:
    """A server's word, where it is one."""
    return value if isinstance(value, str) and re.fullmatch("[a-z_]{1,40}", value) else "no_finish_reason"
