"""The section of students: what each starts from, which rows it sees, and how it is trained."""

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

from distill.recipe.section import Section, Share


# Tags of unions stand in angle brackets, so that nobody takes them for keys in the place of an error.
def _mapping_or_text(value: Any) -> str:
    return "<text>" if isinstance(value, str) else "<mapping>"


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
    Qwen2.5 bases: <|im_end|>. Saved with the student, whose answers then stop at it."""
    pad_token: str | None = None
    """Token that fills short rows, where the tokenizer's own is the end token, which a trainer might then not learn.
    A tokenizer without one gets one of its reserved tokens."""
    chat_template: str | None = None
    """In place of the base's: the name of one that TRL ships, such as deepseek_r1_distill_training, or a .jinja file.
    Saved with the student."""
    rope: Rope | None = None
    """Positions for rows longer than the base's, such as Qwen2.5-Math's 4,096."""
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
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    save_steps: PositiveInt = 200
    """Steps between checkpoints; an interrupted training goes on from the last one."""
    seed: NonNegativeInt = 0
