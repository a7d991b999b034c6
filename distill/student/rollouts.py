"""A student's own answers while it is trained: as the recipe asks for trajectories, by TRL's trainers that generate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from distill.chat import render_prompt, user_message
from distill.recipe.methods import Rollouts
from distill.student.base import Base
from distill.student.examples import Asked
from distill.student.training import TrainingError


def with_prompts(asked: Asked, start: Base, settings: Rollouts) -> pl.DataFrame:
    """The problems with the columns `prompt`, rendered by the student's template, and `opening`.

    Raises TrainingError where a prompt leaves no room for an answer of max_tokens.
    """
    rendered = [
        render_prompt(start.tokenizer, [user_message(problem, asked.instruction)], open_think=asked.open_think)
        for problem in asked.problems["problem"]
    ]
    prompts, openings = zip(*rendered, strict=True)
    table = asked.problems.with_columns(prompt=pl.Series(prompts), opening=pl.Series(openings))
    longest = longest_prompt(table, start)
    if start.positions is not None and longest + settings.max_tokens > start.positions:
        raise TrainingError(
            f"a prompt of {longest:,} tokens and max_tokens {settings.max_tokens:,} are more than the "
            f"{start.positions:,} positions of the base; lower max_tokens, or give the arm a rope"
        )
    return table


def longest_prompt(table: pl.DataFrame, start: Base) -> int:
    """Tokens of the longest of the prompts."""
    return max(len(start.tokenizer.encode(prompt, add_special_tokens=False)) for prompt in table["prompt"])


@contextmanager
def vllm_only_on_gpus(settings: Rollouts) -> Iterator[None]:
    """Within it TRL's trainers are imported: they import vLLM where it is installed, also where it cannot be used.

    Raises TrainingError where the recipe wants it and there is no GPU.
    """
    import torch
    from trl import import_utils

    there = import_utils.is_vllm_available
    if not torch.cuda.is_available():
        if settings.engine == "vllm":
            raise TrainingError("engine: vllm runs beside the training on a GPU, which is not here; leave engine out")
        import_utils.is_vllm_available = lambda min_version=None: False
    try:
        yield
    finally:
        import_utils.is_vllm_available = there


def generation(settings: Rollouts) -> dict[str, Any]:
    """Arguments of TRL's trainers that generate."""
    return {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_completion_length": settings.max_tokens,
        "use_vllm": settings.engine == "vllm",
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": settings.engine_memory_share,
    }


class RenderedPrompts:
    """Mixin of such a trainer: prompts are rendered already, so a tokenizer must not begin them a second time."""

    processing_class: Any

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self.processing_class(text=prompts, add_special_tokens=False)["input_ids"], None, {}
