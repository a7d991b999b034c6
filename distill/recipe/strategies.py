"""What a teacher is shown and asked beyond the problem itself. It changes samples, and never the problem of a row."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag, field_validator

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


class Continue(Section):
    """A truncated sample is gone on with from where it was cut: its tokens are not paid for twice."""

    continue_: Annotated[PositiveInt, Field(alias="continue")]
    """Budget of the second part, in the model's tokens. A server must know continue_final_message, as vLLM and SGLang
    do; another one is refused before anything is sampled."""
    then: Literal["judge", "keep_out"] = "judge"
    """What becomes of a sample whose second part is cut as well."""


def _kind_of_on_length(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<continue>"


OnLength = Annotated[
    Annotated[Literal["judge", "keep_out"], Tag("<word>")] | Annotated[Continue, Tag("<continue>")],
    Discriminator(_kind_of_on_length),
]


def _kind_of_examples(value: Any) -> str:
    return "<path>" if isinstance(value, str) else "<list>"


Examples = Annotated[
    Annotated[str, Tag("<path>")] | Annotated[list[Example], Tag("<list>")], Discriminator(_kind_of_examples)
]


_MEND = {
    "verdict": "Find out what is wrong.",
    "itself": "Check your solution as a strict examiner would, step by step: the reasoning, the calculations and the "
    "final answer. Say what is wrong.",
}
_AFRESH = (
    "Then solve the problem again from the beginning. Write for a reader who has not seen your first solution: do not "
    "mention it, nor this check."
)


class Refine(Section):
    """Rejected samples are shown to the teacher again, to be mended (Self-Refine, Madaan et al. 2023).

    For problems whose plain samples brought fewer accepted ones than `until` asks for, or none without it. Each mended
    sample is a trajectory of its own: method refine, with the number of the sample that it mends as parent. The teacher
    sees the response of that one without its reasoning. A sample is mended if it was rejected by the filters at the
    head of `verdicts` and has ended by itself; what they could not decide is not.
    """

    rounds: Annotated[int, Field(ge=1, le=100)] = 1
    """How often a sample and what mends it are shown again."""
    by: Literal["verdict", "itself"] = "verdict"
    """verdict tells the teacher which check rejected it and why, but never evidence that holds the reference answer;
    itself asks it to criticise its own solution and tells it nothing."""
    instruction: str | None = None
    """What the teacher is asked after its solution; by default to find what is wrong and to solve the problem anew
    without a word of the first solution."""

    def asks(self, complaint: str) -> str:
        """The user's turn after a solution of which a check complains."""
        asks = f"{_MEND[self.by]} {_AFRESH}" if self.instruction is None else self.instruction
        return f"{complaint}\n\n{asks}" if self.by == "verdict" else asks


class HintUnsolved(Section):
    """The reference answer as a hint, for problems of which no sample was accepted (STaR, Zelikman et al. 2022).

    Such samples are trajectories of method hint, judged as all others; the hint is no part of a dataset row. Reasoning
    that was led by the answer may be of less worth: the card counts it, and rows say so in the column `method`.
    """

    samples: PositiveInt = 1
    """Most samples of a problem, one after the other until enough are accepted."""
    instruction: str = (
        "The final answer is {answer}. Derive it step by step, as if you had not been told: do not mention that you "
        "know it."
    )
    """Follows the problem; {answer} stands for its reference answer. Problems without one get no hint."""

    @field_validator("instruction")
    @classmethod
    def _hints(cls, instruction: str) -> str:
        if "{answer}" not in instruction:
            raise ValueError("without {answer} there is no hint; write {answer} where the reference answer is to stand")
        return instruction


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

    on_length: OnLength = "judge"
    """What becomes of a sample that max_tokens has cut. judge leaves it to the filters, of which `format` rejects it as
    truncated. keep_out makes no trajectory of it: it is neither right nor wrong, counts as drawn for `until` and not
    for a pass rate, and its number is on the card. {continue: 32768} goes on with it for so many tokens more."""

    refine: Refine | None = None
    """Rejected samples are mended: {} once, by what the filters said of them."""
    hint_unsolved: HintUnsolved | None = None
    """The reference answer as a hint for problems of which nothing was accepted: {} for one sample of each."""

    @property
    def second_tries(self) -> bool:
        """Whether more is asked of a problem whose plain samples did not bring enough."""
        return self.refine is not None or self.hint_unsolved is not None

    @property
    def continue_tokens(self) -> int:
        """Budget of the second part of a truncated sample; 0 where there is none."""
        return self.on_length.continue_ if isinstance(self.on_length, Continue) else 0

    @property
    def keeps_out(self) -> bool:
        """Whether samples that are truncated in the end become no trajectories."""
        return (self.on_length.then if isinstance(self.on_length, Continue) else self.on_length) == "keep_out"

    @property
    def shown(self) -> list[Example]:
        """The examples; those of a file must have been read."""
        if isinstance(self.examples, str):
            raise TypeError(f"the examples in {self.examples} have not been read")
        return self.examples

    def instruction_at(self, level: str | None, instruction: str) -> str:
        """What follows the problem at a level of effort, or at none."""
        return "\n".join(filter(None, (instruction, self.effort[level].instruction if level else "")))
