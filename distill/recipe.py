"""A recipe: what a run does, one section per stage. Every field is a key of the YAML, and nothing else is.

Does not read files: `recipe_file.py` turns a YAML file into a `Recipe`, or into errors with their line and column.
Relative paths are relative to the folder in which the command is run, as in a Makefile.
"""

import difflib
import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

import filters

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, 0 to 1."""


Place = tuple[str | int, ...]
"""Keys and list positions from the root of a recipe to a value."""


class MisfitError(ValueError):
    """Sections that are right by themselves do not fit together: what is wrong at which place."""

    def __init__(self, problems: list[tuple[Place, str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, place))}: {message}" for place, message in problems))
        self.problems = problems


class Section(BaseModel):
    """A frozen group of keys; an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


# Tags of unions stand in angle brackets, so that nobody takes them for keys in the place of an error.
def _mapping_or_text(value: Any) -> str:
    return "<text>" if isinstance(value, str) else "<mapping>"


# --- problems ---------------------------------------------------------------------------------------------------------


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
    columns: dict[str, str] = {}
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
        _exactly_one(self, "path", "dataset", "arithmetic")
        return self


# --- trajectories -----------------------------------------------------------------------------------------------------


class Generation(Section):
    """How completions are sampled. The defaults are R1's advice (DeepSeek-R1 model card, usage recommendations)."""

    samples_per_problem: PositiveInt = 4
    temperature: NonNegativeFloat = 0.6
    """0 is greedy, which makes R1-like models loop."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: PositiveInt = 32_768
    """Completion budget, in the model's tokens."""
    instruction: str = "Please reason step by step, and put your final answer within \\boxed{}."
    """Follows the problem in the user's message, after an empty line; empty for none. There is no system prompt."""
    open_think: bool = True
    """Begin every completion with <think> and a line break, unless the model's own template does."""
    seed: NonNegativeInt = 0
    engine: Literal["auto", "vllm", "transformers"] = "auto"
    """auto takes vLLM where it is installed, and transformers elsewhere."""
    engine_args: dict[str, JsonValue] = {}
    """Arguments of the engine by its own names, such as tensor_parallel_size for vLLM."""


class Until(Section):
    """Sample a problem until enough of its samples are accepted: by the filters of row scope at the head of `verdicts`,
    as each sample finishes. What a problem does not need is not paid for.
    """

    accepted: PositiveInt
    """A problem is settled when this many of its samples are accepted."""
    max_samples: PositiveInt
    """Most samples of a problem."""
    give_up_below: Share = 0.0
    """A problem is settled when its acceptance rate is below this with a probability of 95 %, by a Beta posterior on a
    uniform prior. Saves tokens on exactly the hard problems; 0 gives none up."""
    ahead: NonNegativeInt = 0
    """Samples of a problem in flight beyond those that are surely needed: keeps a large GPU busy with few problems, and
    pays for samples that may turn out not to count."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.accepted > self.max_samples:
            raise ValueError(f"accepted {self.accepted} cannot be reached with max_samples {self.max_samples}")
        return self


class RecipeStudent(Section):
    """The student of another recipe, which is run first if its student is missing or out of date."""

    recipe: str
    """Path of that recipe."""
    arm: str | None = None
    """Which of its students; may be left out where it has one."""


class Program(Section):
    """A program that writes worked solutions, mistakes included, where no model can be had."""

    program: Literal["arithmetic"]
    mistake_share: Share = 0.08
    """Share of steps that first go wrong and are then redone."""


def _kind_of_teacher(value: Any) -> str:
    if isinstance(value, str):
        return "<model>"
    keys = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Section) else {}
    return "<program>" if "program" in keys else "<recipe>"


Teacher = Annotated[
    Annotated[str, Tag("<model>")] | Annotated[RecipeStudent, Tag("<recipe>")] | Annotated[Program, Tag("<program>")],
    Discriminator(_kind_of_teacher),
]


class Import(Table):
    """Trajectories that somebody else sampled. Needs the columns problem and response; reference_answer, problem_id,
    sample, reasoning, finish_reason, completion_tokens, teacher, domain, source and upstream_correct are used if there.
    """

    teacher: str = "unknown"
    """Who sampled rows that have no `teacher` column."""
    domain: Literal["math", "code", "choice", "instruction", "general"] = "math"
    """Domain of the rows that have no `domain` column."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        _exactly_one(self, "path", "dataset")
        return self


