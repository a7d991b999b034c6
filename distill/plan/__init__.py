"""What sampling will cost, before it is paid for: samples, tokens, rows, hours, money, memory and disk.

Foreseen from a probe of a few problems, which stays in the run's journal and so is paid for once, or from another run.
Each number has an interval, or says why it is not known. Knows nothing of students and their training.
"""

import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from distill.asking import most_tokens
from distill.evidence import Evidence
from distill.forecast import Rest, rest
from distill.journal import SEAL_BYTES
from distill.ledger import Spent
from distill.metrics import Estimate
from distill.outlook import PLANNED, keep_plan
from distill.plan.kv_cache import UnknownError, memory_of_this_machine, room
from distill.plan.seen import Seen, by_earlier, by_probe, paid_by_others, paid_by_run
from distill.progress import Progress
from distill.recipe.trajectories import Program, Trajectories, Until
from distill.scheduler import Scheduler
from distill.second_tries import SecondTries
from distill.store import Run, RunError

PROBED = 16
"""Problems of a probe."""


@dataclass(frozen=True)
class Line:
    """One number of a plan."""

    name: str
    amount: Estimate | None
    """None where it is not known."""
    note: str = ""
    """What it is counted in or depends on; why it is not known."""
    unit: Literal["", "s", "B"] = ""
    """What the amount is shown as: a number, a time, or bytes."""


@dataclass(frozen=True)
class Plan:
    """What a run will take."""

    title: str
    lines: list[Line]
    remarks: list[str]


def plan(run: Run, progress: Progress, *, teacher: str | None, probed: int = PROBED, earlier: Path | None) -> Plan:
    """Foresee the sampling of a run whose problems are there. With `earlier`, the folder of another run, nothing is
    sampled; else the samples of so many problems are. Raises RunError where there is nothing to sample or to go by.
    """
    section = run.recipe.trajectories
    if section.import_:
        raise RunError("trajectories.import: an import has what it has, so there is nothing to plan")
    seen = by_earlier(run, earlier) if earlier else by_probe(run, progress, teacher, probed)
    if seen.table["problem_id"].n_unique() < 2:
        raise RunError("a plan needs samples of at least 2 problems")
    problems = run.problems("train")["problem_id"].to_list()
    until = section.until or Until(accepted=section.samples_per_problem, max_samples=section.samples_per_problem)
    most = most_tokens(section)
    foreseen = rest(
        Scheduler(problems, until),
        Evidence.of(seen.table, most, tries=seen.tries, mendable=seen.mendable, votes=seen.votes),
        seats=max(1, round(seen.pace.in_flight)) if seen.pace else 1,
        accepting=section.judges,
        second=SecondTries(section, section.enough, _answered(run)) if section.second_tries else None,
    )
    done, drawn = paid_by_run(run), paid_by_others(run, until.max_samples)
    asked = (
        f"until {until.accepted} accepted, {until.max_samples} at most" if section.until else f"{until.accepted} each"
    )
    heads = ", ".join(filter.name() for filter in run.recipe.head)
    accepted = foreseen.accepted if run.recipe.head else None
    lines = [
        Line("problems", _sure(len(problems))),
        Line("samples", foreseen.samples, asked),
        *_there("  there already", done),
        *_there("  of other runs", drawn),
        Line("completion tokens", foreseen.tokens, f"{_mean(seen.table['completion_tokens']):,.0f} a sample"),
        Line("accepted rows", accepted, f"by {heads}" if heads else "no filter of row scope heads the chain"),
        Line("problems solved", foreseen.solved if accepted else None, "with an accepted sample" if accepted else ""),
        *_of_time_and_money(section, foreseen, seen, done, drawn),
        _disk(run, foreseen, seen),
        *_memory(section, teacher, seen),
    ]
    further = []
    if section.second_tries:
        known = f"are foreseen from {len(seen.tries)} of them" if seen.tries else "come on top: none has been seen yet"
        further.append(f"Mended and hinted samples {known}.")
    if until.vote and not seen.votes:
        further.append("A vote is foreseen as if all samples agreed: it will take more of them.")
    keep_plan(
        run.path("trajectories"), {line.name: line.amount for line in lines if line.name in PLANNED and line.amount}
    )
    stops = _stops(section, lines, _paid(foreseen.tokens, drawn.completion_tokens))
    return Plan(f"Plan of {run.name}", lines, [seen.says, *further, *stops])


def _answered(run: Run) -> list[str]:
    """The problems that have a reference."""
    return run.problems("train").drop_nulls("reference_answer")["problem_id"].to_list()


