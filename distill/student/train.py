"""sft: next-token prediction of the completions that were kept, by TRL's SFTTrainer.

Does not choose rows or judge the result.
"""

import math
from pathlib import Path
from typing import Any

from distill import hub
from distill.progress import Progress
from distill.recipe.student import Arm, Student
from distill.student.base import read_base
from distill.student.order import batch_order
from distill.student.rows import UNTRAINED, prepare_rows
from distill.student.training import arguments, checkpoint_folder, fit, load_model, optimizer


def train(
    chats: list[dict[str, Any]],
    *,
    name: str,
    key: str,
    base: str,
    arm: Arm,
    settings: Student,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Fine-tune `base` on prompt-completion rows of messages and save model and tokenizer in `out`.

    The loss is on the completion and its end token only. Goes on from the last checkpoint of an interrupted training
    with the same `key`. Returns rows, dropped rows by reason, steps, seconds and mean loss.
    """
    from trl import SFTConfig, SFTTrainer

    start = read_base(base, arm)
    rows = prepare_rows(chats, start, settings, name)
    for reason, count in rows.dropped.items():
        progress.say(f"  {name}: dropped {count:,} of {len(chats):,} rows: {reason}")
    steps = settings.steps or math.ceil(len(rows) / settings.batch_rows * settings.epochs)
    order = batch_order(rows.lengths, batch_rows=settings.batch_rows, steps=steps, seed=settings.seed)
    table = hub.dataset_from_rows(rows.table()).select(order)
    model = load_model(start, arm, settings)
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **arguments(settings, steps, checkpoint_folder(out, key)),
            train_sampling_strategy="sequential",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=table,
        processing_class=start.tokenizer,
        data_collator=_Collator(start.tokenizer.pad_token_id),
        **optimizer(model, settings),
    )
    return {
        "rows": len(rows),
        "dropped": rows.dropped,
        "tokens_per_row": round(sum(rows.lengths) / len(rows), 1),
        **fit(trainer, name=name, steps=steps, out=out, progress=progress),
    }


class _Collator:
    """Pads rows on the right, without an attention mask.

    No token sees what stands right of it, and padding has no label, so a mask would change nothing but the speed:
    attention without one takes the fused causal kernels.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad_token_id)
        labels = torch.full((len(rows), longest), UNTRAINED)
        for number, row in enumerate(rows):
            length = len(row["input_ids"])
            ids[number, :length] = torch.tensor(row["input_ids"])
            labels[number, :length] = torch.tensor(row["labels"])
        return {"input_ids": ids, "labels": labels, "position_ids": torch.arange(longest).expand(len(rows), -1)}
