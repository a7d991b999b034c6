"""An append-only file of finished samples that loses nothing it has acknowledged.

One line a row: the CRC-32 of the JSON, a space, the JSON. Rows are written in groups and acknowledged after fdatasync.
A torn last line (kill -9, full disk) is cut off when the file is opened; a line damaged elsewhere is left in place,
skipped and counted, so its sample is asked again.

Does not know what a row means, nor which rows are still wanted; that one process writes at a time is the run's lock.
"""

import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

FLUSH_ROWS, FLUSH_S = 64, 1.0


class JournalError(RuntimeError):
    """A journal cannot be written."""


class Journal:
    """Rows of one file. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        """Lines, other than a torn last one, whose checksum did not fit."""
        self._pending: list[bytes] = []
        self._oldest = 0.0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b", buffering=0)
        self._cut_torn_tail()
        return self

    def __exit__(self, *exception: object) -> None:
        self.flush()
        assert self._file is not None
        self._file.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Take a row; it is on disk after the next flush."""
        if not self._pending:
            self._oldest = time.monotonic()
        self._pending.append(_line(row))
        if len(self._pending) >= FLUSH_ROWS or time.monotonic() - self._oldest >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Put every row taken so far on disk."""
        if not self._pending:
            return
        assert self._file is not None
        end = os.fstat(self._file.fileno()).st_size
        data = memoryview(b"".join(self._pending))
        try:
            while data:
                data = data[self._file.write(data) :]
            getattr(os, "fdatasync", os.fsync)(self._file.fileno())  # macOS has no fdatasync
        except OSError as error:
            os.ftruncate(self._file.fileno(), end)
            raise JournalError(
                f"{self.path}: {error.strerror}; nothing acknowledged is lost, make room and run again"
            ) from error
        self._pending = []

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every undamaged row on disk, in the order in which it was taken."""
        self.damaged = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                row = _parse(line)
                if row is None:
                    self.damaged += 1
                else:
                    yield row

    def _cut_torn_tail(self) -> None:
        assert self._file is not None
        end = good = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                end += len(line)
                if line.endswith(b"\n"):
                    good = end
        if good < end:
            os.ftruncate(self._file.fileno(), good)


def _line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    row: dict[str, Any] = json.loads(text)
    return row
