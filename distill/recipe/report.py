"""The section of the report: on which problems models are measured, how often, and beside which published figures."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, PositiveInt, Tag, model_validator

import filters
from distill.recipe.problems import Table
from distill.recipe.section import Section, Share, exactly_one
from distill.recipe.trajectories import Generation

Named = Literal["gsm8k", "math500", "aime24", "aime25", "gpqa_diamond", "ifeval", "humaneval"]
"""Benchmarks whose dataset, columns and verifier `distill.report.benchmarks` knows."""


class Benchmark(Table):
    """Problems to measure on: a benchmark by its name, or one of your own by path or dataset.

    A file of a named benchmark has the columns of its dataset, or `problem` and `reference_answer` (or `answer`).
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    """One of gsm8k, math500, aime24, aime25, gpqa_diamond, ifeval and humaneval, of which everything else is known, or
    a name of your own."""
    split: str = "test"
    """Split of the Hub dataset; that of a named benchmark is known."""
    domain: Literal["math", "code", "choice", "instruction"] = "math"
    """Says which verifier judges, unless one is named. Of a named benchmark it is known."""
    extract_reference: bool = False
    """References are worked solutions: take the final answer out of each."""
    verifier: filters.FilterEntry | None = None
    """Filter that judges the answers; verify_math, verify_code, verify_choice or verify_instructions by the domain."""
    samples_per_problem: PositiveInt | None = None
    """As the report's if not given."""
    instruction: str | None = None
    """Follows each problem; if not given, the report's for mathematics, one that asks for a letter for choices, and
    none for code and instructions."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.name not in get_args(Named):
            exactly_one(self, "path", "dataset")
        elif self.path is not None and self.dataset is not None:
            raise ValueError("give a path or a dataset, found both")
        return self


def _text_or_mapping(value: object) -> str:
    return "<name>" if isinstance(value, str) else "<benchmark>"


BenchmarkEntry = Annotated[
    Annotated[Named, Tag("<name>")] | Annotated[Benchmark, Tag("<benchmark>")], Discriminator(_text_or_mapping)
]


class Published(Section):
    """What somebody has published of a model, to compare with. Taken as exact: it has no interval."""

    name: str
    """The model."""
    source: str | None = None
    """Where the figures stand, such as arXiv 2501.12948, table 6."""
    scores: Annotated[dict[str, dict[str, Share]], Field(min_length=1)]
    """Benchmark (or held_out) to figures, which are shares: {aime24: {pass@1: 0.289, cons@64: 0.527}}."""

    @model_validator(mode="after")
    def _known_figures(self) -> Self:
        for benchmark, figures in self.scores.items():
            if "pass@1" not in figures:
                raise ValueError(f"scores of {benchmark}: expected pass@1 among them, found {', '.join(figures)}")
        return self


class Report(Generation):
    """What the students have learned: on the held-out problems, by the recipe's own verifier, and on benchmarks."""

    samples_per_problem: PositiveInt | None = None  # type: ignore[assignment]
    """Samples of each problem; if not given, as many as R1's authors took: 64 for up to 100 problems, 8 for up to 200,
    4 for more. Fewer make wider intervals."""
    bases: bool = True
    """Also measure what the students started from."""
    benchmarks: list[BenchmarkEntry] = Field(default=[])
    """Names, such as [aime24, math500], or mappings."""
    published: list[Published] = Field(default=[])
    """Figures of others, for the same benchmarks."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = ["held_out", *self.named]
        for place, name in enumerate(names):
            if name in names[:place]:
                raise ValueError(f"benchmarks: {name} stands there already; give each a name of its own")
        for published in self.published:
            if unknown := [name for name in published.scores if name not in names]:
                raise ValueError(f"published: {', '.join(unknown)} is none of {', '.join(names)}")
        return self

    @property
    def named(self) -> list[str]:
        """The names of the benchmarks."""
        return [entry if isinstance(entry, str) else entry.name for entry in self.benchmarks]
