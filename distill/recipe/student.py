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
