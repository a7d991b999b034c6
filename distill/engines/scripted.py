"""Completions from a Python function: for tests, and for teachers that are programs.

No model and no tokenizer: a token here is a word, that is, a run of characters without white space.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from distill.engines import LOOK_TOKENS, Completion, Doomed, EngineError, Partial, Request, pull

_WORD = re.compile(r"\S+")


class ScriptedEngine:
    """An engine whose completions are what `answer` returns.

    A text is the whole completion, opening tag included and with the request's prefix, which is put before it where it
    lacks it; one of more further words than the request's `max_tokens` is cut there and finishes with `length`, any
    other with `stop`. A Completion is passed on as it is.
    `name` and `version` are the identity: change `version` whenever the same request is to be answered otherwise.
    With `in_flight` above 1, that many requests are pulled ahead and finish out of order, the same way in every run.
    """

    def __init__(
        self, answer: Callable[[Request], str | Completion], *, name: str, version: str = "1", in_flight: int = 1
    ) -> None:
        if in_flight < 1:
            raise EngineError(f"in_flight: found {in_flight}, expected at least 1")
        self._answer = answer
        self._in_flight = in_flight
        self.identity: Mapping[str, Any] = {
            "model": name,
            "revision": version,
            "template_digest": None,
            "engine": "scripted",
            "engine_version": version,
            "seeding": "per request",
            "args": {},
        }

    def complete(self, requests: Iterable[Request | None], doomed: Doomed | None = None) -> Iterator[Completion]:
        """Yield one completion per request. At most `in_flight` requests are pulled and not yet answered."""
        source = iter(requests)
        waiting: list[Request] = []
        while True:
            waiting += pull(source, self._in_flight - len(waiting))
            if not waiting:
                return
            request = min(waiting, key=lambda request: hashlib.sha256(request.request_id.encode()).digest())
            waiting.remove(request)
            yield self._complete_one(request, doomed)

    def _complete_one(self, request: Request, doomed: Doomed | None) -> Completion:
        answer = self._answer(request)
        if isinstance(answer, Completion):
            return answer
        new = answer.removeprefix(request.prefix)
        words = list(_WORD.finditer(new))
        cut = len(words) > request.max_tokens
        count, reason = (request.max_tokens, "length") if cut else (len(words), "stop")
        if doomed:
            count, reason = _ended(request, new, words[:count], doomed) or (count, reason)
        read = [*(message["content"] for message in request.messages), request.prefix]
        return Completion(
            request_id=request.request_id,
            text=request.prefix + (new if reason == "stop" else new[: words[count - 1].end()]),
            finish_reason=reason,
            prompt_tokens=sum(len(_WORD.findall(text)) for text in read),
            completion_tokens=count,
        )

    def check_continues(self) -> None:
        """It does."""

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _ended(request: Request, new: str, words: list[re.Match[str]], doomed: Doomed) -> tuple[int, str] | None:
    """Where and why what is written is ended."""
    vocabulary: dict[str, str] = {}
    symbols = "".join(vocabulary.setdefault(word[0], chr(len(vocabulary))) for word in words)
    for count in range(LOOK_TOKENS, len(words), LOOK_TOKENS):
        text = request.prefix + new[: words[count - 1].end()]
        [why] = doomed([Partial(request, count, symbols[:count], text.__str__)])
        if why:
            return count, f"aborted:{why}"
    return None
