"""One of the processes of a launched training: `python -m distill.student.worker JOB`, started by `launch.py`."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from distill.progress import Advance, Silent
from distill.recipe.student import Arm, Student
from distill.store import write_text
from distill.student.base import read_base
from distill.student.launch import STEP
from distill.student.rows import Rows
from distill.student.sft import train_rows


class Told(Silent):
    """Progress as lines of the output, from the first process only."""

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Advance]:
        """A line for each step."""
        first = os.environ.get("RANK", "0") == "0"

        def advance(units: int, note: str = "", left_s: float | None = None, /) -> None:
            if first:
                sys.stdout.write(f"{STEP}{units} {note}\n")
                sys.stdout.flush()

        yield advance


def main(job: Path) -> None:
    """Train on the job's rows, and write down what came of it."""
    told = json.loads((job / "job.json").read_text(encoding="utf-8"))
    arm, settings = Arm.model_validate(told["arm"]), Student.model_validate(told["settings"])
    table = pl.read_parquet(job / "rows.parquet")
    rows = Rows([ids.to_numpy() for ids in table["ids"]], table["prompt"].to_list())
    start = read_base(told["base"], arm)
    facts = train_rows(
        rows,
        start,
        name=told["name"],
        key=told["key"],
        arm=arm,
        settings=settings,
        out=Path(told["out"]),
        progress=Told(),
    )
    if os.environ.get("RANK", "0") == "0":
        write_text(job / "facts.json", json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
