"""on_policy: the student answers, and learns at each token what the teacher would say, by TRL's DistillationTrainer.

Does not sample the teacher: it reads the student's answers.
"""

from pathlib import Path
from typing import Any

import polars as pl

from distill import hub
from distill.progress import Progress
from distill.recipe.methods import OnPolicy
from distill.recipe.student import Arm, Student
from distill.store import digest
from distill.student.base import Base, read_base
from distill.student.examples import Asked
from distill.student.launch import train_here_or_launched
from distill.student.rollouts import RenderedPrompts, generation, longest_prompt, vllm_only_on_gpus, with_prompts
from distill.student.training import (
    TrainingError,
    adapter,
    arguments,
    attention,
    checkpoint_folder,
    fit,
    forward_passes,
    load_model,
    optimizer,
    optimizer_steps,
)


def train(
    asked: Asked,
    *,
    teacher: str,
    name: str,
    key: str,
    base: str,
    arm: Arm,
    settings: Student,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train `base` on its own answers to the problems; save model and tokenizer in `out`.

    `teacher` is a folder or a Hub id. Goes on from the last checkpoint of an interrupted training with the same `key`.
    Returns problems as rows, the teacher, steps, seconds and mean loss. Raises TrainingError where teacher and student
    do not have the same vocabulary: TRL compares its size only.
    """
    own, start = (arm.on_policy or OnPolicy()).model_copy(update={"teacher": teacher}), read_base(base, arm)
    vocabulary = _shared_vocabulary(teacher, own.revision, start)
    table = with_prompts(asked, start, own)
    common: dict[str, Any] = {"name": name, "key": key, "settings": settings, "out": out}
    common["arm"] = arm.model_copy(update={"on_policy": own})
    steps = optimizer_steps(table.height, settings)
    facts = train_here_or_launched(train_rows, table, start, **common, base=base, steps=steps, progress=progress)
    return {"rows": table.height, "teacher": teacher, "beta": own.beta, "vocabulary": vocabulary, **facts}


def train_rows(
    table: pl.DataFrame, start: Base, *, name: str, key: str, arm: Arm, settings: Student, out: Path, progress: Progress
) -> dict[str, Any]:
    """Train on problems with their prompts, by the teacher that the arm names. Returns steps, seconds, mean loss."""
    from transformers import AutoModelForCausalLM

    own, steps = arm.on_policy, optimizer_steps(table.height, settings)
    assert own is not None
    with vllm_only_on_gpus(own):
        from trl import DistillationConfig, DistillationTrainer

    class Trainer(RenderedPrompts, DistillationTrainer):  # type: ignore[misc]
        pass

    model = load_model(start, arm, settings)
    trainer = Trainer(
        model=model,
        teacher_model=AutoModelForCausalLM.from_pretrained(
            own.teacher, revision=own.revision or "main", dtype=model.dtype, attn_implementation=attention(settings)
        ),
        args=DistillationConfig(
            **arguments(settings, steps, checkpoint_folder(out, key)),
            **forward_passes(settings, longest_prompt(table, start) + own.max_tokens),
            **generation(own),
            beta=own.beta,
        ),
        train_dataset=hub.dataset_from_rows(table.select("prompt")),
        processing_class=start.tokenizer,
        **optimizer(model, settings),
        **adapter(settings),
    )
    return fit(trainer, start, arm, settings, name=name, steps=steps, out=out, progress=progress)


def _shared_vocabulary(teacher: str, revision: str | None, start: Base) -> str:
    """The digest of the vocabulary that both have."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(teacher, revision=revision or "main").get_vocab()
    ours = start.tokenizer.get_vocab()
    if theirs != ours:
        token = next((t for t in sorted({*theirs, *ours}) if theirs.get(t) != ours.get(t)), "")
        raise TrainingError(
            f"on_policy compares token by token, and the vocabularies differ: {token!r} is {theirs.get(token)} for the "
            f"teacher {teacher} and {ours.get(token)} for the student {start.path}; take a base of the teacher's family"
        )
    return digest(ours)
