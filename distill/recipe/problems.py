"""The sections that name rows: tables of others, and problems."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from distill.recipe.section import Section, exactly_one


class Table(Section):
    """Rows that somebody else made: a local file, or a dataset on the Hub."""

    path: str | None = None
    """Local .jsonl or .parquet file."""
    dataset: str | None = None
    """Hub dataset id, such as openai/gsm8k."""
    config: str | None = None
    """Configuration of the Hub dataset; its default if not given."""
    split: str = "train"
    """Split of the Hub dataset."""
    revision: str | None = None
    """Commit, tag or branch of the Hub dataset; the commit it resolves to is recorded."""
    columns: dict[str, str] = Field(default={})
    """Our column name to theirs, for example {reference_answer: answer}. Columns not named keep their names."""
    limit: PositiveInt | None = None
    """First rows only; all of them if not given."""


class Arithmetic(Section):
    """Generated multi-step arithmetic with known answers, for runs without a network."""

    count: PositiveInt
    """Problems to sample trajectories for."""
    steps: Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)] = (1, 4)
    """Fewest and most operations in a problem."""
    seed: int = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.steps[0] > self.steps[1]:
            raise ValueError(f"steps are [fewest, most], found {list(self.steps)}")
        return self


class Problems(Table):
    """What the teacher is asked. Give exactly one of path, dataset and arithmetic."""

    arithmetic: Arithmetic | None = None
    held_out: NonNegativeInt = 0
    """Problems kept apart for the report. Which ones is decided by a hash of the problem's text, so a text is never on
    both sides, whatever its order or how often it occurs."""
    domain: Literal["math", "code", "choice", "instruction", "general"] = "math"
    """Domain of the rows that have no `domain` column."""
    extract_reference: bool = False
    """The reference_answer column holds worked solutions (GSM8K, MATH): take the final answer out of each."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "path", "dataset", "arithmetic")
        return self
