"""What every method's training has in common: base and tokenizer, arguments, checkpoints, and a fit that goes on.

Knows TRL's trainers only as trainers; a file beside this one per method chooses one and its rows.
"""

import json
import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.progress import Advance, Progress, quiet_transformers
from distill.recipe.student import Arm, Student
from distill.store import write_text
from distill.student.base import Base, read_base

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

LOG = "training.jsonl"
"""What the trainer logged, a line every ten steps: loss, rate and, where a method has them, rewards."""


def open_base(base: str, arm: Arm, settings: Student) -> tuple[Any, Any]:
    """Model and tokenizer of a base, ending turns with one token."""
    start = read_base(base, arm)
    return load_model(start, arm, settings), start.tokenizer


def load_model(start: Base, arm: Arm, settings: Student) -> Any:
    """The model of a base, with the configuration that the recipe has made of its own; both are saved with it."""
    from transformers import AutoModelForCausalLM

    quiet_transformers()
    model = AutoModelForCausalLM.from_pretrained(
        start.path, revision=arm.revision or "main", config=start.config, dtype=dtype(settings)
    )
    model.generation_config = start.generation
    return model


def fit(trainer: "Trainer", *, name: str, steps: int, out: Path, progress: Progress) -> dict[str, Any]:
    """Train to the end, from the last checkpoint where there is one; save model, tokenizer and log in `out`.

    Returns steps, seconds and mean loss. The trainer's output folder holds the checkpoints, and goes at the end.
    """
    from transformers import PrinterCallback
    from transformers.trainer_utils import get_last_checkpoint

    checkpoints = Path(trainer.args.output_dir)
    start = time.monotonic()
    with progress.task(f"training {name}", steps) as advance:
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_steps_callback(advance))
        result = trainer.train(resume_from_checkpoint=get_last_checkpoint(str(checkpoints)))
    trainer.save_model(str(out))
    logged = [row for row in trainer.state.log_history if "train_runtime" not in row]
    write_text(out / LOG, "".join(json.dumps(row) + "\n" for row in logged))
    shutil.rmtree(checkpoints)
    return {
        "steps": result.global_step,
        "seconds": round(time.monotonic() - start, 1),
        "loss": round(result.training_loss, 4),
    }


def dtype(settings: Student) -> Any:
    """Of the weights."""
    import torch

    # On a CPU the weights stay in fp32 and bf16 is for the matrix products only (autocast).
    return torch.bfloat16 if settings.precision == "bf16" and torch.cuda.is_available() else torch.float32


def checkpoint_folder(out: Path, key: str) -> Path:
    """The folder for checkpoints, emptied if what it holds is of another training."""
    folder, mark = out / "checkpoints", out / "checkpoints" / "key"
    if folder.is_dir() and not (mark.is_file() and mark.read_text() == key):
        shutil.rmtree(folder)
    write_text(mark, key)
    return folder


def arguments(settings: Student, steps: int, checkpoints: Path) -> dict[str, Any]:
    """Arguments that every trainer takes, from the recipe's settings."""
    import torch

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
    return dict(
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


def optimizer(model: Any, settings: Student) -> dict[str, Any]:
    """The trainer's argument for an optimizer that it does not have itself."""
    if settings.optimizer == "adamw":
        return {}
    from distill.student.muon import MuonWithAdamW

    rates = {"lr": settings.learning_rate, "muon_lr": settings.muon_learning_rate}
    return {"optimizers": (MuonWithAdamW(model, **rates, weight_decay=settings.weight_decay), None)}


def _steps_callback(advance: Advance) -> "TrainerCallback":
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
