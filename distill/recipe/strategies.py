"""What a teacher is shown and asked beyond the problem itself. It changes samples, and never the problem of a row."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, PositiveInt, Tag

from distill.recipe.section import Section


class Example(Section):
    """A solved problem that the teacher is shown before the question, as a turn of the user and one of the assistant.

    It is asked with the instruction of the effort level that it is shown at. Never part of a dataset row.
    """

    problem: Annotated[str, Field(min_length=1)]
    reasoning: str | None = None
    """Goes between think tags. Many templates (those of Qwen3 and the DeepSeek-R1 distills) delete it from earlier
    turns, which stops the run before anything is sampled."""
    response: Annotated[str, Field(min_length=1)]


class Level(Section):
    """How much reasoning is asked for."""

    max_tokens: PositiveInt
    """Completion budget, in the model's tokens."""
    instruction: str = ""
    """Follows the general instruction on a line of its own, for example: Think briefly."""


def _kind_of_examples(value: Any) -> str:
    return "<path>" if isinstance(value, str) else "<list>"


Examples = Annotated[
    Annotated[str, Tag("<path>")] | Annotated[list[Example], Tag("<list>")], Discriminator(_kind_of_examples)
]


class Strategies(Section):
    """What only the making of trajectories knows; a report asks plainly."""

    system: str = ""
    """A system prompt for the teacher, such as one that asks for reflection and verification. No dataset row has it.
    None by default, as R1 advises."""
    examples: Examples = Field(default=[])
    """Solved problems shown before the question (few-shot), in this order, or the path of a JSONL file of them. A
    problem that is also an example is not sampled; an example that is a held-out problem is an error."""
    effort: dict[str, Level] = Field(default={})
    """Name to level, such as short, medium and long: the samples of a problem take them in turn, beginning with one
    that a hash chooses. Each row names its level in the column `effort`; see also dataset.effort_in_prompt."""

    @property
    def shown(self) -> list[Example]:
        """The examples; those of a file must have been read."""
        if isinstance(self.examples, str):
            raise TypeError(f"the examples in {self.examples} have not been read")
        return self.examples

    def instruction_at(self, level: str | None, instruction: str) -> str:
        """What follows the problem at a level of effort, or at none."""
        return "\n".join(filter(None, (instruction, self.effort[level].instruction if level else "")))
