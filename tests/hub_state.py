"""What the stand-in Hub holds and has received, and its forms of reply. Speaks no HTTP."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Reply = tuple[int, dict[str, str], bytes]
LARGE = (".parquet", ".safetensors")
"""Files that the Hub keeps in its storage of large files."""


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

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Repo:
    """A repository: its files at each commit, oldest first."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    """Commits by tag."""
    gated: bool = False
    private: bool = False

    def add(self, files: dict[str, bytes], tag: str | None = None) -> str:
        """The commit that now holds these files and no others."""
        listing = {path: hashlib.sha1(content).hexdigest() for path, content in files.items()}
        commit = hashlib.sha1(json.dumps([len(self.commits), listing]).encode()).hexdigest()
        self.commits[commit] = files
        if tag:
            self.tags[tag] = commit
        return commit

    def commit(self, revision: str = "main") -> str | None:
        if revision == "main":
            return list(self.commits)[-1]
        return self.tags.get(revision, revision if revision in self.commits else None)

    @property
    def files(self) -> dict[str, bytes]:
        """Of the newest commit."""
        return self.commits[self.commit() or ""]


@dataclass
class Fault:
    """What goes wrong with the requests of one kind, so many times."""

    method: str
    path: str
    """Pattern that is searched for."""
    act: Callable[[Callable[[], Reply]], Reply | None]
    """Gets what would do the work and give the true reply; None closes the connection without a reply."""
    times: int = 1


@dataclass
class Hub:
    """A running Hub. Tests change its repositories at any time."""

    url: str = ""
    storage_url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    """Datasets by id, owner/name."""
    models: dict[str, Repo] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    """Tokens that open gated repositories."""
    readers: set[str] = field(default_factory=set)
    """Tokens that open private repositories and write nowhere."""
    writers: set[str] = field(default_factory=set)
    """Tokens that open private repositories, write to all and create in the namespace `me`."""
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files that were uploaded, by SHA-256, in a commit or not."""
    faults: list[Fault] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def of_kind(self, kind: str) -> dict[str, Repo]:
        return self.repos if kind == "datasets" else self.models

    def received(self, method: str, path: str) -> list[Seen]:
        """The requests whose path holds a pattern."""
        return [seen for seen in self.seen if seen.method == method and re.search(path, seen.path)]


def as_json(value: Any) -> Reply:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def refuse(status: int, code: str, message: str) -> Reply:
    return status, {"X-Error-Code": code, "X-Error-Message": message}, json.dumps({"error": message}).encode()


def blob_id(content: bytes) -> str:
    """A file's name in git."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
