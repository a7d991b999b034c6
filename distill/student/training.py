"""What every method's training has in common: base and tokenizer, arguments, checkpoints, and a fit that goes on.

Knows TRL's trainers only as trainers; a file beside this one per method chooses one and its rows.
"""

import json
import math
import shutil
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.precision import multiplies_bf16
from distill.progress import Advance, Progress, quiet_transformers
from distill.recipe.student import Arm, Launch, Student
from distill.store import write_text
from distill.student.base import Base, read_base

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

LOG = "training.jsonl"
"""What the trainer logged, a line every ten steps and at each checkpoint: loss, rate and, for some methods, rewards."""

ADAPTER = "adapter"
"""The folder of LoRA's adapters, beside the student that has them merged in."""


class TrainingError(RuntimeError):
    """This machine cannot train as the recipe says. Names the key, what is missing and what to do."""


def open_base(base: str, arm: Arm, settings: Student) -> tuple[Any, Any]:
    """Model and tokenizer of a base, ending turns with one token."""
    start = read_base(base, arm)
    return load_model(start, arm, settings), start.tokenizer


def bf16(settings: Student) -> bool:
    """Whether products are in bf16 here."""
    return settings.precision == "bf16" or (settings.precision == "auto" and multiplies_bf16())


def load_model(start: Base, arm: Arm, settings: Student, *, quantize: bool = True) -> Any:
    """The model of a base, with the configuration that the recipe has made of its own; both are saved with it."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quiet_transformers()
    # What is trained is fp32, and bf16 is for the products only (autocast); what is frozen needs no more than bf16.
    frozen = settings.lora is not None and bf16(settings) and torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": torch.bfloat16 if frozen else torch.float32}
    if quantize and settings.lora and settings.lora.quantize:
        _check_quantization()
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if bf16(settings) else torch.float32,
        )
        options["device_map"] = {"": torch.cuda.current_device() if torch.cuda.is_available() else "cpu"}
    model = AutoModelForCausalLM.from_pretrained(
        start.path,
        revision=arm.revision or "main",
        config=start.config,
        attn_implementation=attention(settings),
        **options,
    )
    model.generation_config = start.generation
    return model


def attention(settings: Student) -> str:
    """How attention is computed here. Raises TrainingError where the recipe names what is not there."""
    import torch
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    there = {"flash_attention_3": is_flash_attn_3_available(), "flash_attention_2": is_flash_attn_2_available()}
    wanted = settings.attention
    if settings.launch and settings.launch.context_parallel > 1:
        return "sdpa"
    if wanted == "auto":
        usable = torch.cuda.is_available() and bf16(settings)
        return next((name for name, is_there in there.items() if is_there and usable), "sdpa")
    if not there.get(wanted, True):
        raise TrainingError(f"attention: {wanted} is not installed here; install flash-attn, or set attention: auto")
    return wanted


def adapter(settings: Student) -> dict[str, Any]:
    """The trainer's argument for LoRA; none without."""
    if (lora := settings.lora) is None:
        return {}
    from peft import LoraConfig

    return {
        "peft_config": LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets,
            task_type="CAUSAL_LM",
        )
    }


