"""A run's folder for people: open it by its name and look. Reads only; `distill.store.Run` is what stages write to.

It needs no recipe file: what made each artifact is recorded in the run.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import polars as pl

from distill import store
from distill.look.judged import Judged
from distill.look.rows import Rows
from distill.recipe import Recipe
from distill.store import KEY, LABELS, RunError, find_run
from filters import Chain, Filter
from filters._display import Explanation
from filters._labels import LABEL


class Run(Judged):
    """A run that is there: `Run("quickstart")`, or by its folder.

    Raises RunError where there is no such run, or it lacks what is asked for, with the command that makes it.
    """

    def __init__(self, run: str | Path, *, runs: str | Path = "runs") -> None:
        self.folder = find_run(Path(run), Path(runs))
        self.name = self.folder.name

    @cached_property
    def stored(self) -> store.Run:
        """The run as stages know it, with the recipe as it was recorded."""
        return store.Run(self.name, self.folder, store.recorded_recipe(self.folder))

    @property
    def problems(self) -> pl.LazyFrame:
        """Every problem, with its split."""
        return self._scan("problems", "problems.parquet")

    @property
    def trajectories(self) -> pl.LazyFrame:
        """Every trajectory sampled or imported."""
        return self._scan("trajectories", "trajectories", "trajectories.parquet")

    @property
    def verdicts(self) -> pl.LazyFrame:
        """The verdict columns of every trajectory, and its key."""
        return self._scan("verdicts", "verdicts", "verdicts.parquet")

    @property
    def dataset(self) -> pl.LazyFrame:
        """The kept rows as they are published."""
        return self._scan("dataset", "dataset", "default", "*.parquet")

    @property
    def labels(self) -> pl.LazyFrame:
        """What people said of rows in `distill view`; no rows where nobody did."""
        path = self.folder / LABELS
        return pl.scan_parquet(path) if path.is_file() else pl.LazyFrame(schema=LABEL)

    def labelled(self, label: Literal["good", "bad"]) -> Rows:
        """What a person labelled so."""
        keys = self.labels.filter(pl.col("label") == label).select(KEY).collect()
        return Rows(f"{keys.height:,} rows labelled {label}", keys, self._read)

    @cached_property
    def chain(self) -> Chain:
        """The filters that judged. Filters of your own must be there: `filters.add_folder` first."""
        return Chain(self.stored.recipe.verdicts)

    def explain(self, problem_id: str, sample: int) -> Explanation:
        """One trajectory and what each filter said of it, from the stored verdicts."""
        for row in self.problem(problem_id):
            if row.row["sample"] == sample:
                return row
        raise RunError(f"{self.folder} has no sample {sample} of the problem {problem_id!r}")

    @property
    def _tables(self) -> Sequence[pl.LazyFrame]:
        return self.trajectories, self.verdicts

    @property
    def _judges(self) -> Sequence[Filter]:
        return self.chain.filters

    def _scan(self, stage: str, *parts: str) -> pl.LazyFrame:
        path = self.folder.joinpath(*parts)
        if not list(path.parent.glob(path.name)):
            raise RunError(f"{path} is not there: run `distill {stage}` with the recipe of {self.name} first")
        return pl.scan_parquet(path)

    def __repr__(self) -> str:
        made = [name for name in Recipe.model_fields if self.stored.manifest(name)]
        return f"Run({str(self.folder)!r}): {', '.join(made)}"
