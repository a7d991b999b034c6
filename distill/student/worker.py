"""One of the processes of a launched training: `python -m distill.student.worker JOB`, started by `launch.py`."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from distill.progress import Advance, Silent
from distill.recipe.student import Arm, Student
from distill.store import write_text
from distill.student import dpo, sft
from distill.student.base import read_base
from distill.student.launch import STEP
from distill.student.rows import Rows


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
    table, start = pl.read_parquet(job / "rows.parquet"), read_base(told["base"], arm)
    common: dict[str, Any] = {"name": told["name"], "key": told["key"], "arm": arm, "settings": settings}
    common |= {"out": Path(told["out"]), "progress": Told()}
    if arm.method == "dpo":
        facts = dpo.train_rows(table, start, **common)
    else:
        rows = Rows([ids.to_numpy(writable=True) for ids in table["ids"]], table["prompt"].to_list())
        facts = sft.train_rows(rows, start, **common)
    if os.environ.get("RANK", "0") == "0":
        write_text(job / "facts.json", json.dumps(facts) + "\n")


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)(Path(sys.argv[1]))  # tells what failed to the process that started this one
