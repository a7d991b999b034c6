"""Tokens per second of a real run of `trajectories` beside `vllm.LLM.generate` on the same requests and settings.

    make quickstart && .venv/bin/python tests/bench/bench_engine.py

Both sample the quickstart's teacher on the quickstart's problems, in turn and on one engine of vLLM's, with the same
prompts, seeds and budgets; loading weights and verifiers is not counted. Ours pays for everything that a run does:
requests made lazily and rendered, text and journal, and, as `until` has it, verdicts on every sample beside the engine.

A shared machine is faster in one half minute than in the next by a tenth and more. So ratios are of runs that follow
one another, in this order and then in the other, and their mean is printed with its standard error.

The quickstart's samples are short, 115 tokens, and what a run does for each of them weighs the more. R1's are a hundred
times as long; a teacher whose samples are some 530 tokens long:

    distill student recipes/tiny_teacher.yaml --name long_teacher --set 'verdicts=[format, verify_math]' \
        --set 'problems.arithmetic={count: 4000, steps: [10, 16], seed: 0}' --set student.steps=300 \
        --set student.max_length_tokens=1000
    .venv/bin/python tests/bench/bench_engine.py --teacher long_teacher --steps 10 16 --problems 50

The model runs in one thread, which leaves the other cores to what runs beside it, as on a machine with a GPU. Ratios of
that thread's own processor time are printed too.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import polars as pl
import torch

from distill.arithmetic import generate
from distill.asking import Asking
from distill.engines import Request
from distill.engines.vllm import VllmEngine
from distill.opinion import Opinion
from distill.progress import Silent
from distill.recipe.abort import Abort
from distill.recipe.trajectories import Generation, Until
from distill.report import _judged
from distill.report.benchmarks import ProblemSet
from distill.report.entrants import Entrant
from distill.report.examples import Examples
from distill.run import open_run
from distill.sampler import sample
from distill.store import Run
from distill.trajectories import accepted_by

BASE = "LLM.generate"
SIDES = ("fixed k", "verdicts", "verdicts, abort", "report")
"""Those with verdicts judge each sample as it finishes; none is accepted, so that all of them are drawn. The report
samples first, and judges what it reads from the journal again: both count."""

ASKED = ("problem", "reference_answer")
LONGEST = 800
"""Tokens, of which the teacher has room for 1,024."""


@dataclass(frozen=True)
class Rates:
    """Of one run: tokens for each second, and for each second of the sampling thread's processor time."""

    wall: float
    thread: float


def main() -> None:
    """Run all sides in turn, and print the ratio of each to the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the teacher was made")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--teacher", default="tiny_teacher", help="another run's, as that of the longer samples")
    parser.add_argument("--steps", type=int, nargs=2, help="problems of so many steps instead")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sides", choices=SIDES, nargs="+", default=SIDES, help="only these, beside LLM.generate")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run, problems = asked(arguments)
    with VllmEngine(str(arguments.runs / arguments.teacher / "student" / "teacher"), revision=None, args={}) as engine:
        asking = Asking(engine, run.recipe.trajectories, dict(problems.select("problem_id", "problem").iter_rows()))
        most = run.recipe.trajectories.samples_per_problem
        requests = [asking.plain((p, n)) for p in problems["problem_id"] for n in range(most)]
        sides = {BASE: generates(engine, requests)}
        sides |= {side: partial(draws, side, engine, run, problems) for side in arguments.sides}
        draws("verdicts", engine, run, problems.head(1))  # loads the verifiers
        found: dict[str, list[Rates]] = {side: [] for side in sides}
        for number in range(arguments.rounds):
            for side in list(sides)[:: -1 if number % 2 else 1]:
                engine._engine.reset_prefix_cache()
                engine._model._render.cache_clear()
                wall, cpu = time.perf_counter(), time.thread_time()
                tokens = sides[side]()
                wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
                found[side].append(Rates(tokens / wall, tokens / cpu))
                print(f"{side:<16} {tokens:>9,} tokens, {wall:6.2f} s, of them {cpu:6.2f} s at work", flush=True)
    print(f"{'of ' + BASE:<16} {'tokens/s':>16} {'and per s at work':>20}")
    for side in arguments.sides:
        pairs = list(zip(found[side], found[BASE], strict=True))
        wall_ratios, thread_ratios = [a.wall / b.wall for a, b in pairs], [a.thread / b.thread for a, b in pairs]
        print(f"{side:<16} {_said(wall_ratios):>16} {_said(thread_ratios):>20}")


def asked(arguments: argparse.Namespace) -> tuple[Run, pl.DataFrame]:
    """The quickstart's run and its problems, or others."""
    run = open_run("recipes/quickstart.yaml", runs=arguments.runs)
    problems = run.problems("train").head(arguments.problems)
    if arguments.steps:
        section = run.recipe.trajectories.model_copy(update={"max_tokens": LONGEST})
        run = replace(run, recipe=run.recipe.model_copy(update={"trajectories": section}))
        made = zip(*generate(problems.height, steps=tuple(arguments.steps), seed=1, held_out=False), strict=True)
        problems = problems.with_columns(pl.Series(name, each) for name, each in zip(ASKED, made, strict=True))
    return run, problems


