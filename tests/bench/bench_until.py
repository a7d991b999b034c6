"""What sampling until enough is accepted saves, in real runs: the quickstart's teacher on the quickstart's problems.

    make quickstart && .venv/bin/python tests/bench/bench_until.py

Fixed k = 8 is given the same quota: of each problem at most K accepted samples count, since a dataset that takes K of a
problem throws the others away. Keeping everything is printed beside it; those rows are mostly near-copies of answers to
easy problems. Giving up is printed with the coverage that it costs.

Deciding from sample to sample cannot do better at equal coverage: the order in which samples come says nothing of them,
and one that is not drawn may be the one that is missing. What it saves depends on how often the teacher is right: at
K = 2 it is 2.20 times fixed k where 0.71 of the samples are accepted, and 1.97 times where 0.63 are, when 57 % of the
tokens of fixed k are in rejected samples. Without those it would be 4.6 times; had they been ended half-way, 2.8.

What half-written samples tell, counted afterwards on 4,000 samples of the teacher that is right at 0.71: ended where
the mean log-probability of 16 tokens in a row falls below a limit learned from half of the problems (as "Deep Think
with Confidence", arXiv:2508.15260, does), K = 2 rises from 2.20 to 2.26 with 0.7 % of the good samples lost, and to
2.44 with 3 %. Looked at every 64 tokens only, of samples of 112, it is 2.23 and 2.31.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl

from distill.engines import open_engine
from distill.progress import Lines
from distill.recipe.trajectories import Until
from distill.run import open_run
from distill.sampler import sample
from distill.trajectories import accepted_by

MOST = 8
HEADER = f"{'until':<32} {'tokens':>9} {'samples':>8} {'accepted':>9} {'solved':>7} {'per 1k':>7} {'ratio':>6}"


def main() -> None:
    """Sample with every setting and print what each one paid for what it got."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the teacher was made")
    parser.add_argument("--problems", type=int, default=500)
    arguments = parser.parse_args()
    run = open_run("recipes/quickstart.yaml", runs=arguments.runs)
    section = run.recipe.trajectories
    teacher = str(arguments.runs / "tiny_teacher" / "student" / "teacher")
    problems = run.problems("train").head(arguments.problems)
    accepts = accepted_by(run.recipe.head, problems, "teacher", section)

    def drawn(engine, folder: Path, until: Until | None) -> pl.DataFrame:
        settings = section.model_copy(update={"samples_per_problem": MOST})
        table = sample(
            engine, problems, settings, folder, name=str(until), progress=Lines(print), until=until, accepts=accepts
        )
        return table.with_columns(accepted=pl.Series([each.accepted for each in accepts(table)], dtype=pl.Boolean))

    with (
        tempfile.TemporaryDirectory() as folder,
        open_engine("auto", teacher, revision=None, args=section.engine_args, say=print) as engine,
    ):
        fixed = drawn(engine, Path(folder, "fixed"), None)
        print(HEADER)
        print(line(f"fixed k = {MOST}, everything kept", fixed, fixed["accepted"].sum(), None))
        for quota in (1, 2, 4):
            counted = within(fixed, quota)
            base = 1000 * counted / fixed["completion_tokens"].sum()
            print(line(f"fixed k = {MOST}, {quota} a problem", fixed, counted, base))
            for give_up in (0.0, 0.4):
                until = Until(accepted=quota, max_samples=MOST, give_up_below=give_up)
                table = drawn(engine, Path(folder, f"{quota}-{give_up}"), until)
                name = f"accepted {quota}" + (f", give_up_below {give_up}" if give_up else "")
                print(line(name, table, within(table, quota), base))


def within(table: pl.DataFrame, quota: int) -> int:
    """Accepted samples, at most `quota` of a problem."""
    return int(table.group_by("problem_id").agg(pl.col("accepted").sum().clip(upper_bound=quota))["accepted"].sum())


def line(name: str, table: pl.DataFrame, counted: int, base: float | None) -> str:
    """A row of the table; `base` is what fixed k accepts per 1,000 tokens with the same quota."""
    tokens = int(table["completion_tokens"].sum())
    solved = table.group_by("problem_id").agg(pl.col("accepted").any())["accepted"].sum()
    rate = 1000 * counted / tokens
    ratio = f"{rate / base:.2f}x" if base else ""
    return f"{name:<32} {tokens:>9,} {table.height:>8,} {counted:>9,} {solved:>7,} {rate:>7.2f} {ratio:>6}"


if __name__ == "__main__":
    main()
