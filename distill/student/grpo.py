"""grpo: answers that get more reward than others to the same problem become likelier, by TRL's GRPOTrainer.

Does not judge: `rewards.py` asks the filters.
"""

from pathlib import Path
from typing import Any

import polars as pl

from distill import hub
from distill.progress import Progress
from distill.recipe.methods import Grpo
from distill.recipe.student import Arm, Student
from distill.student.base import Base, read_base
from distill.student.examples import Asked
from distill.student.launch import train_here_or_launched
from distill.student.rewards import reward_functions
from distill.student.rollouts import RenderedPrompts, generation, longest_prompt, vllm_only_on_gpus, with_prompts
from distill.student.training import (
    adapter,
    arguments,
    checkpoint_folder,
    fit,
    forward_passes,
    load_model,
    optimizer,
    optimizer_steps,
)


def train(
    asked: Asked, *, name: str, key: str, base: str, arm: Arm, settings: Student, out: Path, progress: Progress
) -> dict[str, Any]:
    """Train `base` on its own answers to the problems; save model and tokenizer in `out`.

    Goes on from the last checkpoint of an interrupted training with the same `key`. Returns problems as rows, rewards
    with the digests of their filters, steps, seconds and mean loss. The log has the mean of each reward and how often
    its filter abstained.
    """
    assert arm.grpo is not None
    rewards = {name: reward.model_copy(update={"filter": filter}) for name, (filter, reward) in asked.rewards.items()}
    grpo, start = arm.grpo.model_copy(update={"rewards": rewards}), read_base(base, arm)
    table = with_prompts(asked, start, grpo)
    common: dict[str, Any] = {"name": name, "key": key, "settings": settings, "out": out}
    common["arm"] = arm.model_copy(update={"grpo": grpo})
    steps = _steps(table, grpo, settings)
    facts = train_here_or_launched(train_rows, table, start, **common, base=base, steps=steps, progress=progress)
    return {
        "rows": table.height,
        "rewards": {
            reward: {"filter": filter.provenance()["digest"], "weight": by.weight, "by": by.by}
            for reward, (filter, by) in asked.rewards.items()
        },
        **facts,
    }


def train_rows(
    table: pl.DataFrame, start: Base, *, name: str, key: str, arm: Arm, settings: Student, out: Path, progress: Progress
) -> dict[str, Any]:
    """Train on problems with their prompts, by rewards that name their filters. Returns steps, seconds, mean loss."""
    grpo = arm.grpo
    assert grpo is not None
    rewards = grpo.reward_filters([])
    with vllm_only_on_gpus(grpo):
        from trl import GRPOConfig, GRPOTrainer

    class Trainer(RenderedPrompts, GRPOTrainer):  # type: ignore[misc]
        pass

    steps = _steps(table, grpo, settings)
    passes = forward_passes(settings, longest_prompt(table, start) + grpo.max_tokens)
    model = load_model(start, arm, settings)
    trainer = Trainer(
        model=model,
        reward_funcs=reward_functions(rewards, start),
        args=GRPOConfig(
            **arguments(settings, steps, checkpoint_folder(out, key)),
            **passes,
            **generation(grpo),
            reward_weights=[reward.weight for _, reward in rewards.values()],
            num_generations=grpo.samples_per_prompt,
            steps_per_generation=passes["gradient_accumulation_steps"] * grpo.steps_per_rollout,
            beta=grpo.beta,
            epsilon=grpo.clip,
            loss_type=grpo.loss,
            mask_truncated_completions=grpo.mask_truncated,
        ),
        train_dataset=hub.dataset_from_rows(table),
        processing_class=start.tokenizer,
        **optimizer(model, settings),
        **adapter(settings),
    )
    return fit(trainer, start, arm, settings, name=name, steps=steps, out=out, progress=progress)


def _steps(table: pl.DataFrame, grpo: Grpo, settings: Student) -> int:
    return optimizer_steps(table.height * grpo.samples_per_prompt, settings)
