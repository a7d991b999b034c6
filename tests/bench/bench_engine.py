"""Tokens per second of a real run of `trajectories` beside `vllm.LLM.generate` on the same requests and settings.

    make quickstart && .venv/bin/python tests/bench/bench_engine.py

Both sample the quickstart's teacher on the quickstart's problems, each in a process of its own, in turn, with the same
engine arguments, prompts, seeds and budgets; loading weights and verifiers is not counted. Ours pays for everything
that a run does: requests made lazily, text and journal, and, as `until` has it, verdicts on every sample beside the
engine.

The quickstart's samples are short, 115 tokens, and what a run does for each of them weighs the more. R1's are a hundred
times as long; a teacher whose samples are some 530 tokens long:

    distill student recipes/tiny_teacher.yaml --name long_teacher --set 'verdicts=[format, verify_math]' \
        --set 'problems.arithmetic={count: 4000, steps: [10, 16], seed: 0}' --set student.steps=300 \
        --set student.max_length_tokens=1000
    .venv/bin/python tests/bench/bench_engine.py --teacher long_teacher --steps 10 16 --problems 50

The model runs in one thread, which leaves the other cores to what runs beside it, as on a machine with a GPU. Tokens
per second of that thread's own processor time are printed too: a busy machine does not change them much.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

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

SIDES = ("LLM.generate", "fixed k", "verdicts", "verdicts, abort", "report")
"""Those with verdicts judge each sample as it finishes; none is accepted, so that all of them are drawn. The report
samples first, and judges what it reads from the journal again: both count."""

ASKED = ("problem", "reference_answer")
LONGEST = 800
"""Tokens, of which the teacher has room for 1,024."""


def main() -> None:
    """Run all sides in turn, and print the median of each and its ratio to the first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the teacher was made")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--teacher", default="tiny_teacher", help="another run's, as that of the longer samples")
    parser.add_argument("--steps", type=int, nargs=2, help="problems of so many steps instead")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="only this one, in this process")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments)))
        return
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            done = subprocess.run([sys.executable, *sys.argv, "--side", side], check=True, stdout=subprocess.PIPE)
            tokens, wall, cpu = json.loads(done.stdout.splitlines()[-1])
            found[side].append((tokens / wall, tokens / cpu))
            print(f"{side:<16} {tokens:>9,} tokens, {wall:6.2f} s, of them {cpu:6.2f} s at work", flush=True)
    print(f"{'':<16} {'tokens/s':>9} {'':>6} {'tokens per s at work':>21}")
    base = [median(rates) for rates in zip(*found[SIDES[0]], strict=True)]
    for side in SIDES:
        wall, cpu = (median(rates) for rates in zip(*found[side], strict=True))
        print(f"{side:<16} {wall:9,.0f} {wall / base[0]:6.3f} {cpu:21,.0f} {cpu / base[1]:6.3f}")


def measure(arguments: argparse.Namespace) -> tuple[int, float, float]:
    """Tokens, seconds and the sampling thread's seconds of processor time of one side."""
    side, runs, count = arguments.side, arguments.runs, arguments.problems
    torch.set_num_threads(1)
    run = open_run("recipes/quickstart.yaml", runs=runs)
    section = run.recipe.trajectories
    problems = run.problems("train").head(count)
    if arguments.steps:
        section = section.model_copy(update={"max_tokens": LONGEST})
        run = replace(run, recipe=run.recipe.model_copy(update={"trajectories": section}))
        made = zip(*generate(count, steps=tuple(arguments.steps), seed=1, held_out=False), strict=True)
        problems = problems.with_columns(pl.Series(name, each) for name, each in zip(ASKED, made, strict=True))
    most = section.samples_per_problem
    accepts = accepted_by(run.recipe.head, problems, "teacher", section)

    def draws_all(rows: pl.DataFrame) -> list[Opinion]:
        return [replace(opinion, accepted=False) for opinion in accepts(rows)]

    judged = {} if side == "fixed k" else {"until": Until(accepted=most, max_samples=most), "accepts": draws_all}
    with VllmEngine(str(runs / arguments.teacher / "student" / "teacher"), revision=None, args={}) as engine:
        asking = Asking(engine, section, dict(problems.select("problem_id", "problem").iter_rows()))
        requests = [asking.plain((p, n)) for p in problems["problem_id"] for n in range(most)]
        if side == SIDES[0]:
            return generated(engine, requests)

        def drawn(asked: pl.DataFrame) -> pl.DataFrame:
            abort = Abort() if "abort" in side else None
            with tempfile.TemporaryDirectory() as folder:
                if side == "report":
                    return reported(replace(run, folder=Path(folder)), engine, asked)
                return sample(engine, asked, section, Path(folder), name=side, progress=Silent(), abort=abort, **judged)

        drawn(problems.head(1))  # loads the weights, and the verifiers
        began = time.perf_counter(), time.thread_time()
        table = drawn(problems)
        return int(table["completion_tokens"].sum()), *_since(*began)


def reported(run: Run, engine: VllmEngine, problems: pl.DataFrame) -> pl.DataFrame:
    """The report's own sampling and judging of the teacher, on the same requests."""
    settings = Generation(**run.recipe.trajectories.model_dump(include={*Generation.model_fields}))
    assert run.recipe.verifier is not None
    asked = ProblemSet("bench", problems, run.recipe.verifier, settings, {})
    examples = Examples(asked.name, "teacher", asked.verifier.column())
    return _judged(run, engine, Entrant("teacher", "teacher", ""), asked, examples, Silent())


def generated(engine: VllmEngine, requests: list[Request]) -> tuple[int, float, float]:
    """The same by vLLM alone, whose prompts are rendered before the clock starts."""
    from vllm import LLM, SamplingParams

    list(engine.complete(requests[:1]))  # which says how long a model's context is
    length = engine._engine.model_config.max_model_len
    engine.close()
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    llm = LLM(engine._model.model, **engine._default_args() | {"max_model_len": length})
    prompts = [
        {"prompt_token_ids": list(engine._model.prompt(each.messages, open_think=each.open_think).token_ids)}
        for each in requests
    ]
    params = [
        SamplingParams(max_tokens=each.max_tokens, temperature=each.temperature, top_p=each.top_p, seed=each.seed)
        for each in requests
    ]
    llm.generate(prompts[:8], params[:8], use_tqdm=False)
    began = time.perf_counter(), time.thread_time()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = _since(*began)
    return sum(len(output.outputs[0].token_ids) for output in outputs), *seconds


def _since(wall: float, cpu: float) -> tuple[float, float]:
    return time.perf_counter() - wall, time.thread_time() - cpu


if __name__ == "__main__":
    main()
