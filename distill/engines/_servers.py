"""Which of several servers gets a request, how many it gets at once, and whether it still serves the same model.

An httpx transport beneath the openai client: every attempt of a request passes through it, so that the client's own
retries find another server when one has gone. Knows nothing of what is asked. Runs in one event loop, hence no locks.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from distill.engines import EngineError

_POLL_S = 0.02
_CHECK_TIMEOUT_S = 10.0
_RECHECK_S = 30.0
_FIRST_REST_S, _LONGEST_REST_S = 0.25, 30.0
_LONGEST_RETRY_AFTER_S = 3600.0
_EVENTS = "text/event-stream"
_BUSY = (429, 502, 503, 504)
_REFUSALS = {
    401: "refuses the key: put a valid one into the environment variable that api_key_env names",
    403: "forbids this key to list models: use a key that may",
    404: "has no route /models: base_urls end where the protocol begins, in most cases in /v1",
}


class NoReply(httpx.TransportError):
    """A reply of 200 that holds no completion. Its text is the reason; the client retries it as a broken connection."""


@dataclass
class _Server:
    """One base URL. Times are of the monotonic clock, in seconds."""

    url: str
    limit: float
    in_flight: int = 0
    successes: int = 0
    halved_at: float = 0.0
    """Requests sent before this failed by the earlier limit, so they do not halve it again."""
    rests_until: float = 0.0
    rest_s: float = _FIRST_REST_S
    checking: bool = False
    checked_at: float = -math.inf
    checked_until: float = 0.0
    away_since: float | None = None
    serves: tuple[str, Any] | None = None
    """The model and what vLLM loaded under that name, as first seen."""


class Servers(httpx.AsyncBaseTransport):
    """Sends each request to the server with the largest share of free places.

    A server's places are halved when it is busy (429, 502 to 504, a timeout), and grow by one after as many successes
    as it has places. One that cannot be reached is left alone for a while that doubles. Its model is looked up before
    it is asked again, and every 30 s. `stopped` is set, and nothing more is sent, when asking on makes no sense: a
    server refuses the key, does not list the model or serves another than before, or none was there for `wait_s`.
    """

    def __init__(
        self, urls: Sequence[str], model: str, *, concurrency: int, wait_s: float, headers: dict[str, str]
    ) -> None:
        self._servers = [_Server(url, concurrency) for url in urls]
        self._model, self._concurrency, self._wait_s = model, concurrency, wait_s
        no_limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        # A redirect could carry the key anywhere.
        self._http = httpx.AsyncClient(headers=headers, limits=no_limits, follow_redirects=False)
        self.stopped: EngineError | None = None
        self.versions: set[str] = set()
        """vLLM's, of the servers seen so far; empty where it is unknown."""

    @property
    def places(self) -> int:
        """How many requests may be in flight now."""
        return max(1, sum(int(server.limit) for server in self._servers))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to a server that has room, waiting for one if need be."""
        server = await self._take()
        if server is None:
            return httpx.Response(410, headers={"x-should-retry": "false"}, json={})
        sent, connected_at = time.monotonic(), -math.inf

        async def trace(event: str, _: Any) -> None:
            nonlocal connected_at
            if event == "connection.connect_tcp.complete":
                connected_at = time.monotonic()

        streams = False
        try:
            response = await self._http.send(_addressed(request, server.url, trace), stream=True)
            streams = response.status_code == 200 and response.headers.get("content-type", "").startswith(_EVENTS)
            if not streams:
                await response.aread()
        except httpx.ConnectTimeout as error:
            self._away(server, error)
            raise
        except httpx.TimeoutException:
            self._busy(server, sent)
            raise
        except httpx.TransportError as error:
            self._away(server, error)
            raise
        finally:
            server.in_flight -= not streams
        self._note(server, response, sent, streams)
        if connected_at > server.checked_at and not await self._check(server):
            if streams:
                await response.aclose()
                server.in_flight -= 1
            raise NoReply("unchecked")  # a restarted server takes a new connection without breaking one
        if streams:
            return httpx.Response(200, headers=response.headers, stream=_Stream(self, server, response))
        return response

    async def _take(self) -> _Server | None:
        """A place at a server that serves the model; None once stopped."""
        while not self.stopped:
            now = time.monotonic()
            free = [
                server
                for server in self._servers
                if server.in_flight < int(server.limit) and now >= server.rests_until and not server.checking
            ]
            if not free:
                await asyncio.sleep(_POLL_S)
                continue
            server = max(free, key=lambda server: 1 - server.in_flight / server.limit)
            if now < server.checked_until or await self._check(server):
                server.in_flight += 1
                return server
        return None

    def _note(self, server: _Server, response: httpx.Response, sent: float, streams: bool) -> None:
        status = response.status_code
        if status in _BUSY:
            self._busy(server, sent)
            server.checked_until = server.checked_until if status == 429 else 0.0  # perhaps only a proxy is left
            if wait_s := _seconds(response.headers.get("retry-after")):
                # Waited for here, where another server may take over; the client would sleep, or give up on long waits.
                server.rests_until = max(server.rests_until, time.monotonic() + wait_s)
                del response.headers["retry-after"]
        elif status == 200:
            if not streams:
                _check_reply(response)
                response.headers["content-type"] = "application/json"  # whatever it says; the client believes it
            server.successes += 1
            if server.successes >= server.limit:
                server.limit, server.successes = min(server.limit + 1, self._concurrency), 0

    def _busy(self, server: _Server, sent: float) -> None:
        if sent >= server.halved_at:
            server.limit, server.successes, server.halved_at = max(1, server.limit // 2), 0, time.monotonic()

    # --- is it there, and is it the same? ---------------------------------------------------------------------------

    async def _check(self, server: _Server) -> bool:
        server.checking, started = True, time.monotonic()
        try:
            response = await self._http.get(f"{server.url}/models", timeout=_CHECK_TIMEOUT_S)
            if response.status_code in _REFUSALS:
                self.stop(f"{server.url} {_REFUSALS[response.status_code]}")
                return False
            response.raise_for_status()
            listed = {str(entry["id"]): entry.get("root") for entry in response.json()["data"]}
            if server.serves is None and self._model in listed:
                await self._look_up_version(server)
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._away(server, error)
            return False
        finally:
            server.checking = False
        server.checked_at = started
        return self._is_the_same(server, listed)

    def _is_the_same(self, server: _Server, listed: dict[str, Any]) -> bool:
        if self._model not in listed:
            names = ", ".join(repr(name[:100]) for name in list(listed)[:10]) or "none"
            change = " any more" if server.serves else ""
            self.stop(f"{server.url} does not serve {self._model!r}{change}; it lists {names}. Name one of these")
            return False
        serves = (self._model, listed[self._model])
        if server.serves not in (None, serves):
            self.stop(
                f"{server.url} serves another model under the name {self._model!r} than when this run began: the "
                "samples would be mixed. Serve the first one again, or sample into another run with --name"
            )
            return False
        server.serves, server.away_since, server.rest_s = serves, None, _FIRST_REST_S
        server.checked_until = time.monotonic() + _RECHECK_S
        return True

    async def _look_up_version(self, server: _Server) -> None:
        response = await self._http.get(f"{server.url.removesuffix('/v1')}/version", timeout=_CHECK_TIMEOUT_S)
        if response.status_code == 200:
            try:
                self.versions.add(str(response.json()["version"])[:60])
            except (ValueError, LookupError, TypeError):
                return  # somebody else's route

    def _away(self, server: _Server, error: Exception) -> None:
        now = time.monotonic()
        server.checked_until = 0.0
        server.away_since = server.away_since or now
        if now >= server.rests_until:  # else another request has just found out
            server.rests_until, server.rest_s = now + server.rest_s, min(2 * server.rest_s, _LONGEST_REST_S)
        # Who has never answered is not on its way back.
        patience_s = self._wait_s if any(server.serves for server in self._servers) else 0.0
        if all(s.away_since is not None and now - s.away_since >= patience_s for s in self._servers):
            urls = ", ".join(server.url for server in self._servers)
            self.stop(f"no server answers at {urls} ({type(error).__name__}). Start one, and run again to go on")

    def stop(self, why: str) -> None:
        """Send nothing more. The first reason stays."""
        self.stopped = self.stopped or EngineError(why)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()


class _Stream(httpx.AsyncByteStream):
    """A reply that is still being written: its server's place is taken until it is closed."""

    def __init__(self, servers: Servers, server: _Server, response: httpx.Response) -> None:
        self._servers, self._server, self._response, self._open = servers, server, response, True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._response.aiter_raw():
                yield part
        except httpx.TransportError as error:
            self._servers._away(self._server, error)
            raise

    async def aclose(self) -> None:
        if self._open:
            self._open, self._server.in_flight = False, self._server.in_flight - 1
            await self._response.aclose()


def _addressed(request: httpx.Request, url: str, trace: Callable[[str, Any], Awaitable[None]]) -> httpx.Request:
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
    url += request.url.path
    extensions = {**request.extensions, "trace": trace}
    return httpx.Request(request.method, url, headers=headers, content=request.content, extensions=extensions)


def _seconds(retry_after: str | None) -> float:
    """A waiting time in seconds; 0 for a date, which is left to the client."""
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        return 0.0
    return seconds if 0 < seconds <= _LONGEST_RETRY_AFTER_S else 0.0


def _check_reply(response: httpx.Response) -> None:
    try:
        reply = json.loads(response.content)
    except (ValueError, RecursionError) as error:
        raise NoReply("not_json") from error
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not (isinstance(choices, list) and choices):
        raise NoReply("empty_choices")
    if not (isinstance(choices[0], dict) and isinstance(choices[0].get("message"), dict)):
        raise NoReply("no_message")