def fit(
    trainer: "Trainer",
    start: Base,
    arm: Arm,
    settings: Student,
    *,
    name: str,
    steps: int,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train to the end, from the last checkpoint where there is one; save model, tokenizer and log in `out`.

    Returns steps, seconds, mean loss and precision. The trainer's output folder holds the checkpoints, and
    goes at the end.
    """
    from transformers import PrinterCallback

    checkpoints = Path(trainer.args.output_dir)
    resumed = last_checkpoint(checkpoints)
    if settings.average_every:
        if settings.average_every > steps:
            raise TrainingError(
                f"average_every {settings.average_every} is more than the {steps} steps of {name}, of which no average "
                "would be taken; lower it, or leave it out"
            )
        from distill.student.average import Average
    began = time.monotonic()
    if settings.lora and settings.lora.quantize:
        _train_in_fp32(trainer.model)
    with progress.task(f"training {name}", steps) as advance:
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_steps_callback(advance))
        if settings.average_every:
            trainer.add_callback(Average(settings.average_every, resumed))
        result = trainer.train(resume_from_checkpoint=resumed)
    trainer.save_model(str(out / ADAPTER if settings.lora else out))
    logged = [row for row in trainer.state.log_history if "train_runtime" not in row]
    if trainer.is_world_process_zero():
        if settings.lora:
            _merge(start, arm, settings, out)
        write_text(out / LOG, "".join(json.dumps(row) + "\n" for row in logged))
        shutil.rmtree(checkpoints)
    return {
        "steps": result.global_step,
        "seconds": round(time.monotonic() - began, 1),
        "loss": round(_mean_loss(logged), 4),
        "precision": "bf16" if bf16(settings) else "fp32",
    }


def _train_in_fp32(model: Any) -> None:
    """TRL rounds adapters beside weights of four bits to bf16, where small steps round to none."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def _mean_loss(logged: list[dict[str, Any]]) -> float:
    """Over all steps; the trainer's own is over those since it was last interrupted."""
    rows = [row for row in logged if "loss" in row]
    before = [0, *(row["step"] for row in rows)]
    return float(
        sum(row["loss"] * (row["step"] - start) for row, start in zip(rows, before, strict=False)) / before[-1]
    )


def _merge(start: Base, arm: Arm, settings: Student, out: Path) -> None:
    """Save base and adapters as one model, from the base's own weights: those in four bits would round twice."""
    from peft import PeftModel

    base = load_model(start, arm, settings, quantize=False)
    model = PeftModel.from_pretrained(base, str(out / ADAPTER)).merge_and_unload()
    model.save_pretrained(out)
    start.tokenizer.save_pretrained(out)


def checkpoint_folder(out: Path, key: str) -> Path:
    """The folder for checkpoints, emptied if what it holds is of another training."""
    folder, mark = out / "checkpoints", out / "checkpoints" / "key"
    if folder.is_dir() and not (mark.is_file() and mark.read_text() == key):
        shutil.rmtree(folder)
    write_text(mark, key)
    return folder


def last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint, or None. One that a kill has left half written is deleted.

    The trainer writes its state last. From a checkpoint without an optimizer it would go on with an empty one, and say
    nothing.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    while found:
        try:
            json.loads((found[-1] / "trainer_state.json").read_text())
        except (OSError, ValueError):
            shutil.rmtree(found.pop())
        else:
            return str(found[-1])
    return None


def arguments(settings: Student, steps: int, checkpoints: Path) -> dict[str, Any]:
    """Arguments that every trainer takes, from the recipe's settings."""
    import torch

    if settings.launch is None and torch.cuda.device_count() > 1:
        raise TrainingError(
            f"{torch.cuda.device_count()} GPUs are visible and the recipe does not say how to use them: set "
            f"launch: {{devices: {torch.cuda.device_count()}}} under student, or CUDA_VISIBLE_DEVICES=0 for one"
        )
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
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        warmup_steps=math.ceil(settings.warmup_share * steps),
        bf16=bf16(settings),
        **_without_gpu(settings),
        use_liger_kernel=_liger(settings),
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


def says_cpu(launch: Launch | None) -> bool:
    """Whether accelerate is told that there is no GPU. Not with DeepSpeed, which it leaves out where it knows that."""
    import torch

    return not torch.cuda.is_available() and not (launch and launch.shard == "zero3")


def _without_gpu(settings: Student) -> dict[str, Any]:
    import torch

    if torch.cuda.is_available():
        return {}
    return {"use_cpu": True} if says_cpu(settings.launch) else {"ddp_backend": "gloo"}


def forward_passes(settings: Student, tokens: int) -> dict[str, int]:
    """The trainer's arguments for passes that fit, of equal numbers of rows of `tokens` at most."""
    fit, share = max(1, settings.tokens_at_once // tokens), settings.batch_rows // settings.batches_at_once
    most = min(settings.device_batch_rows or share, share, fit)
    rows = next(rows for rows in range(most, 0, -1) if share % rows == 0)
    return {"per_device_train_batch_size": rows, "gradient_accumulation_steps": share // rows}


def optimizer_steps(rows: int, settings: Student) -> int:
    """Of the whole training."""
    return settings.steps or math.ceil(rows / settings.batch_rows * settings.epochs)


def optimizer(model: Any, settings: Student) -> dict[str, Any]:
    """The trainer's argument for an optimizer that it does not have itself."""
    if settings.optimizer == "adamw":
        return {}
    from distill.student.muon import MuonWithAdamW

    chosen = MuonWithAdamW(
        model,
        lr=settings.learning_rate,
        muon_lr=settings.muon_learning_rate,
        weight_decay=settings.weight_decay,
        bf16=bf16(settings),
    )
    return {"optimizers": (chosen, None)}


def _liger(settings: Student) -> bool:
    """Whether Liger's layers are used; TRL leaves its loss out, since its own is in chunks as well."""
    import torch

    there = find_spec("liger_kernel") is not None and torch.cuda.is_available()
    if settings.kernels == "liger" and not there:
        raise TrainingError("kernels: liger needs liger-kernel and a GPU, which are not here; set kernels: auto")
    if settings.kernels == "torch" or not there:
        return False
    warnings.filterwarnings("ignore", "`use_liger_kernel=True` is deprecated", FutureWarning)
    return True


def _check_quantization() -> None:
    if find_spec("bitsandbytes") is None:
        raise TrainingError(
            "lora.quantize: nf4 needs bitsandbytes, which is not installed here; leave quantize out: LoRA then trains "
            "beside weights in bf16, four times as large"
        )


def _steps_callback(advance: Advance) -> "TrainerCallback":
    from transformers import TrainerCallback

    class Steps(TrainerCallback):  # type: ignore[misc]
        """Reports finished steps, those of an interrupted training included; logs whenever a checkpoint is written."""

        def __init__(self) -> None:
            self.seen, self.note = 0, ""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                self.note = f"loss {float(logs['loss']):.3f}"

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            advance(state.global_step - self.seen, self.note)
            self.seen = state.global_step
            # A logged loss is the mean since the last log, and what a checkpoint has not logged is lost with a kill.
            control.should_log |= control.should_save

    return Steps()
