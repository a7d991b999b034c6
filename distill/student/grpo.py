"""grpo: answers that get more reward than others to the same problem become likelier, by TRL's GRPOTrainer.

Does not judge: `rewards.py` asks the filters.
"""

from pathlib import Path
from typing import Any

from distill import hub
from distill.progress import Progress
from distill.recipe.student import Arm, Student
from distill.student.base import read_base
from distill.student.examples import Asked
from distill.student.rewards import reward_functions
from distill.student.rollouts import RenderedPrompts, generation, vllm_only_on_gpus, with_prompts
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
    grpo, start = arm.grpo, read_base(base, arm)
    assert grpo is not None
    with vllm_only_on_gpus(grpo):
        from trl import GRPOConfig, GRPOTrainer

    class Trainer(RenderedPrompts, GRPOTrainer):  # type: ignore[misc]
        pass

    table, longest = with_prompts(asked, start, grpo)
    steps = optimizer_steps(table.height * grpo.samples_per_prompt, settings)
    passes = forward_passes(settings, longest + grpo.max_tokens)
    model = load_model(start, arm, settings)
    trainer = Trainer(
        model=model,
        reward_funcs=reward_functions(asked.rewards, start),
        args=GRPOConfig(
            **arguments(settings, steps, checkpoint_folder(out, key)),
            **passes,
            **generation(grpo),
            reward_weights=[reward.weight for _, reward in asked.rewards.values()],
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
    return {
        "rows": table.height,
        "rewards": {
            reward: {"filter": filter.provenance()["digest"], "weight": by.weight, "by": by.by}
            for reward, (filter, by) in asked.rewards.items()
        },
        **fit(trainer, start, arm, settings, name=name, steps=steps, out=out, progress=progress),
    }
