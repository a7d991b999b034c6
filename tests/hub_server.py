"""A stand-in for the Hugging Face Hub: dataset repositories over real HTTP, for the real clients. Reading only so far.

It asserts nothing. What it received is in `seen`. Large files are where the Hub has them: at another address, which
`resolve` redirects to. Clients find it by HF_ENDPOINT, which they read when they are imported.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
LARGE = (".parquet",)


@dataclass
class Seen:
    """One request that arrived."""

    host: str
    """Hub or storage."""
    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


@dataclass
class Repo:
    """A dataset repository: its files at each commit, oldest first."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    """Commits by tag."""
    gated: bool = False

    def add(self, files: dict[str, bytes], tag: str | None = None) -> str:
        """The commit that now holds these files and no others."""
        listing = {path: hashlib.sha1(content).hexdigest() for path, content in files.items()}
        commit = hashlib.sha1(json.dumps([len(self.commits), listing]).encode()).hexdigest()
        self.commits[commit] = files
        if tag:
            self.tags[tag] = commit
        return commit

    def commit(self, revision: str) -> str | None:
        if revision == "main":
            return list(self.commits)[-1]
        return self.tags.get(revision, revision if revision in self.commits else None)


@dataclass
class Hub:
    """A running Hub. Tests change its repositories at any time."""

    url: str = ""
    storage_url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    """By id, owner/name."""
    members: set[str] = field(default_factory=set)
    """Tokens that open gated repositories."""
    seen: list[Seen] = field(default_factory=list)


# --- replies ----------------------------------------------------------------------------------------------------------


def _json(value: Any) -> Reply:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _refuse(status: int, code: str, message: str) -> Reply:
    return status, {"X-Error-Code": code, "X-Error-Message": message}, json.dumps({"error": message}).encode()


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


def _info(hub: Hub, seen: Seen, repo_id: str, revision: str = "main") -> Reply:
    repo = hub.repos[repo_id]
    commit = repo.commit(revision)
    if commit is None:
        return _refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    siblings = [{"rfilename": path} for path in repo.commits[commit]]
    facts = {"private": False, "gated": "auto" if repo.gated else False, "tags": [], "downloads": 0, "likes": 0}
    return _json({"id": repo_id, "sha": commit, "siblings": siblings, **facts})


def _tree(hub: Hub, seen: Seen, repo_id: str, revision: str, folder: str = "") -> Reply:
    repo = hub.repos[repo_id]
    commit = repo.commit(revision)
    if commit is None:
        return _refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    inside = f"{folder}/" if folder else ""
    files = {path: content for path, content in repo.commits[commit].items() if path.startswith(inside)}
    entries = [
        {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        for path, content in files.items()
        if "/" not in path.removeprefix(inside)
    ]
    folders = {inside + path.removeprefix(inside).partition("/")[0] for path in files} - {e["path"] for e in entries}
    entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
    return _json(entries) if entries else _refuse(404, "EntryNotFound", f"{folder} does not exist on {revision}")


def _resolve(hub: Hub, seen: Seen, repo_id: str, revision: str, path: str) -> Reply:
    repo = hub.repos[repo_id]
    commit = repo.commit(revision)
    if commit is None:
        return _refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    token = seen.headers.get("authorization", "").removeprefix("Bearer ")
    if repo.gated and token not in hub.members:
        return _refuse(403 if token else 401, "GatedRepo", f"Access to dataset {repo_id} is restricted.")
    content = repo.commits[commit].get(path)
    if content is None:
        return _refuse(404, "EntryNotFound", "Entry not found")
    headers = {"X-Repo-Commit": commit, "ETag": _etag(content)}
    if not path.endswith(LARGE):
        return 200, headers, content
    where = f"{hub.storage_url}/{repo_id}/{commit}/{path}"
    linked = {"X-Linked-ETag": _etag(content), "X-Linked-Size": str(len(content)), "Location": where}
    return 302, {**headers, **linked}, b""


def _stored(hub: Hub, seen: Seen, repo_id: str, commit: str, path: str) -> Reply:
    content = hub.repos[repo_id].commits[commit][path]
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
    if asked is None:
        return 200, {"ETag": _etag(content)}, content
    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    return 206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]


_REPO = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
ROUTES: list[tuple[str, str, Callable[..., Reply]]] = [
    ("hub GET", rf"/api/datasets/{_REPO}", _info),
    ("hub GET", rf"/api/datasets/{_REPO}/revision/(?P<revision>[^/]+)", _info),
    ("hub GET", rf"/api/datasets/{_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", _tree),
    ("hub GET", rf"/datasets/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _resolve),
    ("storage GET", rf"/{_REPO}/(?P<commit>\w+)/(?P<path>.+)", _stored),
]
"""Host and method, path, and who replies. A HEAD is a GET without its content."""


def _reply(hub: Hub, seen: Seen) -> Reply:
    path = seen.path.partition("?")[0]
    for wanted, pattern, reply in ROUTES:
        match = re.fullmatch(pattern, path)
        if match and wanted == f"{seen.host} {seen.method.replace('HEAD', 'GET')}":
            named = {name: value for name, value in match.groupdict().items() if value is not None}
            if named["repo_id"] in hub.repos:
                return reply(hub, seen, **named)
            # The Hub does not tell strangers which repositories there are.
            status = 404 if "authorization" in seen.headers else 401
            return _refuse(status, "RepoNotFound", "Repository not found")
    return _refuse(404, "NotFound", f"nothing at {path}")


# --- HTTP -------------------------------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.server.host, self.command, self.path, headers, body)
        self.server.hub.seen.append(seen)
        status, headers, content = _reply(self.server.hub, seen)
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

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
    hub.url, hub.storage_url = (server.url for server in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
