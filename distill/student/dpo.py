"""dpo: of two answers to a problem the right one becomes likelier than the wrong one, by TRL's DPOTrainer.

Does not choose the pairs: `filters.preference_pairs` does.
"""

from pathlib import Path
from typing import Any

import polars as pl

from distill import hub
from distill.progress import Progress
from distill.recipe.methods import Dpo
from distill.recipe.student import Arm, Student
from distill.student.base import Base, read_base
from distill.student.launch import train_here_or_launched
from distill.student.rows import Chat, prepare_rows
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
    made: tuple[list[tuple[Chat, Chat]], dict[str, Any]],
    *,
    name: str,
    key: str,
    base: str,
    arm: Arm,
    settings: Student,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train `base` on (chosen, rejected) rows of messages with equal prompts; save model and tokenizer in `out`.

    `made` are the pairs, and how they were made. A pair of which one side is dropped is left out. Goes on from the last
    checkpoint of an interrupted training with the same `key`. Returns pairs, dropped rows by reason, steps, seconds and
    mean loss.
    """
    pairs, policy = made
    start = read_base(base, arm)
    table, dropped = _tokenised(pairs, start, settings, name)
    for reason, count in dropped.items():
        progress.say(f"  {name}: dropped {count:,} of {2 * len(pairs):,} answers: {reason}")
    common: dict[str, Any] = {"name": name, "key": key, "arm": arm, "settings": settings, "out": out}
    steps = optimizer_steps(table.height, settings)
    facts = train_here_or_launched(train_rows, table, start, **common, base=base, steps=steps, progress=progress)
    return {"rows": table.height, "pairs": policy, "dropped": dropped, **facts}


def train_rows(
    table: pl.DataFrame, start: Base, *, name: str, key: str, arm: Arm, settings: Student, out: Path, progress: Progress
) -> dict[str, Any]:
    """Train on pairs of token ids, as `_tokenised` has them. Returns steps, seconds, mean loss and weights."""
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):  # type: ignore[misc]
        """Takes ids as they are: they have been checked, and are not cut."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    dpo, steps = arm.dpo or Dpo(), optimizer_steps(table.height, settings)
    longest = max(map(sum, zip(*(table[column].list.len() for column in table.columns), strict=True)))
    losses = ["sigmoid", "sft"] if dpo.sft_weight else ["sigmoid"]
    model = load_model(start, arm, settings)
    trainer = Trainer(
        model=model,
        ref_model=None if settings.lora else load_model(start, arm, settings),  # with LoRA, the base without adapters
        args=DPOConfig(
            **arguments(settings, steps, checkpoint_folder(out, key)),
            **forward_passes(settings, 2 * longest),
            beta=dpo.beta,
            loss_type=losses,
            loss_weights=[1.0, dpo.sft_weight][: len(losses)],
            max_length=None,
        ),
        train_dataset=hub.dataset_from_rows(table),
        processing_class=start.tokenizer,
        **optimizer(model, settings),
        **adapter(settings),
    )
    facts = fit(trainer, start, arm, settings, name=name, steps=steps, out=out, progress=progress)
    return {"beta": dpo.beta, "sft_weight": dpo.sft_weight, **facts}


def _tokenised(
    pairs: list[tuple[Chat, Chat]], start: Base, settings: Student, name: str
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Columns prompt_ids, chosen_ids and rejected_ids, as the trainer's collator takes them, and what was dropped."""
    whole = settings.model_copy(update={"over_length": "drop"} if settings.over_length == "split" else {})
    sides = [
        prepare_rows([pair[side] for pair in pairs], start, whole, f"{name}, {what}")
        for side, what in enumerate(("chosen", "rejected"))
    ]
    dropped: dict[str, int] = {}
    for side in sides:
        for reason, count in side.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    chosen, rejected = ({number: row for row, number in enumerate(side.numbers)} for side in sides)
    rows = []
    for number, row in chosen.items():
        if (other := rejected.get(number)) is not None:
            prompt = sides[0].prompts[row]
            ids, wrong = sides[0].ids[row], sides[1].ids[other]
            rows.append((ids[:prompt].tolist(), ids[prompt:].tolist(), wrong[sides[1].prompts[other] :].tolist()))
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.List(pl.Int32)), orient="row"), dropped
