"""A stand-in for vLLM's server: the real protocol over real HTTP, with judgements and rewards that a test can predict.

It asserts nothing. What it received is in `seen`, and `faults` holds what to do to the next requests instead.
"""

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["_Handler"], None]


@dataclass
class Seen:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: Any
    time: float


@dataclass
class StandIn:
    """A running server. Tests change its public fields at any time."""

    url: str = ""
    models: list[str] = field(default_factory=lambda: ["stand-in"])
    seen: list[Seen] = field(default_factory=list)
    faults: deque[Fault | None] = field(default_factory=deque)
    """For the next POSTs, in order of arrival; None answers properly."""
    always: Fault | None = None
    """For every request, once `faults` is empty."""
    answer: Callable[[dict[str, Any]], Any] | None = None
    """Content of the chat reply to a request's body; by default a judgement."""
    reward: Callable[[str], Any] | None = None
    """Reward of the text to be rewarded."""
    delay_s: float = 0.0
    most_in_flight: int = 0

    def posts(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.body is not None]

    def prompts(self) -> list[str]:
        return [seen.body["messages"][-1]["content"] for seen in self.posts()]


def judgement(body: dict[str, Any]) -> str:
    """Same if the reference occurs in the answer; by a rubric, good responses say "because"."""
    prompt = body["messages"][-1]["content"]
    quoted = dict(re.findall(r"<(\w+)>\n(.*?)\n</\1>", prompt, re.DOTALL))
    if "reference" in quoted:
        same = quoted["reference"].casefold() in quoted["answer"].casefold()
        return json.dumps({"reason": f"{quoted['answer']} against {quoted['reference']}", "same": same})
    good = "because" in quoted["response"].casefold()
    return json.dumps({"reason": "It says why." if good else "It does not say why.", "score": 9 if good else 2})


def wordy(text: str) -> float:
    return len(text.split()) - 3.5


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: Any) -> None:
        state = self.server.state
        with self.server.lock:
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.seen.append(Seen(self.path, headers, body, time.monotonic()))
            self.server.in_flight += 1
            state.most_in_flight = max(state.most_in_flight, self.server.in_flight)
            fault = state.faults.popleft() if body is not None and state.faults else state.always
        try:
            time.sleep(state.delay_s)
            if fault:
                fault(self)
            else:
                self.reply(*self._proper(state, body))
        finally:
            with self.server.lock:
                self.server.in_flight -= 1

    def _proper(self, state: StandIn, body: Any) -> tuple[int, Any]:
        if self.path == "/v1/models":
            return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in state.models]}
        if body is None or (route := _ROUTES.get(self.path)) is None:
            return 404, {"detail": "Not Found"}
        if body.get("model") not in state.models:
            return 404, _error(f"The model `{body.get('model')}` does not exist.", "NotFoundError")
        return 200, {"object": "list", "model": body["model"], **route(state, body)}

    def reply(self, status: int, content: Any, **headers: str) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        pass


def _error(message: str, kind: str = "BadRequestError") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": 400}}


def _chat(state: StandIn, body: dict[str, Any]) -> dict[str, Any]:
    answer = state.answer or judgement
    choices = [
        {"index": i, "message": {"role": "assistant", "content": answer(body)}, "finish_reason": "stop"}
        for i in range(body.get("n") or 1)
    ]
    return {"object": "chat.completion", "choices": choices, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def _rewards(state: StandIn, text: str) -> Any:
    return (state.reward or wordy)(text)


def _classify(state: StandIn, body: dict[str, Any]) -> dict[str, Any]:
    rewards = _rewards(state, body["messages"][-1]["content"])
    rewards = rewards if isinstance(rewards, list) else [rewards]
    return {"data": [{"index": 0, "label": "LABEL_0", "probs": rewards, "num_classes": len(rewards)}]}


def _pooling(state: StandIn, body: dict[str, Any]) -> dict[str, Any]:
    per_token = [[0.0], [-1.0], [_rewards(state, body["messages"][-1]["content"])]]
    return {"data": [{"index": 0, "object": "pooling", "data": per_token}]}


def _score(state: StandIn, body: dict[str, Any]) -> dict[str, Any]:
    return {"data": [{"index": 0, "object": "score", "score": _rewards(state, body["text_2"])}]}


_ROUTES = {"/v1/chat/completions": _chat, "/classify": _classify, "/pooling": _pooling, "/score": _score}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = StandIn(f"http://127.0.0.1:{self.server_address[1]}/v1")
        self.lock = threading.Lock()
        self.in_flight = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that give up are part of the tests


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A server on a free port of this machine."""
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# ------------------------------------------------------------------------------------------------------------- faults


def status(code: int, message: str = "no", **headers: str) -> Fault:
    """An error as the protocol has it."""
    return lambda handler: handler.reply(code, _error(message), **headers)


def raw(content: bytes, kind: str = "application/json") -> Fault:
    """A reply of 200 with this body."""
    return lambda handler: handler.reply(200, content, **{"Content-Type": kind})


def hang(seconds: float) -> Fault:
    """Nothing at all, for a while."""
    return lambda _: time.sleep(seconds)


def drop(handler: _Handler) -> None:
    """Half of a body, then the connection ends."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.wfile.flush()
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
