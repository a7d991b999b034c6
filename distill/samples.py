"""Samples as a journal holds them: which there are of the requests wanted now, what they cost, and who paid for them.

What is read are the rows of a journal, this run's or another's. Does not ask for samples, and does not judge them.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from distill.journal import Journal, read_rows
from distill.ledger import Counts
from distill.progress import Progress
from distill.scheduler import Scheduler
from distill.store import BATCH_ROWS, KEY, RunError, write_text

COMPLETION = pl.Schema(
    {
        "problem_id": pl.String,
        "sample": pl.Int32,
        "text": pl.String,
        "finish_reason": pl.String,
        "prompt_tokens": pl.Int32,
        "completion_tokens": pl.Int32,
    }
)

JOURNALED = pl.Schema(
    [
        *COMPLETION.items(),
        ("request_hash", pl.String),
        ("drawn_from", pl.String),  # the folder of the run that paid for it; null where this one did
    ]
)

FAILED = pl.col("finish_reason").str.starts_with("failed")

JOURNAL = "journal.jsonl"
SETTINGS = "sampling.json"


def last_rows(rows: pl.LazyFrame, hashes: Mapping[str, str]) -> pl.DataFrame:
    """Each sample of the requests wanted now, by the number of its last row and without its text.

    `hashes` has the request's hash of each problem_id; a problem whose text has changed has no samples.
    """
    wanted = pl.DataFrame([*hashes.items()], schema={"problem_id": pl.String, "request_hash": pl.String}, orient="row")
    every = rows.select(*KEY, "request_hash", "finish_reason", "drawn_from").with_row_index("row").collect()
    return every.join(wanted, on=["problem_id", "request_hash"], how="semi", maintain_order="left").unique(
        KEY, keep="last", maintain_order=True
    )


def whole(rows: pl.LazyFrame, chosen: pl.DataFrame) -> pl.LazyFrame:
    """The rows that `last_rows` numbered, with all their columns."""
    return rows.with_row_index("row").filter(pl.col("row").is_in(chosen["row"].implode())).drop("row")


def paid(rows: pl.LazyFrame) -> pl.DataFrame:
    """Tokens of every sample that a run has paid for, whatever it asked; what a kill left twice is there once."""
    columns = ("request_hash", "finish_reason", "prompt_tokens", "completion_tokens")
    return rows.filter(pl.col("drawn_from").is_null()).select(*KEY, *columns).unique().collect()


def wanted(scheduler: Scheduler, problem_ids: Iterable[str]) -> pl.DataFrame:
    """The keys of all samples that count, or are surely needed, in the order of the problems."""
    keys = [(problem_id, n) for problem_id in problem_ids for n in range(scheduler.wanted(problem_id))]
    return pl.DataFrame(keys, schema={name: COMPLETION[name] for name in KEY}, orient="row")


def counts(wanted: pl.DataFrame, found: pl.DataFrame) -> Counts:
    """How many of the wanted samples are among the last rows of the journal, and what their last attempts came to."""
    found = wanted.join(found, on=KEY, how="inner")
    failed = found.filter(FAILED).height
    drawn = found.drop_nulls("drawn_from").group_by("drawn_from").len().sort("drawn_from")
    pending = wanted.height - found.height
    return Counts(ok=found.height - failed, failed=failed, pending=pending, drawn_on=dict(drawn.iter_rows()))


def check_same(folder: Path, asked: dict[str, Any]) -> None:
    """Record what a folder's samples are asked with, or raise RunError naming what has changed since."""
    if not (folder / SETTINGS).exists():
        write_text(folder / SETTINGS, json.dumps(asked, indent=2) + "\n")
    elif changed := _changed(folder, asked):
        raise RunError(
            f"{folder} holds samples drawn with other settings, and they are kept:\n  "
            + "\n  ".join(changed)
            + "\nPut the settings back, or sample into another run: --fork NAME starts one with those of them that are "
            "asked for in the same way, --name NAME with none."
        )


def _changed(folder: Path, asked: dict[str, Any]) -> list[str]:
    before = json.loads((folder / SETTINGS).read_text())
    return [
        f"{key}: was {before.get(key)!r}, is {asked.get(key)!r}"
        for key in {**before, **asked}
        if before.get(key) != asked.get(key)
    ]


def draw(journal: Journal, run: str, asked: dict[str, Any], hashes: Mapping[str, str], most: int) -> str:
    """Copy another run's samples of the same requests into the journal; say how many. Writes nothing into that run.

    `run` is its folder, in which another process may be sampling; samples from number `most` on are of no use. A sample
    that the other run has itself drawn keeps the name of the run that paid for it. Raises RunError where the folder has
    no samples.
    """
    folder = Path(run, "trajectories")
    if not (folder / JOURNAL).is_file():
        raise RunError(f"trajectories.draw_on: {run} is no run with samples: there is no {folder / JOURNAL}")
    if (folder / JOURNAL).samefile(journal.path):
        raise RunError(f"trajectories.draw_on: {run} is this run itself")
    theirs = read_rows(folder / JOURNAL, JOURNALED)
    there = last_rows(journal.scan(), hashes).filter(~FAILED)
    found = last_rows(theirs, hashes).filter(~FAILED & (pl.col("sample") < most))
    new = found.join(there, on=KEY, how="anti")
    for batch in whole(theirs, new).collect_batches(chunk_size=BATCH_ROWS):
        origin = pl.col("drawn_from").fill_null(str(run))
        for row in batch.with_columns(origin).iter_rows(named=True):
            journal.append(row)
    journal.flush()
    if found.is_empty() and (changed := _changed(folder, asked)):
        return f"{run}: none of its samples is of the same request; " + "; ".join(changed)
    return f"{new.height:,} samples taken from {run}, {found.height - new.height:,} were there"


def say_damage(journal: Journal, progress: Progress) -> None:
    """Tell what the journal lost on disk."""
    for file, rows in journal.damaged_shards.items():
        progress.say(f"  {file} was damaged and is moved aside: its {rows} samples are asked again")
    if journal.damaged:
        progress.say(f"  {journal.damaged} damaged lines in {journal.path.name}: their samples are asked again")
