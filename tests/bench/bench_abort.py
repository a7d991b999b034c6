"""What ending doomed samples early saves, and which good ones it loses: a teacher that loops on 5 % of its samples.

    make quickstart && .venv/bin/python tests/bench/bench_abort.py

The quickstart's teacher on the quickstart's problems, in vLLM. Looping is its only addition: one sample in twenty,
chosen by its seed, repeats from somewhere on what it has written before, up to max_tokens. Samples are drawn with the
same seeds with and without abort, so that what is lost is counted row by row, and the tokens are those that vLLM has
generated. What there is to save depends on how far max_tokens lies above the mean length, which is why several are
measured: R1's 32,768 are some 7 times the mean of hard mathematics and 30 times that of school mathematics.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from distill.engines.vllm import VllmEngine
from distill.progress import Silent
from distill.recipe.abort import Abort
from distill.run import open_run
from distill.sampler import sample
from distill.store import KEY
from distill.trajectories import accepted_by

SHARE, PERIODS = 20, (3, 60)
"""One sample in so many loops; the shortest and longest run of tokens that it repeats."""
HEADER = f"{'max_tokens':>10} {'abort':<6} {'samples':>8} {'aborted':>8} {'accepted':>9} {'tokens':>9} {'per 1k':>7}"


class Looping(AdapterLogitsProcessor):
    """Makes some requests repeat themselves from a token on that their seed chooses."""

    def is_argmax_invariant(self) -> bool:
        return False

    def new_req_logits_processor(self, params: Any) -> Any:
        seed = params.seed or 0
        if seed % SHARE:
            return None
        seed //= SHARE
        start = 20 + seed % 80
        period = PERIODS[0] + seed // 80 % (PERIODS[1] - PERIODS[0])
        period = min(period, start)

        def again(output_ids: list[int], logits: Any) -> Any:
            if len(output_ids) >= start:
                forced = output_ids[len(output_ids) - period]
                logits[:] = -float("inf")
                logits[forced] = 0.0
            return logits

        return again


def main() -> None:
    """Sample with and without abort for each budget, and print what each got for its tokens."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the teacher was made")
    parser.add_argument("--problems", type=int, default=300)
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    run = open_run("recipes/quickstart.yaml", runs=arguments.runs)
    section = run.recipe.trajectories
    teacher = str(arguments.runs / "tiny_teacher" / "student" / "teacher")
    problems = run.problems("train").head(arguments.problems)
    budgets = (300, 1200, 3600)
    most = max(budgets) + 200
    args = {"logits_processors": [Looping], "max_model_len": most}
    args["hf_overrides"] = {"max_position_embeddings": most}
    print(HEADER)
    with tempfile.TemporaryDirectory() as folder, VllmEngine(teacher, revision=None, args=args) as engine:
        for budget in budgets:
            accepts = accepted_by(run.recipe.head, problems, "teacher", section)
            update = {"samples_per_problem": arguments.samples, "max_tokens": budget}
            settings = section.model_copy(update=update)
            tables = []
            for name, abort in (("none", None), ("abort", Abort())):
                table = sample(
                    engine,
                    problems,
                    settings,
                    Path(folder, f"{budget}-{name}"),
                    name=name,
                    progress=Silent(),
                    abort=abort,
                )
                tables.append(
                    table.with_columns(accepted=pl.Series([each.accepted for each in accepts(table)], dtype=pl.Boolean))
                )
                print(line(budget, name, tables[-1]), flush=True)
            print(compared(*tables), flush=True)


def line(budget: int, name: str, table: pl.DataFrame) -> str:
    """A row of the table."""
    aborted, accepted = table["finish_reason"].str.starts_with("aborted").sum(), table["accepted"].sum()
    tokens = table["completion_tokens"].sum()
    rate = 1000 * accepted / tokens
    return f"{budget:>10} {name:<6} {table.height:>8,} {aborted:>8,} {accepted:>9,} {tokens:>9,} {rate:>7.2f}"


def compared(without: pl.DataFrame, ended: pl.DataFrame) -> str:
    """How much more is accepted for the same tokens, and how many of the good samples were lost."""
    both = without.join(ended, on=KEY, suffix="_ended")
    lost = both.filter(pl.col("accepted") & ~pl.col("accepted_ended")).height
    rates = [table["accepted"].sum() / table["completion_tokens"].sum() for table in (without, ended)]
    looping = without.filter(pl.col("finish_reason") == "length").height
    return (
        f"{'':>10} {rates[1] / rates[0]:.2f}x as many accepted per token; {lost} of {without['accepted'].sum():,} good "
        f"samples lost ({lost / without['accepted'].sum():.2%}); {looping} ran into max_tokens without abort\n"
    )


if __name__ == "__main__":
    main()
