"""One student's training, by TRL's SFTTrainer. The home of trl.

Chooses arguments from the recipe and resumes from a checkpoint; does not choose rows or judge the result.
"""

import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill import hub
from distill.progress import Advance, Progress, quiet_transformers
from distill.recipe.student import Arm, Student
from distill.store import write_text
from distill.student.rows import UNTRAINED, RowError, batch_order, prepare_rows

if TYPE_CHECKING:
    from transformers import TrainerCallback
    from trl import SFTConfig


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
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback
    from transformers.trainer_utils import get_last_checkpoint
    from trl import SFTTrainer

    quiet_transformers()
    tokenizer = AutoTokenizer.from_pretrained(base, revision=arm.revision or "main")
    model = AutoModelForCausalLM.from_pretrained(base, revision=arm.revision or "main", dtype=_dtype(settings))
    _end_turns(model, tokenizer, arm.end_token)
    rows = prepare_rows(chats, tokenizer, max_length_tokens=settings.max_length_tokens, what=name)
    for reason, count in rows.dropped.items():
        progress.say(f"  {name}: dropped {count:,} of {len(chats):,} rows: {reason}")
    count = len(rows.input_ids)
    steps = settings.steps or math.ceil(count / settings.batch_rows * settings.epochs)
    checkpoints = _checkpoints(out, key)
    order = batch_order(
        [len(ids) for ids in rows.input_ids], batch_rows=settings.batch_rows, steps=steps, seed=settings.seed
    )
    table = hub.dataset_from_rows(
        [{"input_ids": ids, "labels": labels} for ids, labels in zip(rows.input_ids, rows.labels, strict=True)]
    ).select(order)
    optimizer = {"optimizers": (_muon(model, settings), None)} if settings.optimizer == "muon" else {}
    start = time.monotonic()
    with progress.task(f"training {name}", steps) as advance:
        trainer = SFTTrainer(
            model=model,
            args=_arguments(settings, steps, checkpoints),
            train_dataset=table,
            processing_class=tokenizer,
            data_collator=_Collator(tokenizer.pad_token_id),
            callbacks=[_callback(advance)],
            **optimizer,
        )
        trainer.remove_callback(PrinterCallback)
        result = trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)))
    trainer.save_model(str(out))
    shutil.rmtree(checkpoints)
    return {
        "rows": count,
        "dropped": rows.dropped,
        "tokens_per_row": round(sum(map(len, rows.input_ids)) / count, 1),
        "steps": result.global_step,
        "seconds": round(time.monotonic() - start, 1),
        "loss": round(result.training_loss, 4),
    }


def _dtype(settings: Student) -> Any:
    import torch

    # On a CPU the weights stay in fp32 and bf16 is for the matrix products only (autocast).
    return torch.bfloat16 if settings.precision == "bf16" and torch.cuda.is_available() else torch.float32


def _end_turns(model: Any, tokenizer: Any, end_token: str | None) -> None:
    """Make the end token what both the tokenizer and generation stop at, and never what rows are padded with."""
    if end_token is not None:
        if tokenizer.convert_tokens_to_ids(end_token) in (None, tokenizer.unk_token_id):
            raise RowError(
                f"end_token {end_token!r} is not a token of this base; its end token is {tokenizer.eos_token!r}"
            )
        tokenizer.eos_token = end_token
    stops = model.generation_config.eos_token_id
    stops = stops if isinstance(stops, list) else [] if stops is None else [stops]
    if tokenizer.eos_token_id not in stops:
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *stops]
    if tokenizer.pad_token_id is None:
        # Padding is masked by position, so that even the end token may serve: see `_Collator`.
        tokenizer.pad_token = tokenizer.eos_token


def _checkpoints(out: Path, key: str) -> Path:
    """The folder for checkpoints, emptied if what it holds is of another training."""
    folder, mark = out / "checkpoints", out / "checkpoints" / "key"
    if folder.is_dir() and not (mark.is_file() and mark.read_text() == key):
        shutil.rmtree(folder)
    write_text(mark, key)
    return folder


def _arguments(settings: Student, steps: int, checkpoints: Path) -> "SFTConfig":
    import torch
    from trl import SFTConfig

    devices = max(1, torch.cuda.device_count())
    rows = min(settings.device_batch_rows or settings.batch_rows, settings.batch_rows)
    share = settings.final_learning_rate_share
    schedules: dict[str, dict[str, Any]] = {
        "cosine": {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": share}},
        "linear": {
            "lr_scheduler_type": "polynomial",
            # transformers wants an end below the initial rate, even for a decay to almost nothing
            "lr_scheduler_kwargs": {"lr_end": settings.learning_rate * min(share, 0.999), "power": 1.0},
        },
        "constant": {"lr_scheduler_type": "constant_with_warmup"},
    }
    return SFTConfig(
        output_dir=str(checkpoints),
        max_steps=steps,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=max(1, settings.batch_rows // (rows * devices)),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        bf16=settings.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=settings.gradient_checkpointing,
        train_sampling_strategy="sequential",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=1,
        logging_steps=10,
        disable_tqdm=True,
        report_to="none",
        seed=settings.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        **schedules[settings.schedule],
    )


def _muon(model: Any, settings: Student) -> Any:
    from distill.student.muon import MuonWithAdamW

    return MuonWithAdamW(
        model, lr=settings.learning_rate, muon_lr=settings.muon_learning_rate, weight_decay=settings.weight_decay
    )


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


def _callback(advance: Advance) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        """Reports finished steps, those of an interrupted training included."""

        def __init__(self) -> None:
            self.seen, self.note = 0, ""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                self.note = f"loss {float(logs['loss']):.3f}"

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            advance(state.global_step - self.seen, self.note)
            self.seen = state.global_step

    return Steps()