class Trajectories(Generation):
    """Where reasoning comes from: a teacher that is sampled, or an import. Give exactly one of the two."""

    teacher: Teacher | None = None
    """Hub model id, local model folder, {recipe: …} or {program: …}."""
    revision: str | None = None
    """Commit, tag or branch of a Hub teacher; the commit it resolves to is recorded."""
    until: Until | None = None
    """In place of samples_per_problem: sample each problem until enough samples are accepted."""
    import_: Annotated[Import | None, Field(alias="import")] = None

    @property
    def asked_instruction(self) -> str:
        """What followed the problem in the teacher's prompt; empty for an import, of which it is not known."""
        return "" if self.import_ else self.instruction

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        _exactly_one(self, "teacher", "import")
        if self.until and self.import_:
            raise ValueError("until is for a teacher that is sampled; an import has what it has")
        if self.until and "samples_per_problem" in self.model_fields_set:
            raise ValueError("give one of samples_per_problem and until")
        return self


# --- dataset ----------------------------------------------------------------------------------------------------------


class Dataset(Section):
    """The published form of the kept rows."""

    license: str
    """Licence of the rows: an identifier that the Hub knows, or `other`. Never guessed."""
    title: str | None = None
    """Name on the card; the recipe's name if not given."""


# --- student ----------------------------------------------------------------------------------------------------------


class Scratch(Section):
    """A small model with random weights, and a tokenizer trained on the run's own rows."""

    architecture: Literal["qwen2", "llama"]
    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt | None = None
    """As many as heads if not given."""
    intermediate_size: PositiveInt | None = None
    """Three times the hidden size if not given."""
    vocab_size: PositiveInt = 512
    """Most entries the trained tokenizer may have; bytes and special tokens included."""
    max_positions: PositiveInt = 1024

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self


class Arm(Section):
    """One student: what it starts from and which rows it sees."""

    base: Annotated[
        Annotated[str, Tag("<text>")] | Annotated[Scratch, Tag("<mapping>")],
        Discriminator(_mapping_or_text),
    ]
    """Hub model id, local model folder, or {architecture: …} for one from scratch."""
    revision: str | None = None
    """Commit, tag or branch of a Hub base."""
    end_token: str | None = None
    """Token that ends a turn in the base's chat template, where the tokenizer's own end token is another one, as in
    Qwen2.5 bases: <|im_end|>. Saved with the student."""
    rows: str = "kept"
    """`kept` for the dataset; `sampled` for every trajectory, unfiltered; or a filter's name for those that had
    survived the chain up to and including it."""


class Student(Section):
    """Fine-tuning of one or more students with the same settings."""

    arms: Annotated[dict[str, Arm], Field(min_length=1)]
    """Name to student. Names are folder names."""
    epochs: PositiveFloat = 3.0
    """Passes over the rows; ignored if steps is given."""
    steps: PositiveInt | None = None
    """Optimizer steps, so that arms with unequal rows are trained equally long."""
    batch_rows: PositiveInt = 64
    """Rows per optimizer step, over all devices."""
    device_batch_rows: PositiveInt | None = None
    """Rows per forward pass on one device; the rest is accumulated. All of batch_rows if not given."""
    max_length_tokens: PositiveInt = 32_768
    """Rows longer than this are dropped and counted, never cut."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon takes torch's Muon for the weight matrices and AdamW for the rest."""
    learning_rate: PositiveFloat = 1.0e-4
    """Peak rate of AdamW."""
    muon_learning_rate: PositiveFloat = 0.02
    """Peak rate of Muon."""
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: NonNegativeFloat = 1.0
    """Longer gradients are shortened to this; 0 leaves them as they are."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final_learning_rate_share: Share = 0.1
    """Where cosine and linear schedules end, as a share of the peak; R1 decays to 1/10."""
    warmup_share: Share = 0.03
    """Share of the steps in which the rate rises."""
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    save_steps: PositiveInt = 200
    """Steps between checkpoints; an interrupted training goes on from the last one."""
    seed: NonNegativeInt = 0


# --- report -----------------------------------------------------------------------------------------------------------


class Report(Generation):
    """What the students have learned, on the held-out problems, judged by the recipe's own verifier."""

    bases: bool = True
    """Also measure what the students started from."""


