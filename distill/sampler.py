"""Asks an engine for k samples of each problem and journals every one as it finishes. Asks nothing twice.

Serves teachers (trajectories) and students (report) alike. Does not judge.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from distill.chat import clean_text, user_message
from distill.engines import Completion, Engine, Request
from distill.journal import Journal
from distill.progress import Progress
from distill.recipe import Generation
from distill.store import RunError, digest, seed_of, write_text

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

_MAY_CHANGE = ("samples_per_problem", "engine", "engine_args")
"""What does not alter a sample that is already there: how many are asked for, and which engine asks."""


def sample(
    engine: Engine, problems: pl.DataFrame, settings: Generation, folder: Path, *, name: str, progress: Progress
) -> pl.DataFrame:
    """Every sample 0 .. samples_per_problem - 1 of every problem, from the journal in `folder` or else the engine.

    Rows are in the order of the problems, then of the samples. A sample whose request failed in an earlier call is
    asked again. Raises RunError where the folder's samples were drawn with other settings; they are left as they are.
    """
    asked = _settings(engine, settings)
    _check_same(folder / "sampling.json", asked)
    wanted = {
        (problem_id, number): (problem_id, number, problem)
        for problem_id, problem in problems.select("problem_id", "problem").iter_rows()
        for number in range(settings.samples_per_problem)
    }
    with Journal(folder / "journal.jsonl") as journal:
        hashes = {problem_id: _request_hash(asked, problem) for problem_id, _, problem in wanted.values()}
        done = _finished(journal, hashes)
        missing = {key: request for key, request in wanted.items() if not _answered(done.get(key))}
        if journal.damaged:
            progress.say(f"  {journal.damaged} damaged lines in {journal.path.name}: their samples are asked again")
        if missing:
            _fill(
                engine,
                missing,
                settings,
                hashes,
                journal,
                name=name,
                progress=progress,
                before=len(wanted) - len(missing),
            )
            done = _finished(journal, hashes)
    rows = [done[key] for key in wanted]
    return pl.DataFrame(rows, schema=COMPLETION)


def _fill(
    engine: Engine,
    missing: dict[tuple[str, int], tuple[str, int, str]],
    settings: Generation,
    hashes: dict[str, str],
    journal: Journal,
    *,
    name: str,
    progress: Progress,
    before: int,
) -> None:
    by_id = {f"{problem_id}#{number}": (problem_id, number) for problem_id, number, _ in missing.values()}
    tokens = failed = 0
    with progress.task(name, before + len(missing), done=before) as advance:
        for completion in engine.complete(_requests(missing.values(), settings)):
            problem_id, number = by_id.pop(completion.request_id)
            journal.append(_row(problem_id, number, hashes[problem_id], completion))
            tokens += completion.completion_tokens
            failed += completion.finish_reason.startswith("failed")
            advance(1, f"{tokens:,} tokens" + (f", {failed} failed" if failed else ""))
        journal.flush()
    if by_id:
        raise RunError(
            f"the engine left {len(by_id)} of {len(missing)} requests unanswered, the first is {next(iter(by_id))}"
        )


def _requests(wanted: Any, settings: Generation) -> Iterator[Request]:
    for problem_id, number, problem in wanted:
        yield Request(
            request_id=f"{problem_id}#{number}",
            messages=(user_message(problem, settings.instruction),),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            open_think=settings.open_think,
            seed=seed_of(settings.seed, problem_id, number),
        )


def _row(problem_id: str, number: int, request_hash: str, completion: Completion) -> dict[str, Any]:
    return {
        "problem_id": problem_id,
        "sample": number,
        "request_hash": request_hash,
        "text": clean_text(completion.text),
        "finish_reason": completion.finish_reason,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
    }


def _finished(journal: Journal, hashes: dict[str, str]) -> dict[tuple[str, int], dict[str, Any]]:
    """The last row of each sample of the requests wanted now; a problem whose text has changed has none."""
    return {
        (row["problem_id"], row["sample"]): {column: row[column] for column in COMPLETION}
        for row in journal.rows()
        if hashes.get(row["problem_id"]) == row["request_hash"]
    }


def _answered(row: dict[str, Any] | None) -> bool:
    return row is not None and not row["finish_reason"].startswith("failed")


def _settings(engine: Engine, settings: Generation) -> dict[str, Any]:
    """Everything that a sample depends on besides its problem."""
    names = [name for name in Generation.model_fields if name not in _MAY_CHANGE]
    model = {name: engine.identity[name] for name in ("model", "revision", "template_digest")}
    return model | settings.model_dump(mode="json", include=set(names))


def _request_hash(asked: dict[str, Any], problem: str) -> str:
    return digest([asked, problem])


def _check_same(path: Path, asked: dict[str, Any]) -> None:
    if not path.exists():
        write_text(path, json.dumps(asked, indent=2) + "\n")
        return
    before = json.loads(path.read_text())
    changed = [
        f"{key}: was {before.get(key)!r}, is {asked.get(key)!r}"
        for key in {**before, **asked}
        if before.get(key) != asked.get(key)
    ]
    if changed:
        raise RunError(
            f"{path.parent} holds samples drawn with other settings, and they are kept:\n  "
            + "\n  ".join(changed)
            + "\nPut the settings back, or sample into another run with --name."
        )
