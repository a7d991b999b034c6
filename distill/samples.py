"""Samples as a journal holds them: which there are of the requests wanted now, what they cost, and who paid for them.

What is read are the rows of a journal, this run's or another's. Does not ask for samples, and does not judge them.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl

from distill.journal import Journal, read_rows
from distill.ledger import Counts
from distill.lineage import Key, continuation, is_follow_up
from distill.progress import Progress
from distill.recipe.abort import Abort
from distill.store import BATCH_ROWS, KEY, RunError, write_text

COMPLETION = pl.Schema(
    {
        "problem_id": pl.String,
        "sample": pl.Int32,
        "text": pl.String,
        "finish_reason": pl.String,
        "prompt_tokens": pl.Int32,
        "completion_tokens": pl.Int32,
        "continued_at": pl.Int32,  # completion tokens before the second part of one that was cut; null for all others
        "doomed": pl.String,  # why the sample was ended, or let run all the same; null for all others
        "doomed_at": pl.Int32,  # completion tokens when that was seen
    }
)

JOURNALED = pl.Schema(
    [
        *COMPLETION.items(),
        ("request_hash", pl.String),
        ("drawn_from", pl.String),  # the folder of the run that paid for it; null where this one did
        ("seconds", pl.Float64),  # from request to completion
        ("in_flight", pl.Int32),  # requests when it finished, itself included
    ]
)

FAILED = pl.col("finish_reason").str.starts_with("failed")

ASKED_AGAIN = FAILED & (pl.col("finish_reason") != "failed:prompt_too_long")
"""What a later call asks for again: not what the same model with the same settings has no room for."""

ENDED = pl.col("finish_reason").str.starts_with("aborted")

CUT = pl.col("finish_reason") == "length"

JOURNAL = "journal.jsonl"
SETTINGS = "sampling.json"


def last_rows(
    rows: pl.LazyFrame,
    hashes: Mapping[str, str],
    further: Mapping[Key, str] = MappingProxyType({}),
    *,
    abort: Abort | None = None,
) -> pl.DataFrame:
    """Each sample of the requests wanted now, by the number of its last row and without its text.

    `hashes` has the request's hash of each problem_id; a problem whose text has changed has no samples. `further` has
    that of each sample that follows from another one. A row that was ended by a rule that `abort` does not have is no
    sample: `abort` has no part in a hash, since a sample that ran to its end is the same with every rule.
    """
    names = pl.DataFrame([*hashes.items()], schema=_schema("problem_id", "request_hash"), orient="row")
    follow_ups = [(*key, named) for key, named in further.items()]
    others = pl.DataFrame(follow_ups, schema=_schema(*KEY, "request_hash"), orient="row")
    columns = (*KEY, "request_hash", "finish_reason", "drawn_from")
    every = rows.with_row_index("row").filter(~_no_longer_ended(abort)).select("row", *columns).collect()
    found = [every.join(each, on=each.columns, how="semi", maintain_order="left") for each in (names, others)]
    return pl.concat(found).sort("row").unique(KEY, keep="last", maintain_order=True)


def _no_longer_ended(abort: Abort | None) -> pl.Expr:
    """Whether rows were ended by a rule that is switched off, or that would have let them go on."""
    ends = {
        "aborted:loop": pl.lit(abort is not None and abort.loop),
        "aborted:language": pl.lit(abort is not None and abort.language),
        "aborted:budget": pl.col("completion_tokens") >= ((abort and abort.think_tokens) or float("inf")),
    }
    reason = pl.col("finish_reason")
    return pl.any_horizontal((reason == why) & ~rule.fill_null(False) for why, rule in ends.items()).fill_null(False)


def follow_ups(rows: pl.LazyFrame, hashes: Mapping[str, str], *, abort: Abort | None = None) -> pl.DataFrame:
    """Samples that follow from others of the same problems, by the number of their last row and without text.

    Whether they are wanted depends on those others; a request of the same sample with another text is a row of its own.
    """
    columns = (*KEY, "request_hash", "finish_reason", "drawn_from")
    wanted = is_follow_up(pl.col("sample")) & ~_no_longer_ended(abort)
    every = rows.with_row_index("row").filter(wanted).select("row", *columns).collect()
    same = every.filter(pl.col("problem_id").is_in([*hashes])).unique([*KEY, "request_hash"], keep="last")
    return same.filter(~ASKED_AGAIN).sort("row")


def merged(rows: pl.DataFrame) -> pl.DataFrame:
    """Samples with their second parts, where those have not failed, as one row each; every token is counted once."""
    second = pl.col("sample") < 0
    parts = rows.filter(second & ~FAILED).select(
        *("problem_id", "text", "finish_reason", "doomed", "doomed_at"),
        further="completion_tokens",
        sample=continuation(pl.col("sample")),
    )
    both = rows.filter(~second).join(parts, on=KEY, how="left", suffix="_second", maintain_order="left")
    was_cut = pl.col("further").is_not_null()
    return both.with_columns(
        *(pl.coalesce(f"{name}_second", name).alias(name) for name in ("text", "finish_reason")),
        completion_tokens=pl.col("completion_tokens") + pl.col("further").fill_null(0),
        continued_at=pl.when(was_cut).then("completion_tokens"),
        doomed=pl.coalesce("doomed", "doomed_second"),
        doomed_at=pl.coalesce("doomed_at", pl.col("completion_tokens") + pl.col("doomed_at_second")),
    ).select(rows.columns)


def whole(rows: pl.LazyFrame, chosen: pl.DataFrame) -> pl.LazyFrame:
    """The rows that `last_rows` numbered, with all their columns."""
    return numbered(rows, chosen).drop("row")


def numbered(rows: pl.LazyFrame, chosen: pl.DataFrame) -> pl.LazyFrame:
    """The same, with their numbers as the column `row`."""
    return rows.with_row_index("row").filter(pl.col("row").is_in(chosen["row"].implode()))


def paid(rows: pl.LazyFrame) -> pl.DataFrame:
    """Tokens of every sample that a run has paid for, whatever it asked; what a kill left twice is there once."""
    columns = ("request_hash", "finish_reason", "prompt_tokens", "completion_tokens")
    return rows.filter(pl.col("drawn_from").is_null()).select(*KEY, *columns).unique().collect()


@dataclass(frozen=True)
class Pace:
    """How fast samples were drawn."""

    in_flight: float
    """Requests at a time, on average."""
    most_in_flight: int
    seconds_per_token: float
    """Of one request, beside the others."""

    @property
    def tokens_per_s(self) -> float:
        """Of all requests together."""
        return self.in_flight / self.seconds_per_token


def pace(rows: pl.LazyFrame) -> Pace | None:
    """Of the samples that a run has paid for; None where it is not known."""
    timed = rows.filter(pl.col("drawn_from").is_null(), pl.col("seconds") > 0, pl.col("completion_tokens") > 0)
    totals = timed.select(
        "seconds", tokens="completion_tokens", beside=pl.col("in_flight") * pl.col("seconds"), most="in_flight"
    ).collect()
    if totals.is_empty():
        return None
    seconds, tokens, beside, most = (totals[name].to_numpy() for name in totals.columns)
    return Pace(float(beside.sum() / seconds.sum()), int(most.max()), float(seconds.sum() / tokens.sum()))


def keys(numbers: Callable[[str], Iterable[int]], problem_ids: Iterable[str]) -> pl.DataFrame:
    """The keys of samples, in the order of the problems and of the numbers of each."""
    rows = [(problem_id, number) for problem_id in problem_ids for number in numbers(problem_id)]
    return pl.DataFrame(rows, schema=_schema(*KEY), orient="row")


def counts(wanted: pl.DataFrame, found: pl.DataFrame) -> Counts:
    """How many of the wanted samples are among the last rows of the journal, and what their last attempts came to."""
    found = wanted.join(found, on=KEY, how="inner")
    failed = found.filter(FAILED).height
    drawn = found.drop_nulls("drawn_from").group_by("drawn_from").len().sort("drawn_from")
    pending = wanted.height - found.height
    return Counts(ok=found.height - failed, failed=failed, pending=pending, drawn_on=dict(drawn.iter_rows()))


def _schema(*names: str) -> dict[str, Any]:
    return {name: JOURNALED[name] for name in names}


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


def draw(
    journal: Journal, run: str, asked: dict[str, Any], hashes: Mapping[str, str], most: int, *, abort: Abort | None
) -> str:
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
    there = last_rows(journal.scan(), hashes, abort=abort).filter(~FAILED)
    found = last_rows(theirs, hashes, abort=abort).filter(~FAILED & (pl.col("sample") < most))
    new = found.join(there, on=KEY, how="anti")
    # What follows from a sample comes with it: whether it fits is seen from its hash, which holds the sample's text.
    new = pl.concat([new, _following(theirs, found["problem_id"], journal, hashes, abort)])
    for batch in whole(theirs, new).collect_batches(chunk_size=BATCH_ROWS):
        origin = pl.col("drawn_from").fill_null(str(run))
        for row in batch.with_columns(origin).iter_rows(named=True):
            journal.append(row)
    journal.flush()
    if found.is_empty() and (changed := _changed(folder, asked)):
        return f"{run}: none of its samples is of the same request; " + "; ".join(changed)
    return f"{new.height:,} samples taken from {run}, {found.height - new.height:,} were there"


def _following(
    theirs: pl.LazyFrame, problem_ids: pl.Series, journal: Journal, hashes: Mapping[str, str], abort: Abort | None
) -> pl.DataFrame:
    there = follow_ups(journal.scan(), hashes, abort=abort)
    found = follow_ups(theirs, hashes, abort=abort).filter(~FAILED, pl.col("problem_id").is_in(problem_ids.implode()))
    return found.join(there, on=[*KEY, "request_hash"], how="anti")


def say_damage(journal: Journal, progress: Progress) -> None:
    """Tell what the journal lost on disk."""
    for file, rows in journal.damaged_shards.items():
        progress.say(f"  {file} was damaged and is moved aside: its {rows} samples are asked again")
    if journal.damaged:
        progress.say(f"  {journal.damaged} damaged lines in {journal.path.name}: their samples are asked again")
