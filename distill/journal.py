"""Finished samples, of which nothing is lost that was acknowledged: an append-only file, sealed into shards.

In the file, one line a row: the CRC-32 of the JSON, a space, the JSON. Rows are written in groups and acknowledged
after fdatasync, at most a second after they were taken. A torn last line (kill -9, full disk) is cut off when the file
is opened; a line damaged elsewhere is skipped and counted, so its sample is asked again. From time to time all rows
move into a Parquet shard, and the file is emptied.

Does not know what a row means, nor which rows are still wanted; that one process writes at a time is the run's lock.
"""

import json
import os
import threading
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import polars as pl

from distill.shards import JournalError, Shards

FLUSH_ROWS, FLUSH_S = 64, 1.0
SEAL_BYTES = 64 << 20
"""Some 3,000 rows where they are as long as R1's."""


class Journal:
    """Rows of one file and its shards. Use it as a context manager; JournalError where it cannot be written."""

    def __init__(
        self,
        path: Path,
        schema: pl.Schema,
        *,
        flush_rows: int = FLUSH_ROWS,
        flush_s: float = FLUSH_S,
        seal_bytes: int = SEAL_BYTES,
    ) -> None:
        self.path, self.schema = path, schema
        self.damaged = 0
        """Lines of the file, other than a torn last one, whose checksum did not fit when it was opened."""
        self._shards = Shards(path.parent, path.stem)
        self._flush_rows, self._flush_s, self._seal_bytes = flush_rows, flush_s, seal_bytes
        self._pending: list[bytes] = []
        self._handle = -1
        self._end = 0  # of what is acknowledged
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._failure: JournalError | None = None
        self._flusher = threading.Thread(target=self._flush_in_time, name="journal", daemon=True)

    @property
    def damaged_shards(self) -> dict[str, int]:
        """Rows of each shard that was missing or changed when the journal was opened, and is now moved aside."""
        return {shard.file: shard.rows for shard in self._shards.damaged}

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._cut_torn_tail()
            self._shards.open(unsealed=self._end > 0)
        except BaseException:
            os.close(self._handle)
            raise
        self._flusher.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._flusher.join()
        try:
            self.flush()
        finally:
            os.close(self._handle)

    def append(self, row: Mapping[str, Any]) -> None:
        """Take a row; it is on disk after the next flush, within a second. Raises what the last flush failed with."""
        with self._lock:
            self._pending.append(_line(row))
            if self._failure:
                raise self._failure
            if len(self._pending) >= self._flush_rows:
                self.flush()
            if self._end >= self._seal_bytes:
                self.seal()

    def flush(self) -> None:
        """Put every row taken so far on disk."""
        with self._lock:
            if not self._pending:
                return
            data = memoryview(b"".join(self._pending))
            end = self._end + len(data)
            try:
                if os.fstat(self._handle).st_size != self._end:  # a flush that failed has left a torn line
                    os.ftruncate(self._handle, self._end)
                while data:
                    data = data[os.write(self._handle, data) :]
                _sync(self._handle)
            except OSError as error:
                with suppress(OSError):
                    os.ftruncate(self._handle, self._end)
                self._failure = self._error(error)
                raise self._failure from error
            self._end, self._pending, self._failure = end, [], None

    def seal(self) -> None:
        """Move every row taken so far into a shard."""
        with self._lock:
            self.flush()
            rows = self._unsealed()
            if rows.is_empty():
                return
            try:
                self._shards.add(rows)
                # A kill before this line leaves the rows in both places, which is why a reader takes the last of a key.
                os.ftruncate(self._handle, 0)
                self._end = 0
                _sync(self._handle)
            except OSError as error:
                raise self._error(error) from error

    def scan(self) -> pl.LazyFrame:
        """Every undamaged row on disk, in the order in which it was taken; a killed run may have left some twice.

        Has the columns of the schema, null where a row lacks one, and whatever else the rows have.
        """
        with self._lock:
            return _together(self.schema, self._shards, self._unsealed())

    def _unsealed(self) -> pl.DataFrame:
        return _undamaged(self.path)

    def _cut_torn_tail(self) -> None:
        size = self._end = self.damaged = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                size += len(line)
                if line.endswith(b"\n"):
                    self._end = size
                    self.damaged += _checked(line) is None
        if self._end < size:
            os.ftruncate(self._handle, self._end)

    def _flush_in_time(self) -> None:
        while not self._closing.wait(self._flush_s / 2):
            with suppress(JournalError):  # the next append raises it
                self.flush()

    def _error(self, error: OSError) -> JournalError:
        return JournalError(f"{self.path}: {error.strerror}; nothing acknowledged is lost, make room and run again")


def read_rows(path: Path, schema: pl.Schema, *, check: bool = True) -> pl.LazyFrame:
    """Every undamaged row of a journal that another process may be writing, as `Journal.scan` has them.

    Writes nothing. Raises JournalError where the manifest of its shards is damaged. Without `check`, shards that are
    there are believed: their bytes are not read.
    """
    unsealed = _undamaged(path)  # before the manifest: rows that are sealed meanwhile are there twice, and not missing
    shards = Shards(path.parent, path.stem)
    shards.look(check=check)
    return _together(schema, shards, unsealed)


def _together(schema: pl.Schema, shards: Shards, unsealed: pl.DataFrame) -> pl.LazyFrame:
    parts = [pl.LazyFrame(schema=schema), *shards.scan(), unsealed.lazy()]
    return pl.concat(parts, how="diagonal_relaxed").cast(schema)


def _undamaged(path: Path) -> pl.DataFrame:
    """The rows of the file, less the lines whose checksum does not fit, such as a torn last one."""
    with open(path, "rb") as lines:
        texts = [text for line in lines if (text := _checked(line)) is not None]
    return pl.DataFrame([json.loads(text) for text in texts], infer_schema_length=None)


def _line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _checked(line: bytes) -> bytes | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    return text if checksum == b"%08x" % zlib.crc32(text) else None


def _sync(handle: int) -> None:
    getattr(os, "fdatasync", os.fsync)(handle)  # macOS has no fdatasync
