"""A stand-in for the Hugging Face Hub: repositories over real HTTP, for the real clients to read and to write.

It asserts nothing. What it received is in `seen`, what goes wrong in `faults`. Clients find it by HF_ENDPOINT, which
they read when they are imported; HF_HUB_DISABLE_XET=1 keeps them to the protocol that is spoken here.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hub_reads
import hub_writes
from hub_state import Fault, Hub, Reply, Repo, Seen, refuse

__all__ = ["Fault", "Hub", "Repo", "Seen", "hub_stand_in"]

ROUTES = [*hub_reads.ROUTES, *hub_writes.ROUTES]


def _reply(hub: Hub, seen: Seen) -> Reply | None:
    for fault in hub.faults:
        if fault.times and fault.method == seen.method and re.search(fault.path, seen.path):
            fault.times -= 1
            return fault.act(lambda: _true_reply(hub, seen))
    return _true_reply(hub, seen)


def _true_reply(hub: Hub, seen: Seen) -> Reply:
    path = seen.path.partition("?")[0]
    for wanted, pattern, reply in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and wanted == f"{seen.host} {seen.method.replace('HEAD', 'GET')}":
            named = {name: value for name, value in match.groupdict().items() if value is not None}
            return _of_repo(hub, seen, reply, named) if "repo_id" in named else reply(hub, seen, **named)
    return refuse(404, "NotFound", f"nothing at {path}")


def _of_repo(hub: Hub, seen: Seen, reply: Callable[..., Reply], named: dict[str, str]) -> Reply:
    repo = hub.of_kind(named.get("kind", "models")).get(named["repo_id"])
    if repo is None or (repo.private and seen.token not in hub.writers | hub.readers):
        # The Hub does not tell strangers which repositories there are.
        return refuse(404 if seen.token else 401, "RepoNotFound", "Repository not found")
    return reply(hub, seen, repo=repo, **named)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def _serve(self) -> None:
        seen = Seen(
            self.server.host, self.command, self.path, {n.lower(): v for n, v in self.headers.items()}, self._body()
        )
        self.server.hub.seen.append(seen)
        answer = _reply(self.server.hub, seen)
        if answer is None:
            self.close_connection = True
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing: `seen` holds the requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host, self.hub = host, hub
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    """An empty Hub and its storage, on ports of their own."""
    hub = Hub()
    servers = [_Server(host, hub) for host in ("hub", "storage")]
    hub.url, hub.storage_url = servers[0].url, servers[1].url.replace("127.0.0.1", "localhost")
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
