"""What servers replied, kept on this machine, so that a judgement that is repeated asks nothing twice.

Keys are hashes of the whole request: what was asked is not kept, and an API key is no part of it.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from filters._verdict import FilterError

FOLDER_VARIABLE = "DISTILL_CACHE"
WAIT_S = 60.0
"""How long to wait for another process that writes."""


def cache_file() -> Path:
    """In the folder that DISTILL_CACHE names, else where programs of this user keep what can be made again."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get(FOLDER_VARIABLE) or f"{caches}/distill").expanduser() / "replies.sqlite"


def key_of(url: str, body: dict[str, Any], nth: int) -> str:
    """Digest of everything that the reply depends on."""
    return hashlib.sha256(json.dumps([url, body, nth], sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """An open cache, for one thread; others and other processes may have it open too.

    Raises FilterError naming the file where it cannot be used.
    """

    def __init__(self) -> None:
        self.path = cache_file()
        with self._blaming():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        try:
            self._execute(
                "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; what was written is there already."""
        self._database.close()

    def read(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of those keys that are known."""
        found = {}
        for key in keys:
            if row := self._execute("SELECT value FROM replies WHERE key = ?", key):
                with self._blaming():
                    found[key] = json.loads(row[0])
        return found

    def write(self, key: str, value: Any) -> None:
        """Keep a value for good; the first one stays."""
        self._execute("INSERT OR IGNORE INTO replies VALUES (?, ?)", key, json.dumps(value))

    def _execute(self, statement: str, *values: str) -> Any:
        with self._blaming():
            return self._database.execute(statement, values).fetchone()

    @contextmanager
    def _blaming(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error, ValueError) as error:
            raise FilterError(
                f"{self.path} cannot be used as the cache of replies: {error}. Delete it, or name another folder by "
                f"the environment variable {FOLDER_VARIABLE}"
            ) from error
