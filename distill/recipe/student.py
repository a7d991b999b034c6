"""The section of students: what each starts from, which rows it sees, and how it is trained."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from distill.recipe.methods import Methods
from distill.recipe.section import Section, Share
from distill.recipe.trajectories import RecipeStudent


# Tags of unions stand in angle brackets, so that nobody takes them for keys in the place of an error.
def _kind_of_base(value: Any) -> str:
    if isinstance(value, str):
        return "<text>"
    return "<recipe>" if isinstance(value, RecipeStudent) or "recipe" in dict(value) else "<mapping>"


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


class Rope(Section):
    """How far the student's rotary positions reach, where that is not as far as its base's."""

    max_positions: PositiveInt
    """Tokens that a row and an answer may have together. Saved with the student."""
    theta: PositiveFloat | None = None
    """Base of the rotary frequencies; the base model's if not given. OpenR1 gives Qwen2.5-Math 300,000."""
    type: Literal["default", "linear", "dynamic", "yarn"] | None = None
    """How frequencies are stretched; as the base has it if not given."""
    factor: PositiveFloat | None = None
    """How far they are stretched; max_positions over the base's if not given. Needs a type other than default."""

    @model_validator(mode="after")
    def _stretched(self) -> Self:
        if self.factor is not None and self.type in (None, "default"):
            raise ValueError("factor needs a type that stretches: linear, dynamic or yarn")
        return self


class Lora(Section):
    """Low-rank adapters in place of all weights (LoRA, arXiv 2106.09685). The student is saved with them merged in."""

    rank: PositiveInt = 32
    alpha: PositiveFloat = 64.0
    """What an adapter adds is multiplied by alpha / rank."""
    dropout: Share = 0.0
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Names of the modules that get an adapter, such as [q_proj, v_proj]; all linear ones but the output layer."""
    quantize: Literal["nf4"] | None = None
    """The frozen weights in four bits (QLoRA, arXiv 2305.14314). Needs bitsandbytes."""


class Launch(Section):
    """Training by several processes, one a device, started by `accelerate launch`."""

    devices: PositiveInt
    """On each machine."""
    machines: PositiveInt = 1
    """With more than one, the command that the others have to run is printed."""
    shard: Literal["none", "fsdp2", "zero3"] = "fsdp2"
    """How weights, gradients and optimizer are shared out: not at all, by PyTorch, or by DeepSpeed, for the
    methods sft and dpo."""
    context_parallel: PositiveInt = 1
    """Devices that share each row, for rows too long for one. For method sft; needs fsdp2, and goes without packing."""
    offload: bool = False
    """Weights and optimizer in main memory."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.devices * self.machines % self.context_parallel:
            raise ValueError(f"context_parallel {self.context_parallel} does not divide all devices")
        if self.context_parallel > 1 and self.shard != "fsdp2":
            raise ValueError("context_parallel needs shard: fsdp2")
        if self.offload and self.shard == "none":
            raise ValueError("offload needs shard: fsdp2 or zero3")
        return self

    @property
    def batches(self) -> int:
        """Forward passes that run at the same time, each on rows of its own."""
        return self.devices * self.machines // self.context_parallel