def draws(side: str, engine: VllmEngine, run: Run, problems: pl.DataFrame) -> int:
    """Sample as a run does, in a folder of its own, and count the tokens."""
    section = run.recipe.trajectories
    most = section.samples_per_problem
    accepts = accepted_by(run.recipe.head, problems, "teacher", section)

    def draws_all(rows: pl.DataFrame) -> list[Opinion]:
        return [replace(opinion, accepted=False) for opinion in accepts(rows)]

    judged = {} if side == "fixed k" else {"until": Until(accepted=most, max_samples=most), "accepts": draws_all}
    abort = Abort() if "abort" in side else None
    with tempfile.TemporaryDirectory() as folder:
        if side == "report":
            table = reports(replace(run, folder=Path(folder)), engine, problems)
        else:
            quiet = Silent()
            table = sample(engine, problems, section, Path(folder), name=side, progress=quiet, abort=abort, **judged)
    return int(table["completion_tokens"].sum())


def reports(run: Run, engine: VllmEngine, problems: pl.DataFrame) -> pl.DataFrame:
    """The report's own sampling and judging of the teacher, on the same requests."""
    settings = Generation(**run.recipe.trajectories.model_dump(include={*Generation.model_fields}))
    assert run.recipe.verifier is not None
    asked = ProblemSet("bench", problems, run.recipe.verifier, settings, {})
    examples = Examples(asked.name, "teacher", asked.verifier.column())
    return _judged(run, engine, Entrant("teacher", "teacher", ""), asked, examples, Silent())


def generates(engine: VllmEngine, requests: list[Request]) -> Callable[[], int]:
    """vLLM's own front, whose prompts are rendered and settings made beforehand. The engine is vLLM's from now on."""
    list(engine.complete(requests[:1]))  # which says how long a model's context is
    length = engine._engine.model_config.max_model_len
    engine.close()
    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
    from vllm import LLM, SamplingParams

    llm = LLM(engine._model.model, **engine._default_args() | {"max_model_len": length})
    engine._engine = llm.llm_engine
    prompts = [
        {"prompt_token_ids": list(engine._model.prompt(each.messages, open_think=each.open_think).token_ids)}
        for each in requests
    ]
    params = [
        SamplingParams(max_tokens=each.max_tokens, temperature=each.temperature, top_p=each.top_p, seed=each.seed)
        for each in requests
    ]

    def tokens() -> int:
        outputs = llm.generate(prompts, params, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    return tokens


def _said(ratios: list[float]) -> str:
    error = stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    return f"{mean(ratios):.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
