"""Trajectories: what the teacher answered, sampled here or imported from somebody who sampled it.

Does not judge them, and never draws the same sample twice.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from distill import arithmetic, hub
from distill.asking import ORIGIN, origins, read_examples, same_problems
from distill.chat import split_completions
from distill.conversations import from_messages
from distill.engines import Engine, Request, open_engine
from distill.engines.scripted import ScriptedEngine
from distill.judging import Accepts
from distill.known_verdicts import judged_by
from distill.ledger import Ledger
from distill.lineage import ROOM
from distill.opinion import Opinion, complaint
from distill.progress import Progress
from distill.recipe.strategies import Example
from distill.recipe.trajectories import Import, Program, Trajectories
from distill.sampler import draw_for, sample
from distill.samples import ENDED
from distill.schema import TRAJECTORY, check, verifier_input
from distill.store import KEY, Run, RunError, file_digest, seed_of, text_digest, write_parquet
from distill.track import Tracker
from distill.vote import Ballot
from filters import Chain, Filter, kept, verdict_columns
from filters._rewards import rewards
from filters._votes import stated_answers

_TRACKED = ("teacher", "samples_per_problem", "until", "temperature", "top_p", "max_tokens", "seed")
"""What a tracker is told of a run."""


def make(run: Run, progress: Progress, *, teacher: str | None, partial: bool = False) -> dict[str, Any]:
    """Write `trajectories/trajectories.parquet`. `teacher` is a Hub id or a folder; None for programs and imports.

    With `partial`, nothing is asked for: the samples that are there.
    """
    section = run.recipe.trajectories
    if section.import_:
        table, facts = _imported(section.import_)
        run.forget("trajectories")
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


def probe(run: Run, progress: Progress, *, teacher: str | None, problems: int) -> pl.DataFrame:
    """The trajectories of some problems of the run, by its own engine, settings and limits. They are journaled, so
    that the run does not ask for them again; the problems are chosen by a hash, the same ones for the same number.
    What other runs have for all problems (`draw_on`) is in the journal afterwards, too. Samples that are kept out when
    they are cut have rows here.
    """
    return _sampled(run, run.recipe.trajectories, progress, teacher, partial=False, probed=problems)[0]


def _sampled(
    run: Run,
    section: Trajectories,
    progress: Progress,
    teacher: str | None,
    partial: bool,
    probed: int | None = None,
) -> tuple[pl.DataFrame, dict[str, Any]]:
    ledger = Ledger(section.limits, gpus=section.gpus)
    examples = read_examples(section)
    section = section.model_copy(update={"examples": examples})
    problems = every = _without_examples(run, examples, progress)
    if probed is not None:
        by_hash = [seed_of(section.seed, problem_id, "probe") for problem_id in problems["problem_id"]]
        problems = problems[sorted(range(problems.height), key=by_hash.__getitem__)[:probed]]
    track = section.track if probed is None else None
    facts = section.model_dump(mode="json", include={*_TRACKED}, exclude_none=True)
    tracking = Tracker(track, run.name, facts, progress.say) if track else nullcontext()
    with tracking as tracker, _open(section, teacher, progress) as engine:
        identity: Mapping[str, Any] = engine.identity
        name = f"{identity['model']}@{identity['revision']}"
        heads = [filter.provenance() for filter in run.recipe.head]
        completions = sample(
            engine,
            problems,
            section,
            run.path("trajectories"),
            name="sampling" if probed is None else "probing",
            progress=progress,
            until=section.until,
            accepts=accepted_by(run.recipe.head, problems, name, section) if section.judges else None,
            judged_by=judged_by(problems, heads, name, section.keeps_out, bool(section.until and section.until.vote)),
            ledger=ledger,
            partial=partial,
            draw_on=section.draw_on,
            abort=section.abort,
            tracker=tracker,
            begins=lambda: run.forget("trajectories") if probed is None else None,
        )
        if probed is not None:
            section = section.model_copy(update={"on_length": "judge"})
            if section.draw_on:
                draw_for(engine, every, section, run.path("trajectories"), progress)
    if completions.is_empty():
        raise RunError("no sample is there yet, so there is nothing to go on with; sample without --partial first")
    progress.say(f"  {ledger.counts}")
    table = as_trajectories(completions, problems, name, section)
    tried = table.drop_nulls("method").group_by("method").agg(pl.len(), pl.col("problem_id").n_unique()).sort("method")
    for method, count, of in tried.iter_rows():
        progress.say(f"  method {method}: {count:,} samples of {of:,} problems")
    truncated = _truncation(completions, table)
    if any(truncated.values()):
        progress.say("  cut at max_tokens: " + ", ".join(f"{what} {count:,}" for what, count in truncated.items()))
    if table.is_empty():
        raise RunError("every sample was cut at max_tokens and is kept out: raise max_tokens, or change on_length")
    return table, {"teacher": dict(identity), **ledger.facts(), "truncated": truncated}


def _truncation(completions: pl.DataFrame, table: pl.DataFrame) -> dict[str, int]:
    """What became of samples that max_tokens has cut."""
    finished = pl.col("continued_at").is_not_null() & (pl.col("finish_reason") != "length")
    return {
        "continued to their end": completions.filter(finished).height,
        "judged": table.filter(pl.col("finish_reason") == "length").height,
        "kept out": completions.height - table.height,
    }


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
    """Whether completions pass these filters of row scope; what was ended early never does."""
    chain = Chain(head)

    def accepts(completions: pl.DataFrame) -> list[Opinion]:
        judged = chain.judge(as_trajectories(completions, problems, teacher, section))
        accepted = kept(judged).filter(~ENDED).select(*KEY, accepted=True)
        abstained = [pl.col(name).struct.field("outcome") == "abstain" for name in verdict_columns(judged)]
        said = judged.select(*KEY, complaint=complaint(judged), decided=~pl.any_horizontal(abstained).fill_null(False))
        found = completions.select(KEY).join(said, on=KEY, how="left", maintain_order="left")
        found = found.join(accepted, on=KEY, how="left", maintain_order="left")
        values = {"accepted": False, "complaint": "", "decided": True}
        opinions = found.select(pl.col(name).fill_null(value) for name, value in values.items())
        if section.until is None or section.until.vote is None:
            return [Opinion(*opinion) for opinion in opinions.iter_rows()]
        scored = (
            judged["verdict_reward_score"]
            if "verdict_reward_score" in judged.columns
            else pl.Series([None] * judged.height)
        )
        votes = judged.select(*KEY, answer=stated_answers(judged["response"]), reward=rewards(scored))
        ballots = completions.select(KEY).join(votes, on=KEY, how="left", maintain_order="left").drop(KEY)
        pairs = zip(opinions.iter_rows(), ballots.iter_rows(), strict=True)
        return [replace(Opinion(*opinion), ballot=Ballot(*ballot)) for opinion, ballot in pairs]

    return accepts


def as_trajectories(
    completions: pl.DataFrame, problems: pl.DataFrame, teacher: str, section: Trajectories
) -> pl.DataFrame:
    """Completions with the problems that they answer, less those that are kept out."""
    if section.keeps_out:
        completions = completions.filter(pl.col("finish_reason") != "length")
    table = completions.join(problems.drop("split"), on="problem_id", how="left", maintain_order="left")
    table = table.with_columns(
        *split_completions(table["text"]),
        *origins(section, table.select(KEY)),
        samples_drawn=(pl.col("sample") < ROOM).sum().over("problem_id").cast(pl.Int32),
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
    table, left_out = from_messages(table)
    if left_out:
        provenance = {**provenance, "not_one_question_and_answer": left_out}
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
        **dict.fromkeys(("continued_at", "doomed", "doomed_at", *ORIGIN), pl.lit(None)),
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
