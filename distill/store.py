"""The folder of a run: where each artifact lies, how it is written, and the manifest that says what made it.

Does not know in which order the stages run.
"""

import difflib
import fcntl
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel

from distill.recipe import Recipe

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
KEY = ("problem_id", "sample")
"""What names a trajectory."""
LABELS = "labels.parquet"
"""What people said of a run's rows, in its folder."""

_TEMP = re.compile(r"\..+\.(parquet|jsonl?|csv|md|html|yaml)\.[a-z0-9_]{8}")
"""Names of files that `_replace` has not finished."""

BATCH_ROWS = 2_000
"""Trajectories read at a time: some 40 MB of text where they are as long as R1's."""


class RunError(RuntimeError):
    """A run's folder does not fit the recipe, or lacks what a stage needs."""


@dataclass(frozen=True)
class Run:
    """A recipe and the folder that its artifacts lie in."""

    name: str
    folder: Path
    recipe: Recipe

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise RunError(f"{self.name!r} cannot name a run: up to 64 letters, digits, '.', '_' and '-'; give --name")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that writes this run, or raise RunError naming the other. A killed one leaves no lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.path(".lock"), "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunError(
                    f"{self.folder} is being written by {file.read().strip()}; wait for it, or stop it"
                ) from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Delete what a kill has left half-written; labels are written without the lock."""
        for path in self.folder.rglob(".*"):
            if _TEMP.fullmatch(path.name) and not path.name.startswith(f".{LABELS}."):
                path.unlink(missing_ok=True)

    def fork(self, name: str) -> "Run":
        """A run beside this one that takes what it can of this one's samples."""
        if name == self.name:
            raise RunError(f"--fork {name} is the run itself; give the fork another name")
        sampling = self.recipe.trajectories
        drawing = sampling.model_copy(update={"draw_on": [*sampling.draw_on, str(self.folder)]})
        recipe = self.recipe.model_copy(update={"trajectories": drawing})
        return Run(name, self.folder.parent / name, recipe)

    def path(self, *parts: str) -> Path:
        """A path inside the run's folder."""
        return self.folder.joinpath(*parts)

    def problems(self, split: str | None = None) -> pl.DataFrame:
        """The problems, or those of one split (train or held_out)."""
        table = self._read("problems.parquet", "problems")
        return table if split is None else table.filter(pl.col("split") == split)

    def trajectories(self) -> pl.DataFrame:
        """Every trajectory sampled or imported."""
        return self._read("trajectories/trajectories.parquet", "trajectories")

    def trajectory_batches(self) -> Iterator[pl.DataFrame]:
        """The trajectories in their order, a batch at a time: they need not fit into memory."""
        path = self._existing("trajectories/trajectories.parquet", "trajectories")
        empty = True
        for batch in pl.scan_parquet(path).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            empty = False
            yield batch
        if empty:
            yield pl.read_parquet(path)

    def trajectory_columns(self, *exprs: pl.Expr | str) -> pl.DataFrame:
        """Some columns of every trajectory, or what is derived from them."""
        return (
            pl.scan_parquet(self._existing("trajectories/trajectories.parquet", "trajectories")).select(exprs).collect()
        )

    def verdicts(self) -> pl.DataFrame:
        """The verdict columns of every trajectory, and its key."""
        return self._read("verdicts/verdicts.parquet", "verdicts")

    def judged(self) -> pl.DataFrame:
        """Every trajectory with one verdict column per filter."""
        verdicts = self.verdicts()
        return self.trajectories().join(verdicts, on=KEY, how="left", maintain_order="left", validate="1:1")

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """What made a stage's artifact, or None where it has not been finished."""
        try:
            manifest: dict[str, Any] = json.loads(self._manifest_path(stage).read_text())
        except (OSError, ValueError):
            return None
        return manifest

    def write_manifest(self, stage: str, manifest: Mapping[str, Any]) -> None:
        """Record that a stage's artifact is finished; written last, so that nothing unfinished is ever named by one."""
        write_text(self._manifest_path(stage), json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n")

    def forget(self, stage: str) -> None:
        """Mark a stage's artifact as unfinished."""
        self._manifest_path(stage).unlink(missing_ok=True)

    def _manifest_path(self, stage: str) -> Path:
        return self.path("manifests", f"{stage}.json")

    def _read(self, file: str, stage: str) -> pl.DataFrame:
        return pl.read_parquet(self._existing(file, stage))

    def _existing(self, file: str, stage: str) -> Path:
        path = self.path(*file.split("/"))
        if not path.is_file():
            raise RunError(f"{path} is not there yet: run `distill {stage}` first")
        return path


def find_run(run: Path, runs: Path) -> Path:
    """The folder of a run, which is given by its folder or its name in `runs`. Raises RunError where there is none."""
    for folder in (run, runs / run):
        if (folder / "manifests").is_dir():
            return folder
    there = sorted(folder.parent.name for folder in runs.glob("*/manifests"))
    near = difflib.get_close_matches(run.name, there, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"runs in {str(runs)!r}: {', '.join(there) or 'none'}"
    raise RunError(f"no run {str(run)!r}; {hint}")


def recorded_recipe(folder: Path) -> Recipe:
    """The recipe as the manifests of a run's folder recorded it, up to the last stage that was made."""
    sections: dict[str, Any] = {}
    for stage in Recipe.model_fields:
        path = folder / "manifests" / f"{stage}.json"
        if path.is_file():
            sections[stage] = json.loads(path.read_text())["recipe"]
    if (sections.get("trajectories") or {}).get("until"):  # older versions recorded a default beside it
        sections["trajectories"].pop("samples_per_problem", None)
    try:
        return Recipe.model_validate_json(json.dumps(sections))
    except (ValueError, KeyError) as error:
        raise RunError(f"the manifests of {folder} do not hold a recipe that this version reads: {error}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all: temp, fsync, rename."""
    _replace(path, lambda temp: temp.write_text(text, encoding="utf-8", newline="\n"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    _replace(path, lambda temp: temp.write_bytes(data))


def write_parquet(table: pl.DataFrame, path: Path, *, group_rows: int = BATCH_ROWS) -> None:
    """Write a table so that it is there whole or not at all; in small groups, of which single rows are soon read."""
    _replace(path, lambda temp: table.write_parquet(temp, row_group_size=group_rows))


def safe_csv(table: pl.DataFrame) -> str:
    """CSV whose text cells no spreadsheet takes for a formula."""
    texts = [name for name, dtype in table.schema.items() if dtype == pl.String]
    return table.with_columns(pl.col(texts).str.replace(r"^([=+\-@\t\r])", "'$1")).write_csv()


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temp = Path(name)
    try:
        write(temp)
        with open(temp, "rb") as written:
            os.fsync(written.fileno())
        temp.chmod(0o644)
        temp.replace(path)
        _sync_folder(path.parent)
    finally:
        with suppress(FileNotFoundError):
            temp.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(value: Any) -> str:
    """A short name for plain data or a section of a recipe: equal data, equal digest."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"no digest of a {type(value).__name__}")


def file_digest(*paths: Path) -> str:
    """A short name for the contents of files, in the order given."""
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def folder_digest(folder: Path) -> str:
    """A short name for a folder: names and contents of all its files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest([[str(path.relative_to(folder)), file_digest(path)] for path in files])


def seed_of(*parts: int | str) -> int:
    """A random choice that depends on nothing but its names: 31 bits from a hash of (seed, problem_id, sample, …)."""
    return int.from_bytes(hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=4).digest()) >> 1


def text_digest(text: str) -> str:
    """A stable id for a text, 16 hex digits."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions, or `absent`."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found