class Arm(Methods):
    """One student: what it starts from, which rows it sees, and how it learns from them."""

    base: Annotated[
        Annotated[str, Tag("<text>")]
        | Annotated[Scratch, Tag("<mapping>")]
        | Annotated[RecipeStudent, Tag("<recipe>")],
        Discriminator(_kind_of_base),
    ]
    """Hub model id, local model folder, {recipe: …} for another recipe's student, or {architecture: …} for one from
    scratch."""
    revision: str | None = None
    """Commit, tag or branch of a Hub base."""
    end_token: str | None = None
    """Token that ends a turn in the base's chat template, where the tokenizer's own end token is another one, as in
    Qwen2.5 bases: <|im_end|>. Saved with the student, whose answers then stop at it."""
    pad_token: str | None = None
    """Token that fills short rows, where the tokenizer's own is the end token, which a trainer might then not learn.
    A tokenizer without one gets one of its reserved tokens."""
    chat_template: str | None = None
    """In place of the base's: the name of one that TRL ships, such as deepseek_r1_distill_training, or a .jinja file.
    Saved with the student."""
    rope: Rope | None = None
    """Positions for rows longer than the base's, such as Qwen2.5-Math's 4,096."""
    license: str | None = None
    """Licence of the student: an identifier that the Hub knows, or `other`. Never guessed, though those of base and
    rows bear on it; needed to push."""
    rows: str = "kept"
    """`kept` for the dataset; `sampled` for every trajectory, unfiltered; or a filter's name for those that had
    survived the chain up to and including it. grpo and on_policy take the problems of these rows; with `problems`,
    which is then the default, all that are not held out."""

    @model_validator(mode="before")
    @classmethod
    def _all_problems(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("method") in ("grpo", "on_policy"):
            return {"rows": "problems", **given}
        return given


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
    """At most so many rows per forward pass on one device; the rest is accumulated. As many as fit if not given."""
    device_batch_tokens: PositiveInt | None = None
    """At most so many tokens per forward pass on one device, padding included; max_length_tokens, or 16,384 where that
    is less, if not given."""
    packing: bool | Literal["auto"] = "auto"
    """Rows of one forward pass end to end, without padding. No row is cut or sees another. `auto` packs where
    FlashAttention is; elsewhere it would be slow, and rows of like length are padded together."""
    max_length_tokens: PositiveInt = 32_768
    """Prompt and completion; what happens to longer rows is over_length."""
    over_length: Literal["drop", "error", "split"] = "drop"
    """What happens to rows longer than max_length_tokens: dropped and counted; an error; or split into rows of that
    length, of which all but the first begin in the middle of an answer. They are never cut."""
    special_tokens: Literal["error", "drop"] = "error"
    """What happens to rows whose text holds a special token of the student, such as <|im_end|>."""
    min_trained_tokens: NonNegativeInt = 0
    """Tokens with loss that an arm's rows must have together; with fewer, nothing is trained."""
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
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of matrix products; `auto` is bf16 where the device multiplies it, as GPUs do. Weights that are trained are fp32:
    in bf16 most updates of such rates would round to none."""
    attention: Literal["auto", "flash_attention_3", "flash_attention_2", "sdpa", "eager"] = "auto"
    """`auto` takes FlashAttention where it is installed, and otherwise PyTorch's own."""
    kernels: Literal["auto", "liger", "torch"] = "auto"
    """`auto` takes Liger's fused layers on a GPU where they are installed. The loss is TRL's, in chunks, either way."""
    gradient_checkpointing: bool = False
    """Less memory for about a third more time: a forward pass is done again where its gradient is needed. Off, for
    speed, though TRL has it on, whose memory is then less; set it where `distill check R --deep` foresees too much."""
    average_every: PositiveInt | None = None
    """Steps between those at which weights enter a moving average, which is then the student in place of the last ones
    (BEMA, arXiv 2508.00180, with the defaults of TRL, whose own here is 400). Its correction of the average's lag goes
    beyond the last weights in a training of few steps. It costs main memory, three times the weights, and goes without
    lora and launch; none if not given."""
    lora: Lora | None = None
    launch: Launch | None = None
    """One process on one device if not given."""
    save_steps: PositiveInt = 200
    """Steps between checkpoints; an interrupted training goes on from the last one."""
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for misfit in self.misfits():
            raise ValueError(misfit)
        return self

    def misfits(self) -> Iterator[str]:
        """Which settings do not go together. Those that `of` returns for an arm are to be asked as well."""
        if self.device_batch_tokens is not None and self.device_batch_tokens < self.max_length_tokens:
            yield (
                f"device_batch_tokens {self.device_batch_tokens} is less than max_length_tokens "
                f"{self.max_length_tokens}: a row of that length would fit into no forward pass"
            )
        if self.lora and self.optimizer == "muon":
            yield "lora goes with optimizer: adamw"
        if self.average_every and (self.lora or self.launch):
            yield "average_every is of whole weights in one process: leave it out, or lora and launch"
        if (launch := self.launch) is None:
            return
        if self.batch_rows % launch.batches:
            yield f"batch_rows {self.batch_rows} is no multiple of the {launch.batches} that launch trains on at once"
        if self.optimizer == "muon" and launch.shard != "none":
            yield f"muon needs whole matrices, which shard: {launch.shard} cuts; set shard: none"
        if self.lora and self.lora.quantize and launch.shard != "none":
            yield "lora.quantize needs shard: none"
        if launch.context_parallel > 1 and (self.packing is True or self.attention not in ("auto", "sdpa")):
            yield "context_parallel goes with attention: sdpa and without packing"

    @property
    def tokens_at_once(self) -> int:
        """Tokens that one forward pass may have on one device."""
        return self.device_batch_tokens or max(self.max_length_tokens, 16_384)

    @property
    def batches_at_once(self) -> int:
        """Forward passes that run at the same time."""
        return self.launch.batches if self.launch else 1

    def of(self, arm: Arm) -> "Student":
        """The settings that one student is trained with: its own before those of all."""
        own = arm.own.model_dump(exclude_none=True)
        if "epochs" in own and "steps" not in own:
            own["steps"] = None
        return self.model_copy(update=own)
