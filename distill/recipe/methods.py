"""How a student learns besides imitating what was kept: from pairs of a right and a wrong answer, from rewards,
from a teacher's probabilities.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, model_validator

import filters
from distill.recipe.section import Section, Share
from distill.recipe.trajectories import RecipeStudent

Method = Literal["sft", "dpo", "grpo", "on_policy"]


class Dpo(Section):
    """Direct preference optimisation (Rafailov et al. 2023): of two answers to a problem the right one is preferred.

    Chosen is what the chain keeps, rejected what its verifier rejects, nearest in length.
    """

    verifier: str | None = None
    """The filter that finds answers wrong; the chain's first verify_* if not given."""
    pairs_per_problem: PositiveInt = 1
    beta: PositiveFloat = 0.1
    """How strongly the student is held to its base."""
    sft_weight: NonNegativeFloat = 0.0
    """Weight of next-token prediction of the chosen answer beside the preference, which keeps its likelihood from
    falling (Pang et al. 2024)."""


class Rollouts(Section):
    """How a student answers while it is trained. It is asked as the recipe's trajectories are."""

    temperature: PositiveFloat = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_tokens: PositiveInt = 32_768
    """Completion budget; what reaches it has the finish_reason length."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """vllm runs beside the training on the same GPUs, and is then by far the faster; it cannot do so on a CPU."""
    engine_memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of each GPU's memory that vLLM takes."""


class Reward(Section):
    """What one filter says of an answer, as a number."""

    weight: float
    """Factor of it in the sum of rewards; below 0 where a higher score is worse."""
    by: Literal["verdict", "score"] = "verdict"
    """`verdict`: 1 where the filter keeps an answer, 0 where it rejects it. `score`: the score behind the verdict, in
    the filter's unit, such as a reward model's. Where it abstains an answer neither gains
    nor loses: it counts as the mean of the others to the same problem, and not as 0."""
    filter: filters.FilterEntry | None = None
    """The filter with its parameters; the chain's filter of the reward's name, else that with its defaults, if not
    given."""
    domains: list[str] = Field(default=[])
    """Problems that it looks at, by domain; all if empty. It abstains on others."""


def _weight_or_mapping(value: Any) -> str:
    return "<mapping>" if isinstance(value, dict | Section) else "<weight>"


class Grpo(Rollouts):
    """Group relative policy optimisation (DeepSeek-R1, section 2.1): answers that get more reward than others to the
    same problem become likelier.

    Defaults are R1-Zero's where it names them.
    """

    rewards: Annotated[
        dict[
            str,
            Annotated[
                Annotated[float, Tag("<weight>")] | Annotated[Reward, Tag("<mapping>")],
                Discriminator(_weight_or_mapping),
            ],
        ],
        Field(min_length=1),
    ]
    """Name to weight, or to {weight: …, by: score, …}. The names are those of filters of row scope: {verify_math: 1,
    format: 0.2}; with `filter`, any."""
    samples_per_prompt: Annotated[int, Field(ge=2)] = 16
    """Answers to one problem, which are compared with each other. batch_rows is a multiple of it."""
    beta: NonNegativeFloat = 0.001
    """Weight of the KL divergence from the reference, which is the base."""
    clip: PositiveFloat = 0.2
    """How far an answer's likelihood may move on one batch of answers; R1's reasoning RL: 10."""
    steps_per_rollout: PositiveInt = 1
    """Optimizer steps on the answers of one rollout, each on a part of them; R1: 16."""
    loss: Literal["grpo", "dr_grpo", "dapo"] = "grpo"
    """How tokens are averaged: over each answer (grpo), over max_tokens (dr_grpo), over all tokens (dapo)."""
    mask_truncated: bool = False
    """Learn nothing from answers that reach max_tokens."""

    def reward_filters(self, chain: Sequence[filters.Filter]) -> dict[str, tuple[filters.Filter, Reward]]:
        """Name to filter and reward. Raises FilterError for a name that no filter has."""
        named: Mapping[str, filters.Filter] = {filter.name(): filter for filter in chain}
        whole = {name: r if isinstance(r, Reward) else Reward(weight=r) for name, r in self.rewards.items()}
        return {name: (r.filter or named.get(name) or filters.load(name), r) for name, r in whole.items()}


class OnPolicy(Rollouts):
    """On-policy distillation (Agarwal et al. 2023): the student answers, and learns at every token what the teacher
    would have said there.
    """

    teacher: str | RecipeStudent | None = None
    """Hub model id, local folder or {recipe: …}, with the student's tokenizer; the trajectories' teacher if not
    given."""
    revision: str | None = None
    """Commit, tag or branch of a Hub teacher that is named here."""
    beta: Share = 1.0
    """0 is the forward KL divergence, which covers all the teacher may say; 1 the reverse, which seeks what it likes
    best; between them the generalised Jensen-Shannon divergence."""


class Own(Section):
    """Settings of one student in place of those of all."""

    epochs: PositiveFloat | None = None
    steps: PositiveInt | None = None
    batch_rows: PositiveInt | None = None
    device_batch_rows: PositiveInt | None = None
    device_batch_tokens: PositiveInt | None = None
    optimizer: Literal["adamw", "muon"] | None = None
    learning_rate: PositiveFloat | None = None
    muon_learning_rate: PositiveFloat | None = None
    max_grad_norm: NonNegativeFloat | None = None
    schedule: Literal["cosine", "linear", "constant"] | None = None
    final_learning_rate_share: Share | None = None
    warmup_share: Share | None = None
    save_steps: PositiveInt | None = None


class Methods(Section):
    """By which method a student is trained, and the method's own section."""

    method: Method = "sft"
    """`sft` imitates kept rows; `dpo` prefers them to wrong ones; `grpo` is rewarded by filters for its own answers;
    `on_policy` is told by a teacher what to say in them."""
    dpo: Dpo | None = None
    """For method dpo."""
    grpo: Grpo | None = None
    """For method grpo."""
    on_policy: OnPolicy | None = None
    """For method on_policy."""
    own: Own = Field(default=Own())
    """Settings of this student alone, such as {learning_rate: 1.0e-6}; the others are those of all."""

    @model_validator(mode="after")
    def _of_the_method(self) -> Self:
        for name in ("dpo", "grpo", "on_policy"):
            if getattr(self, name) is not None and self.method != name:
                raise ValueError(f"{name}: {{…}} is for method: {name}, found method: {self.method}")
        if self.method == "grpo" and self.grpo is None:
            raise ValueError("method: grpo needs rewards, such as grpo: {rewards: {verify_math: 1, format: 0.2}}")
        return self
