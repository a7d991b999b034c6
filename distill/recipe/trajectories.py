"""The section of trajectories: who is asked, how completions are sampled, and when it is enough."""

from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from distill.recipe.abort import Abort
from distill.recipe.limits import Limits
from distill.recipe.problems import Table
from distill.recipe.section import Section, Share, exactly_one
from distill.recipe.strategies import Strategies


class Generation(Section):
    """How completions are sampled. The defaults are R1's advice (DeepSeek-R1 model card, usage recommendations)."""

    samples_per_problem: PositiveInt = 4
    temperature: NonNegativeFloat = 0.6
    """0 is greedy, which makes R1-like models loop."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: PositiveInt = 32_768
    """Completion budget, in the model's tokens."""
    instruction: str = "Please reason step by step, and put your final answer within \\boxed{}."
    """Follows the problem in the user's message, after an empty line; empty for none."""
    open_think: bool = True
    """Begin every completion with <think> and a line break, unless the model's own template does."""
    seed: NonNegativeInt = 0
    engine: Literal["auto", "vllm", "transformers", "server"] = "auto"
    """auto takes vLLM where it is installed, and transformers elsewhere; server asks endpoints that speak OpenAI's
    protocol (vllm serve, SGLang, a vendor), where the teacher is a name that they list."""
    engine_args: dict[str, JsonValue] = Field(default={})
    """Arguments of the engine by its own names, such as tensor_parallel_size for vLLM; for server base_urls,
    api_key_env, concurrency (per URL), timeout_s, retries, wait_s, extra_body."""


class Vote(Section):
    """The samples that the head of `verdicts` keeps vote on the answer, as in the filter `majority`: weighted by their
    reward where `reward_score` is in the head. Have `majority` in the chain, to keep those that agree.
    """

    min_lead: NonNegativeFloat = 1.5
    """Least lead over the second most frequent answer, in standard errors of a toss between the two: 1.5 takes 3 votes
    against none or 7 against 2."""


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

    vote: Vote | None = None
    """For problems without a reference: a sample is accepted if it gives its problem's majority answer, once that is
    stable (adaptive consistency, Aggarwal et al. 2023). {} for the default lead."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.accepted > self.max_samples:
            raise ValueError(f"accepted {self.accepted} cannot be reached with max_samples {self.max_samples}")
        if self.vote and self.give_up_below:
            raise ValueError("give one of give_up_below and vote: a vote may be undecided for long, and then be stable")
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
    """Trajectories that somebody else sampled. Needs the columns problem and response, or messages of one question and
    one answer; reference_answer, problem_id, sample, reasoning, finish_reason, completion_tokens, teacher, domain,
    source and upstream_correct are used if there.
    """

    teacher: str = "unknown"
    """Who sampled rows that have no `teacher` column."""
    domain: Literal["math", "code", "choice", "instruction", "general"] = "math"
    """Domain of the rows that have no `domain` column."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        exactly_one(self, "path", "dataset")
        return self


class Track(Section):
    """Where a run is watched while it samples: a point every 30 seconds of problems solved, samples accepted, tokens/s,
    samples accepted per 1,000 tokens and hours left. Give one; its library is installed by you (pip install trackio).
    """

    trackio: Annotated[str, Field(min_length=1)] | None = None
    """A project of trackio: on this machine, or in the Space that TRACKIO_SPACE_ID names."""
    wandb: Annotated[str, Field(min_length=1)] | None = None
    """A project of Weights & Biases; log in beforehand, or set WANDB_MODE=offline."""

    @model_validator(mode="after")
    def _one_tracker(self) -> Self:
        exactly_one(self, "trackio", "wandb")
        return self

    @property
    def library(self) -> Literal["trackio", "wandb"]:
        """Which of them, by the name that it is imported by."""
        return "trackio" if self.trackio is not None else "wandb"

    @property
    def project(self) -> str:
        """The project there."""
        return self.trackio or self.wandb or ""


class Trajectories(Generation, Strategies):
    """Where reasoning comes from: a teacher that is sampled, or an import. Give exactly one of the two."""

    teacher: Teacher | None = None
    """Hub model id, local folder of a model or (for vLLM) of a LoRA adapter, {recipe: …} or {program: …}."""
    revision: str | None = None
    """Commit, tag or branch of a Hub teacher; the commit it resolves to is recorded."""
    until: Until | None = None
    """In place of samples_per_problem: sample each problem until enough samples are accepted."""
    abort: Abort | None = None
    """Ends doomed samples while they are being written: {} for those in a loop or in another language."""
    limits: Limits | None = None
    """Where sampling stops, by tokens, GPU hours or money."""
    draw_on: list[str] = Field(default=[])
    """Folders of earlier runs, such as runs/first: their samples of the same requests (the same teacher, settings,
    problem and number) are taken from them, and not asked for and paid for again."""
    track: Track | None = None
    """A tracker that shows how sampling goes: {trackio: my-project} or {wandb: my-project}. No sample depends on it."""
    import_: Annotated[Import | None, Field(alias="import")] = None

    @property
    def judges(self) -> bool:
        """Whether samples are judged as soon as they have finished."""
        return self.until is not None or self.second_tries

    @property
    def enough(self) -> int:
        """Accepted samples of a problem from which on nothing is tried again."""
        return self.until.accepted if self.until else 1

    @property
    def gpus(self) -> int:
        """How many GPUs the teacher runs on."""
        if self.limits and self.limits.gpus:
            return self.limits.gpus
        parallel = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
        sizes = [self.engine_args.get(name) for name in parallel]
        return prod(size for size in sizes if isinstance(size, int))

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = handler(self)
        if self.until:
            dumped.pop("samples_per_problem", None)  # it has its default; one of the two is given
        return dumped

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        exactly_one(self, "teacher", "import")
        if self.abort and self.import_:
            raise ValueError("abort is for a teacher that is sampled; an import is written already")
        longest = max((level.max_tokens for level in self.effort.values()), default=self.max_tokens)
        if self.abort and (self.abort.think_tokens or 0) >= longest:
            raise ValueError(f"abort.think_tokens {self.abort.think_tokens} is never reached with max_tokens {longest}")
        if self.until and self.import_:
            raise ValueError("until is for a teacher that is sampled; an import has what it has")
        if self.second_tries and self.import_:
            raise ValueError("refine and hint_unsolved are for a teacher that is sampled; an import has what it has")
        if self.second_tries and self.until and self.until.vote:
            raise ValueError("refine and hint_unsolved are for problems that can be verified, until.vote for others")
        if self.second_tries and isinstance(self.teacher, Program):
            raise ValueError("refine and hint_unsolved are for a model; a program does not listen to what it is told")
        if self.until and "samples_per_problem" in self.model_fields_set:
            raise ValueError("give one of samples_per_problem and until")
        if self.effort and "max_tokens" in self.model_fields_set:
            raise ValueError("give one of max_tokens and effort; each level has its own max_tokens")
        return self
