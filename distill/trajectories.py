"""Trajectories: what the teacher answered, sampled here or imported from somebody who sampled it.

Does not judge them, and never draws the same sample twice.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from distill import arithmetic, hub
from distill.asking import ORIGIN, origins, read_examples, same_problems
from distill.chat import split_completions
from distill.engines import Engine, Request, open_engine
from distill.engines.scripted import ScriptedEngine
from distill.ledger import Ledger
from distill.progress import Progress
from distill.recipe.strategies import Example
from distill.recipe.trajectories import Import, Program, Trajectories
from distill.sampler import Accepts, sample
from distill.schema import TRAJECTORY, check, verifier_input
from distill.store import KEY, Run, RunError, file_digest, text_digest, write_parquet
from filters import Chain, Filter, kept


def make(run: Run, progress: Progress, *, teacher: str | None, partial: bool = False) -> dict[str, Any]:
    """Write `trajectories/trajectories.parquet`. `teacher` is a Hub id or a folder; None for programs and imports.

    With `partial`, nothing is asked for: the samples that are there.
    """
    section = run.recipe.trajectories
    if section.import_:
        table, facts = _imported(section.import_)
    else:
        table, facts = _sampled(run, section, progress, teacher, partial)
    table = check(table, TRAJECTORY, what="trajectories", key=KEY)
    write_parquet(table, run.path("trajectories", "trajectories.parquet"))
    finished = table.group_by("finish_reason").len().sort("finish_reason")
    reasons = {reason or "unknown": count for reason, count in finished.iter_rows()}
    tokens = None if table["completion_tokens"].is_null().all() else int(table["completion_tokens"].sum())
    length = "tokens unknown" if tokens is None else f"{tokens:,} tokens"
    finish = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
    progress.say(f"  {table.height:,} trajectories, {length}; finish: {finish}")
    return {"rows": table.height, "completion_tokens": tokens, "finish_reasons": reasons, **facts}


def _sampled(
    run: Run, section: Trajectories, progress: Progress, teacher: str | None, partial: bool
) -> tuple[pl.DataFrame, dict[str, Any]]:
    ledger = Ledger(section.limits, gpus=section.gpus)
    examples = read_examples(section)
    section = section.model_copy(update={"examples": examples})
    problems = _without_examples(run, examples, progress)
    with _open(section, teacher, progress) as engine:
        identity: Mapping[str, Any] = engine.identity
        name = f"{identity['model']}@{identity['revision']}"
        completions = sample(
            engine,
            problems,
            section,
            run.path("trajectories"),
            name="sampling",
            progress=progress,
            until=section.until,
            accepts=accepted_by(run.recipe.head, problems, name, section) if section.until else None,
            ledger=ledger,
            partial=partial,
            draw_on=section.draw_on,
        )
    if completions.is_empty():
        raise RunError("no sample is there yet, so there is nothing to go on with; sample without --partial first")
    progress.say(f"  {ledger.counts}")
    table = as_trajectories(completions, problems, name, section)
    return table, {"teacher": dict(identity), **ledger.facts()}


def _without_examples(run: Run, examples: list[Example], progress: Progress) -> pl.DataFrame:
    """The problems to sample: not those that the teacher is shown the solution of."""
    held_out, problems = run.problems("held_out"), run.problems("train")
    if (seen := held_out.filter(same_problems(examples, held_out))).height:
        raise RunError(
            f"trajectories.examples: {seen.height} of them are held-out problems, the first is {seen['problem'][0]!r}; "
            "take others, or what students learn is no longer apart from what they are measured on"
        )
    rest = problems.filter(~same_problems(examples, problems))
    if left_out := problems.height - rest.height:
        progress.say(f"  {left_out} problems are examples in the prompt, and are not sampled")
    return rest


def accepted_by(head: Sequence[Filter], problems: pl.DataFrame, teacher: str, section: Trajectories) -> Accepts:
    """Whether completions pass these filters of row scope."""
    chain = Chain(head)

    def accepts(completions: pl.DataFrame) -> list[bool]:
        rows = as_trajectories(completions, problems, teacher, section).with_row_index("row")
        return rows["row"].is_in(kept(chain.judge(rows))["row"].implode()).to_list()

    return accepts


def as_trajectories(
    completions: pl.DataFrame, problems: pl.DataFrame, teacher: str, section: Trajectories
) -> pl.DataFrame:
    """Completions with the problems that they answer."""
    table = completions.join(problems.drop("split"), on="problem_id", how="left", maintain_order="left")
    table = table.with_columns(
        *split_completions(table["text"]),
        *origins(section, table.select(KEY)),
        samples_drawn=pl.len().over("problem_id").cast(pl.Int32),
        teacher=pl.lit(teacher),
    )
    return table.select(*TRAJECTORY, *verifier_input(table))


def _open(section: Trajectories, teacher: str | None, progress: Progress) -> Engine:
    if isinstance(section.teacher, Program):
        program = section.teacher

        def answer(request: Request) -> str:
            problem, _, _ = request.messages[-1]["content"].partition("\n\n")
            return arithmetic.solve(problem, mistake_share=program.mistake_share, seed=request.seed)

        version = f"{file_digest(Path(arithmetic.__file__))}, mistake_share {program.mistake_share}"
        return ScriptedEngine(answer, name=program.program, version=version)
    assert teacher is not None
    return open_engine(
        section.engine,
        teacher,
        revision=section.revision,
        args=section.engine_args,
        say=lambda line: progress.say("  " + line),
    )


# --- import -----------------------------------------------------------------------------------------------------------


def _imported(section: Import) -> tuple[pl.DataFrame, dict[str, Any]]:
    table, provenance = hub.read_table(section, "trajectories.import")
    for needed in ("problem", "response"):
        if needed not in table.columns:
            raise RunError(
                f"trajectories.import: no column {needed!r} among {', '.join(table.columns)}; "
                f"name theirs with columns: {{{needed}: …}}"
            )
    if table.is_empty():
        raise RunError("trajectories.import: no rows")
    problem = pl.col("problem").cast(pl.String)
    defaults = {
        "problem_id": problem.map_elements(text_digest, return_dtype=pl.String),
        "reference_answer": pl.lit(None),
        "domain": pl.lit(section.domain),
        "source": pl.lit(section.dataset or str(provenance.get("file"))),
        "teacher": pl.lit(section.teacher),
        "finish_reason": pl.lit(None),
        "prompt_tokens": pl.lit(None),
        "completion_tokens": pl.lit(None),
        **dict.fromkeys(ORIGIN, pl.lit(None)),
    }
    table = table.with_columns(value.alias(name) for name, value in defaults.items() if name not in table.columns)
    if "reasoning" not in table.columns:
        table = table.with_columns(split_completions(table["response"].cast(pl.String).fill_null("")))
    if "sample" not in table.columns:
        table = table.with_columns(sample=pl.int_range(pl.len()).over("problem_id"))
    table = table.with_columns(samples_drawn=pl.len().over("problem_id"))
    extra: list[pl.Expr | pl.Series] = [*verifier_input(table)]
    if "upstream_correct" in table.columns:
        extra.append(pl.col("upstream_correct").cast(pl.Boolean))
    return table.select(*(pl.col(name).cast(dtype) for name, dtype in TRAJECTORY.items()), *extra), {
        "source": provenance
    }
