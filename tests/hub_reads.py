"""The stand-in Hub's endpoints that read. Large files are at another address, which `resolve` redirects to."""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from hub_state import LARGE, Hub, Reply, Repo, Seen, as_json, blob_id, refuse

NO_REVISION = "RevisionNotFound"


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'


def info(hub: Hub, seen: Seen, repo: Repo, repo_id: str, revision: str = "main", **_: str) -> Reply:
    commit = repo.commit(revision)
    if commit is None:
        return refuse(404, NO_REVISION, f"Invalid rev id: {revision}")
    siblings = [{"rfilename": path} for path in repo.commits[commit]]
    facts = {"private": repo.private, "gated": "auto" if repo.gated else False, "tags": [], "downloads": 0, "likes": 0}
    return as_json({"id": repo_id, "sha": commit, "siblings": siblings, **facts})


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


def tree(hub: Hub, seen: Seen, repo: Repo, revision: str, folder: str = "", **_: str) -> Reply:
    commit = repo.commit(revision)
    if commit is None:
        return refuse(404, NO_REVISION, f"Invalid rev id: {revision}")
    inside = f"{folder}/" if folder else ""
    files = {path: content for path, content in repo.commits[commit].items() if path.startswith(inside)}
    deep = parse_qs(seen.path.partition("?")[2]).get("recursive", ["False"])[0].lower() in ("true", "1")
    here = {path: content for path, content in files.items() if deep or "/" not in path.removeprefix(inside)}
    folders = {inside + path.removeprefix(inside).partition("/")[0] for path in files} - set(files)
    entries = [_entry(path, content) for path, content in here.items()]
    entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
    return as_json(entries) if entries else refuse(404, "EntryNotFound", f"{folder} does not exist on {revision}")


def paths_info(hub: Hub, seen: Seen, repo: Repo, revision: str, **_: str) -> Reply:
    """Of the files among the paths asked for."""
    form = seen.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    asked = parse_qs(seen.body.decode())["paths"] if form else json.loads(seen.body)["paths"]
    files = repo.commits[repo.commit(revision) or ""]
    return as_json([_entry(path, files[path]) for path in asked if path in files])


def resolve(hub: Hub, seen: Seen, repo: Repo, repo_id: str, revision: str, path: str, **_: str) -> Reply:
    commit = repo.commit(revision)
    if commit is None:
        return refuse(404, NO_REVISION, f"Invalid rev id: {revision}")
    if repo.gated and seen.token not in hub.members:
        return refuse(403 if seen.token else 401, "GatedRepo", f"Access to dataset {repo_id} is restricted.")
    content = repo.commits[commit].get(unquote(path))
    if content is None:
        return refuse(404, "EntryNotFound", "Entry not found")
    headers = {"X-Repo-Commit": commit, "ETag": _etag(content)}
    if not path.endswith(LARGE):
        return 200, headers, content
    oid = hashlib.sha256(content).hexdigest()
    hub.stored[oid] = content
    linked = {"X-Linked-ETag": _etag(content), "X-Linked-Size": str(len(content))}
    return 302, {**headers, **linked, "Location": f"{hub.storage_url}/{oid}/{repo_id}/{commit}/{path}"}, b""


def stored(hub: Hub, seen: Seen, oid: str) -> Reply:
    content = hub.stored[oid]
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.headers.get("range", ""))
    if asked is None:
        return 200, {"ETag": _etag(content)}, content
    first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    return 206, {"Content-Range": f"bytes {first}-{last}/{len(content)}"}, content[first : last + 1]


_REPO = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kind>datasets|models)/{_REPO}"
ROUTES: list[tuple[str, str, Callable[..., Reply]]] = [
    ("hub GET", _API, info),
    ("hub GET", rf"{_API}/revision/(?P<revision>[^/]+)", info),
    ("hub GET", rf"{_API}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?", tree),
    ("hub POST", rf"{_API}/paths-info/(?P<revision>[^/]+)", paths_info),
    ("hub GET", rf"/(?:(?P<kind>datasets)/)?{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
    ("storage GET", r"/(?P<oid>[0-9a-f]{64})/.+", stored),
]
"""Host and method, path, and who replies. A HEAD is a GET without its content."""