def _of_time_and_money(section: Trajectories, foreseen: Rest, seen: Seen, done: Spent, drawn: Spent) -> list[Line]:
    there = done.completion_tokens + drawn.completion_tokens
    left = max(0.0, 1 - there / max(foreseen.tokens.value, 1))
    speed = seconds = None
    beside = "unknown: these samples were drawn without being timed"
    gpus = f"{section.gpus} GPUs" if section.gpus > 1 else "1 GPU"
    if seen.pace:
        pace = seen.pace
        full = pace.most_in_flight < seen.table.height
        beside = f"with {pace.in_flight:.0f} in flight" + ("" if full else "; more in flight is faster")
        speed = _sure(pace.tokens_per_s)
        seconds = _map(lambda turns: turns * pace.seconds_per_token * left, foreseen.turns)
    hours = seconds and _map(lambda each: each / 3600 * section.gpus, seconds)
    lines = [Line("tokens/s", speed, beside), Line("time left", seconds, "" if seconds else beside, "s")]
    if _on_gpus(section):
        lines.append(Line("GPU hours left", hours, f"on {gpus}" if hours else beside))
    price = section.limits.price if section.limits else None
    if not price:
        return [*lines, Line("cost", None, "unknown: no price in the recipe (limits.price)")]
    if price.per_gpu_hour and not hours:
        return [*lines, Line("cost", None, "unknown: it is priced by the hour, and the hours are not known")]
    prompt = _mean(seen.table["prompt_tokens"])
    count, tokens = _paid(foreseen.samples, drawn.samples), _paid(foreseen.tokens, drawn.completion_tokens)

    def cost(bound: int) -> float:
        spent = Spent(
            prompt_tokens=count[bound] * prompt,
            completion_tokens=tokens[bound],
            gpu_hours=hours[bound] if hours else 0.0,
        )
        return spent.cost(price)

    return [*lines, Line("cost", Estimate(cost(0), cost(1), cost(2)), f"{price.currency}, in all")]


def _on_gpus(section: Trajectories) -> bool:
    """Whether the teacher's hours are GPUs' hours: as the limits say, or as this machine has GPUs."""
    if section.limits and (section.limits.gpus or section.limits.gpu_memory_gb):
        return True
    local = section.engine != "server" and not isinstance(section.teacher, Program)
    return local and memory_of_this_machine() is not None


def _disk(run: Run, foreseen: Rest, seen: Seen) -> Line:
    """Journal, table of trajectories and dataset."""
    texts = seen.table.select("problem", "reasoning", "response")
    buffer = io.BytesIO()
    texts.write_parquet(buffer, compression="zstd")
    stored = len(buffer.getvalue()) / texts.height
    plain = sum(int(texts[name].str.len_bytes().sum()) for name in texts.columns) / texts.height

    def taken(bound: int) -> float:
        rows = foreseen.samples[bound]
        return stored * (2 * rows + foreseen.accepted[bound]) + min(plain * rows, SEAL_BYTES)

    folder = next(folder for folder in (run.folder, *run.folder.absolute().parents) if folder.exists())
    free = shutil.disk_usage(folder).free / 1e9
    return Line("disk", Estimate(taken(0), taken(1), taken(2)), f"{free:,.0f} GB are free", "B")


def _memory(section: Trajectories, teacher: str | None, seen: Seen) -> list[Line]:
    name = "KV cache holds"
    if teacher is None or section.engine in ("server", "transformers"):
        return [Line(name, None, "unknown: the teacher does not run in our vLLM")]
    memory = section.limits.gpu_memory_gb if section.limits else None
    try:
        found = room(teacher, section.revision, section.engine_args, memory_gb=memory, gpus=section.gpus)
    except (UnknownError, OSError) as error:
        return [Line(name, None, f"unknown: {error}")]
    prompt, mean = _mean(seen.table["prompt_tokens"]), _mean(seen.table["completion_tokens"])
    most = most_tokens(section)
    return [
        Line(name, _sure(found.sequences(prompt + mean)), f"samples of the mean length, in {found.bytes / 1e9:.1f} GB"),
        Line("", _sure(found.sequences(prompt + most)), f"samples of max_tokens ({most:,})"),
    ]


def _stops(section: Trajectories, lines: Sequence[Line], tokens: Estimate) -> list[str]:
    """Limits that the run is expected to reach before its end."""
    limits = section.limits
    if not limits:
        return []
    by_name = {line.name: line.amount for line in lines}
    seconds = by_name["time left"]
    hours = seconds and _map(lambda each: each / 3600 * section.gpus, seconds)
    needs: dict[str, Any] = {
        "max_tokens": tokens,
        "max_gpu_hours": hours,
        "max_cost": by_name["cost"],
    }
    remarks = []
    for name, need in needs.items():
        limit = getattr(limits, name)
        if limit and need and need.high > limit:
            what = "will stop" if need.low > limit else "may stop"
            remarks.append(f"The run {what} at limits.{name}, which is {limit:,.10g}.")
    return remarks


def _mean(values: pl.Series) -> float:
    return float(values.to_numpy().mean())


def _sure(value: float) -> Estimate:
    return Estimate(value, value, value)


def _map(change: Callable[[float], float], estimate: Estimate) -> Estimate:
    return Estimate(*map(change, estimate))


def _paid(total: Estimate, drawn: float) -> Estimate:
    return _map(lambda each: max(0.0, each - drawn), total)


def _there(name: str, spent: Spent) -> list[Line]:
    return [Line(name, _sure(spent.samples), f"{spent.completion_tokens:,} tokens")] if spent.samples else []
