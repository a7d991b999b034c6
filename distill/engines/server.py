"""Completions from servers that speak OpenAI's protocol: `vllm serve`, SGLang, a vendor's API.

Retries with jittered backoff are the openai client's own; which server gets an attempt is `_servers`' choice. The key
is read from an environment variable, and is in no identity, error or log. The server renders the prompt, not we.
"""

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from distill.engines import Completion, Doomed, EngineError, Request, pull
from distill.engines._local import check_args
from distill.engines._reply import read_reply
from filters import FilterError
from filters._endpoint import DEFAULT_URL, BaseUrl, KeyVariable, key_in, readable

try:
    import httpx
    import openai

    from distill.engines._servers import NoReply, Servers
    from distill.engines._stream import STREAMING, streamed
except ImportError as missing:
    raise EngineError("the openai client is missing: pip install 'distill[judge]'") from missing

MAX_FAILURES_IN_A_ROW = 20
_FROM_THE_RECIPE = {"model", "messages", "temperature", "top_p", "max_tokens", "seed", "n", "stream"}
_CONTINUE = {"add_generation_prompt": False, "continue_final_message": True}
"""What vLLM and SGLang are told with a last message that is to be continued."""


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    base_urls: Annotated[list[BaseUrl], Field(min_length=1)] = [DEFAULT_URL]
    api_key_env: KeyVariable = "OPENAI_API_KEY"
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    timeout_s: Annotated[float, Field(gt=0)] = 3600.0
    retries: Annotated[int, Field(ge=0)] = 8
    wait_s: Annotated[float, Field(ge=0)] = 600.0
    extra_body: dict[str, JsonValue] = {}


