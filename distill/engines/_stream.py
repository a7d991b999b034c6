"""A server's reply while it is being written, token by token, and ended where it is doomed."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import openai

from distill.engines import LOOK_TOKENS, Completion, Doomed, Partial, Request
from distill.engines._reply import read_reply

_COUNTS = "continuous_usage_stats"
STREAMING = {"include_usage": True, _COUNTS: True}
"""What vLLM and SGLang are told of a reply that is streamed: to say of each piece how many tokens there are."""
_FIELDS = {"reasoning": "reasoning", "reasoning_content": "reasoning", "content": "content"}


async def streamed(
    client: openai.AsyncOpenAI,
    body: Mapping[str, Any],
    request: Request,
    doomed: Doomed,
    options: dict[str, bool],
    *,
    retries: int,
) -> Completion:
    """Ask, and close the connection where `doomed` says so, which makes vLLM and SGLang stop writing.

    `options` is `STREAMING`, less what this server has refused. Where it does not count as it writes, tokens of an
    ended completion are the pieces in which it came, and those that were read 0. Raises openai's errors.
    """
    for attempt in range(retries + 1):
        try:
            return await _streamed(client, body, request, doomed, options)
        except openai.BadRequestError:
            if not options.pop(_COUNTS, False):
                raise
        except (httpx.HTTPError, ValueError):  # it broke off; what does not begin the client asks again by itself
            await asyncio.sleep(min(0.5 * 2**attempt, 8) * random.random())
    return Completion(request.request_id, "", "failed:connection", 0, 0)


async def _streamed(
    client: openai.AsyncOpenAI, body: Mapping[str, Any], request: Request, doomed: Doomed, options: Mapping[str, bool]
) -> Completion:
    reply: Any = await client.post(
        "/chat/completions",
        body={**body, "stream": True, "stream_options": options},
        cast_to=object,
        stream=True,
        stream_cls=openai.AsyncStream[object],
    )
    written = _Written(request)
    async with reply:
        async for chunk in reply:
            if isinstance(chunk, dict) and written.takes(chunk):
                now = written.completion()
                [why] = doomed([Partial(request, now.completion_tokens, written.symbols, now.text.__str__)])
                if why:
                    return replace(now, finish_reason=f"aborted:{why}")
    return written.completion()


class _Written:
    """What has come of a reply so far."""

    def __init__(self, request: Request) -> None:
        self.pieces, self.symbols = 0, ""
        self._request = request
        self._texts = {"reasoning": "", "content": ""}
        self._end: dict[str, Any] = {}
        self._usage: Any = None
        self._vocabulary: dict[str, str] = {}

    def takes(self, chunk: Mapping[str, Any]) -> bool:
        """Take a piece; whether it is time to look at the whole."""
        self._usage = chunk.get("usage") or self._usage
        before = self.pieces
        for choice in chunk.get("choices") or []:
            self._end["finish_reason"] = choice.get("finish_reason") or self._end.get("finish_reason")
            said = {_FIELDS[n]: t for n, t in (choice.get("delta") or {}).items() if n in _FIELDS and t}
            for name, text in said.items():
                self._texts[name] += text
                self.symbols += self._vocabulary.setdefault(text, chr(len(self._vocabulary)))
                self.pieces += 1
        return self.pieces > before and self.pieces % LOOK_TOKENS == 0

    def completion(self) -> Completion:
        """What there is, as a reply in one piece would be read."""
        reasoning, content = self._texts["reasoning"] or None, self._texts["content"]
        message = {"reasoning": reasoning, "content": content or (None if reasoning else "")}
        found = read_reply(self._request, {"choices": [{"message": message, **self._end}], "usage": self._usage})
        return found if self._usage else replace(found, completion_tokens=self.pieces)