class Recipe(Section):
    """Sections in the order in which they run; a run ends where the recipe does."""

    problems: Problems | None = None
    """Left out where trajectories are imported."""
    trajectories: Trajectories
    verdicts: Annotated[list[filters.FilterEntry], Field(min_length=1)]
    """Filters in order; each sees only what those before it kept."""
    dataset: Dataset | None = None
    student: Student | None = None
    report: Report | None = None

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if misfits := list(_misfits(self)):
            raise MisfitError(misfits)
        return self

    @property
    def verifier(self) -> filters.Filter | None:
        """The chain's first verify_* filter, or the any_of or by_domain that holds it.

        It labels samples right or wrong, in verdicts and in the report.
        """
        for filter in self.verdicts:
            if any(leaf.name().startswith("verify_") for leaf in filter.leaves):
                return filter
        return None

    @property
    def head(self) -> list[filters.Filter]:
        """The filters of row scope that the chain begins with: they can judge a sample as soon as it has finished."""
        return list(takewhile(lambda filter: not filter.wide, self.verdicts))


def _misfits(recipe: Recipe) -> Iterator[tuple[Place, str]]:
    names = [filter.name() for filter in recipe.verdicts]
    for position, name in enumerate(names):
        if name in names[:position]:
            yield ("verdicts", position), f"{name} stands in the chain already; each filter may stand there once"
    if recipe.problems is None and recipe.trajectories.import_ is None:
        yield ("problems",), "required, but not there: a teacher needs problems; only an import brings its own"
    if recipe.problems is not None and recipe.trajectories.import_ is not None:
        yield ("problems",), "an import brings its own problems; leave one of problems and trajectories.import out"
    if recipe.trajectories.until and not recipe.head:
        yield ("trajectories", "until"), "needs a filter of row scope at the head of verdicts, to accept samples by"
    if recipe.student and not recipe.dataset:
        yield ("student",), "needs a dataset section, since students are trained on the dataset"
    if recipe.report and not (recipe.problems and recipe.problems.held_out):
        yield ("report",), "needs problems.held_out of at least 1: the problems that it measures on"
    if recipe.report and not recipe.verifier:
        yield ("report",), "needs a verify_* filter in verdicts, to judge answers with"
    for name, arm in (recipe.student.arms if recipe.student else {}).items():
        yield from _arm_misfits(name, arm, names)


def _arm_misfits(name: str, arm: Arm, filter_names: list[str]) -> Iterator[tuple[Place, str]]:
    place: Place = ("student", "arms", name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        yield place, "an arm's name is a folder's: up to 64 letters, digits, '.', '_' and '-'"
    choices = ["kept", "sampled", *filter_names]
    if arm.rows not in choices:
        close = difflib.get_close_matches(arm.rows, choices, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(choices)}"
        yield (*place, "rows"), f"{arm.rows!r} names neither rows nor a filter of the chain; {hint}"


def _exactly_one(section: BaseModel, *names: str) -> None:
    values = section.model_dump(include={"import_" if name == "import" else name for name in names}, by_alias=True)
    given = [name for name in names if values[name] is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}; found {' and '.join(given) or 'none of them'}")
