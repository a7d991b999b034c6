"""What sampling may cost, and what it costs by."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from distill.recipe.section import Section


class Price(Section):
    """What is paid for sampling: by the token, by the hour, or both."""

    per_million_prompt_tokens: NonNegativeFloat = 0.0
    per_million_completion_tokens: NonNegativeFloat = 0.0
    per_gpu_hour: NonNegativeFloat = 0.0
    """Of one GPU."""
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    """Three letters, ISO 4217."""

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if not (self.per_million_prompt_tokens or self.per_million_completion_tokens or self.per_gpu_hour):
            raise ValueError("a price of nothing: give per_million_completion_tokens or per_gpu_hour, or both")
        return self


class Limits(Section):
    """Where sampling stops, over all calls that went on with the run. It leaves a run that a raised limit goes on with.

    From a limit on nothing more is asked; samples in flight are finished, since they are paid for, and so many requests
    are in flight towards the end as are expected to fit. What other runs gave (`draw_on`) costs nothing.
    """

    max_tokens: PositiveInt | None = None
    """Completion tokens of all finished samples."""
    max_gpu_hours: PositiveFloat | None = None
    """Hours from the first request to the last completion, loading the weights included, times `gpus`."""
    max_cost: PositiveFloat | None = None
    """In the currency of `price`."""
    price: Price | None = None
    gpus: PositiveInt | None = None
    """GPUs that the teacher runs on. By default as many as engine_args give vLLM, and 1 for other engines."""
    gpu_memory_gb: PositiveFloat | None = None
    """Memory of one of them, in 10^9 bytes, for `distill plan` on a machine that has others or none."""

    @model_validator(mode="after")
    def _priced(self) -> Self:
        if self.max_cost and not self.price:
            raise ValueError("max_cost needs a price, such as {per_million_completion_tokens: 2.19}")
        return self
