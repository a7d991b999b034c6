"""Completions from a Python function: for tests, and for teachers that are programs.

No model and no tokenizer: a token here is a word, that is, a run of characters without white space.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

from distill.engines import Completion, EngineError, Request, pull

_WORD = re.compile(r"\S+")


class ScriptedEngine:
    """An engine whose completions are what `answer` returns.

    A text is the whole completion, opening tag included; one of more words than the request's `max_tokens` is cut
    there and finishes with `length`, any other with `stop`. A Completion is passed on as it is.
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

    def complete(self, requests: Iterable[Request | None]) -> Iterator[Completion]:
        """Yield one completion per request. At most `in_flight` requests are pulled and not yet answered."""
        source = iter(requests)
        waiting: list[Request] = []
        while True:
            waiting += pull(source, self._in_flight - len(waiting))
            if not waiting:
                return
            request = min(waiting, key=lambda request: hashlib.sha256(request.request_id.encode()).digest())
            waiting.remove(request)
            yield self._complete_one(request)

    def _complete_one(self, request: Request) -> Completion:
        answer = self._answer(request)
        if isinstance(answer, Completion):
            return answer
        words = list(_WORD.finditer(answer))
        cut = len(words) > request.max_tokens
        return Completion(
            request_id=request.request_id,
            text=answer[: words[request.max_tokens - 1].end()] if cut else answer,
            finish_reason="length" if cut else "stop",
            prompt_tokens=sum(len(_WORD.findall(message["content"])) for message in request.messages),
            completion_tokens=min(len(words), request.max_tokens),
        )

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
