"""One of the processes of a launched training: `python -m distill.student.worker JOB`, started by `launch.py`."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

import filters
from distill.progress import Advance, Silent
from distill.recipe.methods import Method
from distill.recipe.student import Arm, Student
from distill.store import write_text
from distill.student import dpo, grpo, on_policy, sft
from distill.student.base import read_base
from distill.student.launch import STEP


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


METHODS: dict[Method, Callable[..., dict[str, Any]]] = {
    "sft": sft.train_table,
    "dpo": dpo.train_rows,
    "grpo": grpo.train_rows,
    "on_policy": on_policy.train_rows,
}


def main(job: Path) -> None:
    """Train on the job's rows, and write down what came of it."""
    from accelerate import PartialState

    told = json.loads((job / "job.json").read_text(encoding="utf-8"))
    for folder in told["filters"]:
        filters.add_folder(folder)
    arm, settings = Arm.model_validate(told["arm"]), Student.model_validate(told["settings"])
    table, start = pl.read_parquet(job / "rows.parquet"), read_base(told["base"], arm)
    common: dict[str, Any] = {"name": told["name"], "key": told["key"], "arm": arm, "settings": settings}
    common |= {"out": Path(told["out"]), "progress": Told()}
    facts = METHODS[arm.method](table, start, **common)
    if os.environ.get("RANK", "0") == "0":
        write_text(job / "facts.json", json.dumps(facts) + "\n")
    # Not left to the end of the interpreter, at which threads of the group would still run.
    PartialState().destroy_process_group()


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)(Path(sys.argv[1]))  # tells what failed to the process that started this one
