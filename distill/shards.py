"""The sealed rows of a journal: Parquet shards, and the manifest that names them.

A shard is written first and the manifest that names it last, each by temp, fsync and rename. So a shard that no
manifest names was never finished, and is deleted. One whose sha256 is not the manifest's is moved aside and counted.
Many small shards in a row, as a run leaves that was often stopped, become one when it goes on: what the new one is
called is in the manifest before it is written. The old ones stay until the time after, for those who read meanwhile.
A manifest that is damaged or gone is refused: without it nobody could tell a finished shard from an unfinished one.

Does not know what a row means, nor where rows are before they are sealed.
"""

import hashlib
import io
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import polars as pl

from distill.store import BATCH_ROWS, digest, write_bytes, write_text

MERGED_FROM = 16
"""Small shards in a row that become one, at least."""
SMALL_BYTES = 4 << 20


class JournalError(RuntimeError):
    """A journal cannot be written, or its manifest cannot be believed."""


@dataclass(frozen=True)
class Shard:
    """What the manifest says of one file."""

    file: str
    sha256: str
    rows: int
    bytes: int


class Shards:
    """The shards `<stem>-00001.parquet`, … of one folder and their manifest `<stem>.json`."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder, self.stem = folder, stem
        self._name = re.compile(rf"{re.escape(stem)}-\d+\.parquet")
        self.damaged: list[Shard] = []
        """Found missing or changed when the folder was opened: their rows are lost."""
        self._shards: list[Shard] = []
        self._next = 1
        self._merging: list[str] = []
        """Files that may lie there and need not: a merged shard that was not finished, or what one replaces."""

    def open(self, *, unsealed: bool) -> None:
        """Read the manifest, check every shard, remove what a kill has left behind.

        `unsealed` says whether the journal holds rows outside shards. Raises JournalError where the manifest is damaged
        or does not name a shard whose rows are nowhere else.
        """
        self._read_manifest()
        for temp in [*self.folder.glob(f".{self.stem}-*"), *self.folder.glob(f".{self.stem}.json.*")]:
            temp.unlink()
        self._delete_unfinished(unsealed)
        self.damaged = [shard for shard in self._shards if not self._is_whole(shard)]
        for shard in self.damaged:
            path = self.folder / shard.file
            with suppress(FileNotFoundError):
                path.rename(path.with_name(f"{path.name}.damaged"))
        if self.damaged:
            self._write_manifest([shard for shard in self._shards if shard not in self.damaged], self._next)
        with suppress(OSError):  # it can wait until there is room
            self._merge()

    def look(self, *, check: bool = True) -> None:
        """Read the manifest and leave out shards that are missing or changed; nothing is written, moved or removed.

        Without `check`, only those that are missing.
        """
        self._read_manifest()
        there = self._is_whole if check else lambda shard: (self.folder / shard.file).is_file()
        self.damaged = [shard for shard in self._shards if not there(shard)]
        self._shards = [shard for shard in self._shards if shard not in self.damaged]

    def add(self, table: pl.DataFrame) -> None:
        """Write the rows into a new shard; they are on disk, and named, when this returns. Raises OSError."""
        shard = self._write(f"{self.stem}-{self._next:05}.parquet", table)
        self._write_manifest([*self._shards, shard], self._next + 1, self._merging)

    def _merge(self) -> None:
        """Make one shard of many small ones that follow on each other."""
        rows = [[*group] for small, group in groupby(self._shards, lambda shard: shard.bytes < SMALL_BYTES) if small]
        small = max(rows, key=len, default=[])[: 4 * MERGED_FROM]
        if len(small) < MERGED_FROM:
            return
        file = f"{self.stem}-{self._next:05}.parquet"
        self._write_manifest(self._shards, self._next, [file])
        parts = [pl.read_parquet(self.folder / shard.file, glob=False) for shard in small]
        merged = self._write(file, pl.concat(parts, how="diagonal_relaxed"))
        first = self._shards.index(small[0])
        shards = [*self._shards[:first], merged, *self._shards[first + len(small) :]]
        self._write_manifest(shards, self._next + 1, [shard.file for shard in small])

    def _write(self, file: str, table: pl.DataFrame) -> Shard:
        buffer = io.BytesIO()
        table.write_parquet(buffer, compression="zstd", row_group_size=BATCH_ROWS)
        data = buffer.getvalue()
        write_bytes(self.folder / file, data)
        return Shard(file, hashlib.sha256(data).hexdigest(), table.height, len(data))

    def scan(self) -> list[pl.LazyFrame]:
        """The rows of each shard, in the order of sealing; read when they are collected."""
        return [pl.scan_parquet(self.folder / shard.file, glob=False) for shard in self._shards]

    def _is_whole(self, shard: Shard) -> bool:
        try:
            with open(self.folder / shard.file, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
        except FileNotFoundError:
            return False

    def _delete_unfinished(self, unsealed: bool) -> None:
        """Delete the shard that a kill left without a manifest; its rows are still in the journal."""
        named = {shard.file for shard in self._shards}
        for file in {*self._merging} - named:
            (self.folder / file).unlink(missing_ok=True)
        found = {path.name for path in self.folder.iterdir() if self._name.fullmatch(path.name)} - named
        if not found:
            return
        unfinished = f"{self.stem}-{self._next:05}.parquet"
        if found != {unfinished} or not unsealed:
            raise JournalError(
                f"{self._manifest} is missing or does not name {', '.join(sorted(found))}; "
                "put it back, or move these files away to have their samples asked again"
            )
        (self.folder / unfinished).unlink()

    @property
    def _manifest(self) -> Path:
        return self.folder / f"{self.stem}.json"

    def _read_manifest(self) -> None:
        if not self._manifest.exists():
            return
        try:
            manifest = json.loads(self._manifest.read_bytes())
            sound = manifest.pop("digest") == digest(manifest)
            self._shards = [Shard(**shard) for shard in manifest["shards"]]
            sound = sound and all(self._name.fullmatch(shard.file) for shard in self._shards)
            self._next = manifest["next"]
            self._merging = manifest.get("merging", [])
            sound = sound and all(self._name.fullmatch(file) for file in self._merging)
        except (ValueError, TypeError, KeyError, AttributeError):
            sound = False
        if not sound:
            raise JournalError(
                f"{self._manifest} is damaged; put it back, or move it and the shards beside it away to have their "
                "samples asked again"
            )

    def _write_manifest(self, shards: list[Shard], following: int, merging: Sequence[str] = ()) -> None:
        manifest = {"shards": [asdict(shard) for shard in shards], "next": following, "merging": [*merging]}
        write_text(self._manifest, json.dumps(manifest | {"digest": digest(manifest)}, indent=2) + "\n")
        self._shards, self._next, self._merging = shards, following, [*merging]