class ServerEngine:
    """A model behind one or more servers. Nothing is asked of them before the first request.

    Args of the recipe's `engine_args`: `base_urls`; `api_key_env`, the variable that holds the key; `concurrency`, the
    most requests in flight per URL; `timeout_s` of one attempt; `retries` of one request; `wait_s`, how long servers
    that have answered before may all be away until the run stops; `extra_body`, further fields of each request, which
    are recorded and so no place for secrets.

    A request without a usable answer is a completion that `failed:<why>`. `EngineError` says what to do where asking on
    is useless: see `Servers`, and after 20 failures in a row. Requests under way then still finish first.
    Reasoning that the server returns in a field of its own goes between think tags, which stay open where no response
    follows. With a request's `open_think`, a text with only the closing tag gets the opening one; otherwise a server
    cannot be made to open it. A reply without usage counts 0 tokens.
    """

    def __init__(self, model: str, *, revision: str | None, args: Mapping[str, Any]) -> None:
        given = _checked(args)
        self._model, self._args = model, given
        try:
            self._key = key_in(given.api_key_env)
        except FilterError as error:
            raise EngineError(str(error)) from None
        self._facts: dict[str, Any] = {
            "model": model,
            "revision": revision or "server",
            "template_digest": "server",
            "engine": "server",
            "engine_version": "unknown",  # until a server has said so
            "seeding": "by the server",
            "args": {"extra_body": given.extra_body} if given.extra_body else {},
        }
        self.identity: Mapping[str, Any] = self._facts
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._servers: Servers | None = None
        self._under_way: set[Future[Completion]] = set()
        self._streaming = dict(STREAMING)
        self._last_said = ""

    def complete(self, requests: Iterable[Request | None], doomed: Doomed | None = None) -> Iterator[Completion]:
        """Yield one completion per request, in the order in which they finish. Requests are pulled lazily."""
        if self._under_way:
            raise EngineError("this engine is already answering; exhaust or close the earlier iterator first")
        servers, client = self._open()
        source = iter(requests)
        finished: queue.SimpleQueue[Future[Completion]] = queue.SimpleQueue()
        failures = 0
        try:
            while True:
                room = 0 if servers.stopped else max(0, servers.places - len(self._under_way))
                for request in pull(source, room):
                    future = self._start(self._ask(client, request, doomed))
                    self._under_way.add(future)
                    future.add_done_callback(finished.put)
                if not self._under_way:
                    break
                completion = self._result(finished.get())
                self._facts["engine_version"] = ", ".join(sorted(servers.versions)) or "unknown"
                failed = completion.finish_reason.startswith("failed")
                failures = failures + 1 if failed else 0
                if failures >= MAX_FAILURES_IN_A_ROW:
                    servers.stop(self._gave_up(completion))
                if not (failed and servers.stopped):  # what was not asked has no outcome
                    yield completion
        finally:
            for future in [*self._under_way]:
                future.cancel()
            self._under_way.clear()
        if servers.stopped:
            raise servers.stopped

    def _result(self, future: Future[Completion]) -> Completion:
        self._under_way.discard(future)
        try:
            return future.result()
        except CancelledError:
            message = f"the engine of {self._model!r} was closed while requests were in flight"
            raise EngineError(message) from None

    async def _ask(self, client: openai.AsyncOpenAI, request: Request, doomed: Doomed | None = None) -> Completion:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": list(request.messages),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_tokens": request.max_tokens,
            "seed": request.seed,
        }
        if request.prefix:
            body["messages"].append({"role": "assistant", "content": request.prefix})
            body |= _CONTINUE
        body = self._args.extra_body | body
        try:
            if doomed:
                return await streamed(client, body, request, doomed, self._streaming, retries=self._args.retries)
            reply: Any = await client.post("/chat/completions", body=body, cast_to=object)
        except openai.OpenAIError as error:
            self._last_said = self._said(error)
            return Completion(request.request_id, "", f"failed:{_why(error)}", 0, 0)
        return read_reply(request, reply)

    def check_continues(self) -> None:
        """EngineError unless the server goes on with a last message of the assistant: vLLM and SGLang do.

        A server that does not know the fields reads as many tokens with them as without, and one that knows them fewer.
        """
        servers, client = self._open()
        try:
            plain, continued = self._start(self._tokens_read(client)).result()
        finally:
            self.close()
        if servers.stopped:
            raise servers.stopped
        if not 0 < continued < plain:
            said = f" (it says: {self._last_said})" if self._last_said else ""
            raise EngineError(
                f"the server of {self._model!r} does not continue a text that was cut{said}: vllm serve and SGLang do, "
                "by continue_final_message. Leave trajectories.on_length: {continue: …} out, or ask another server"
            )

    async def _tokens_read(self, client: openai.AsyncOpenAI) -> list[int]:
        turn = ({"role": "user", "content": "Count to three."},)
        begun = (*turn, {"role": "assistant", "content": "One, two"})
        plain = Request("probe", begun, 1)
        both = (plain, replace(plain, messages=turn, prefix="One, two"))
        return [(await self._ask(client, each)).prompt_tokens for each in both]

    def _said(self, error: openai.OpenAIError) -> str:
        body = getattr(error, "body", None)
        return readable(str(body.get("message") or ""), self._key) if isinstance(body, dict) else ""

    def _gave_up(self, last: Completion) -> str:
        said = f": {self._last_said}" if self._last_said else ""
        cures = {
            "failed:http_401": f"put a valid key into {self._args.api_key_env}",
            "failed:http_403": f"use a key in {self._args.api_key_env} that may ask this model",
            "failed:http_404": "see that base_urls end where the protocol begins, in most cases in /v1",
            "failed:http_400": "see that max_tokens fits the server's context, and that it knows all of extra_body",
        }
        cure = cures.get(last.finish_reason, "see the server's log")
        return (
            f"{MAX_FAILURES_IN_A_ROW} requests in a row came to nothing, the last with "
            f"{last.finish_reason.removeprefix('failed:')}{said}. To go on, {cure}, and run again"
        )

    # --- the event loop, in a thread of its own ---------------------------------------------------------------------

    def _open(self) -> tuple[Servers, openai.AsyncOpenAI]:
        """Fresh connections, in a loop whose thread ends with the process even where nobody closes the engine."""
        self.close()
        args, key = self._args, self._key or "none"  # the client insists on a key
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="distill-server-engine", daemon=True)
        self._thread.start()
        self._servers = Servers(
            list(dict.fromkeys((url or DEFAULT_URL).rstrip("/") for url in args.base_urls)),
            self._model,
            concurrency=args.concurrency,
            wait_s=args.wait_s,
            headers={"Authorization": f"Bearer {key}"},
        )
        client = openai.AsyncOpenAI(
            base_url="http://the-server-that-is-free",
            api_key=key,
            timeout=httpx.Timeout(args.timeout_s, connect=min(args.timeout_s, 10.0)),
            max_retries=args.retries,
            http_client=httpx.AsyncClient(transport=self._servers, follow_redirects=False),
        )
        return self._servers, client

    def _start(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Drop what is in flight, which makes vLLM stop working on it, and every connection. Safe to call twice."""
        loop, thread, servers = self._loop, self._thread, self._servers
        if loop is None or thread is None or servers is None:
            return
        for future in [*self._under_way]:
            future.cancel()
        self._start(_wind_up(servers)).result()
        self._loop = self._thread = self._servers = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


async def _wind_up(servers: Servers) -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await servers.aclose()


def _why(error: openai.OpenAIError) -> str:
    """A word for a request that got no reply, after all retries."""
    if isinstance(error, openai.APITimeoutError):
        return "timeout"
    if isinstance(error, openai.APIStatusError):
        return f"http_{error.status_code}"
    return str(error.__cause__) if isinstance(error.__cause__, NoReply) else "connection"


def _checked(args: Mapping[str, Any]) -> _Args:
    check_args(args, _Args.model_fields, "server")
    try:
        given = _Args.model_validate(dict(args))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        raise EngineError(f"engine_args: {'; '.join(lines)}") from None
    if taken := sorted(given.extra_body.keys() & _FROM_THE_RECIPE):
        raise EngineError(f"engine_args: extra_body: {', '.join(taken)} follow from the recipe; leave them out")
    return given
