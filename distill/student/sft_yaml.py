"""The same training for others, as a plain file: `trl sft --config sft.yaml`, run in the student's folder.

Written from the arguments that training itself gets. What TRL's command cannot do is said at the head of the file.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from distill.recipe.student import Arm, Student
from distill.store import write_parquet, write_text
from distill.student.base import Base
from distill.student.rows import Chat, Rows

NAME = "sft.yaml"
ROWS = "sft_rows"
"""Rows for it, beside it, where they are not just those of the dataset's folder."""

NOT_SAID = {
    *("output_dir", "dataloader_pin_memory", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("save_strategy", "disable_tqdm"),
}
"""Arguments of training that are of no concern to others, or are said otherwise."""


def write_sft_yaml(
    out: Path,
    chats: Sequence[Chat],
    rows: Rows,
    start: Base,
    arm: Arm,
    settings: Student,
    arguments: dict[str, Any],
    *,
    packed: bool,
    dataset: Path | None,
) -> None:
    """Write it into the student's folder `out`, with the rows if they are not all of the folder `dataset`."""
    whole = dataset is not None and not rows.dropped and not rows.split
    if not whole:
        kept = pl.DataFrame([chats[number] for number in dict.fromkeys(rows.numbers)]).select("prompt", "completion")
        write_parquet(kept, out / ROWS / "train-00000-of-00001.parquet")
    one = _rows_at_once(settings)
    values = {
        "model_name_or_path": _from(out, start.path),
        **({"model_revision": arm.revision} if arm.revision else {}),
        "dtype": "float32",
        **({} if settings.attention == "auto" else {"attn_implementation": settings.attention}),
        **({"dataset_name": _from(out, str(dataset)), "dataset_config": "prompt_completion"} if whole else {}),
        **({} if whole else {"dataset_name": ROWS}),
        "output_dir": "trl",
        "chat_template_path": "chat_template.jinja",
        "eos_token": start.tokenizer.eos_token,
        **({"pad_token": arm.pad_token} if arm.pad_token else {}),
        "max_length": None,
        "packing": False,
        "padding_free": packed,
        "per_device_train_batch_size": one,
        "gradient_accumulation_steps": settings.batch_rows // (one * settings.batches_at_once),
        **({key: value for key, value in arguments.items() if key not in NOT_SAID}),
        **_rope(start, arm),
        **_lora(settings),
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    write_text(out / NAME, "".join(f"# {line}\n" for line in _head(settings, rows)) + text)


def _head(settings: Student, rows: Rows) -> Iterator[str]:
    yield "This student's training by TRL alone. In this folder: trl sft --config sft.yaml"
    yield "Rows come in another order, and steps in passes of as many rows, not of as many tokens."
    yield "TRL also trains on what the template writes behind the end token, such as a line break."
    if settings.optimizer == "muon":
        yield "The student was trained with Muon, which TRL's command does not have: this trains with AdamW."
    if rows.split:
        yield f"{rows.split:,} rows were split to max_length_tokens, which TRL does not do: here they are whole."
    if settings.launch is not None:
        yield f"For {settings.launch.devices * settings.launch.machines} devices: add an accelerate_config."


def _rows_at_once(settings: Student) -> int:
    """Rows of a forward pass, of which each may be as long as is allowed, so that a step has its batch_rows."""
    most = min(settings.device_batch_rows or settings.batch_rows, settings.tokens_at_once // settings.max_length_tokens)
    share = settings.batch_rows // settings.batches_at_once
    return next(count for count in range(max(1, min(most, share)), 0, -1) if share % count == 0)


def _from(out: Path, path: str) -> str:
    """A folder as seen from the student's; the id of a Hub repository as it is."""
    return os.path.relpath(path, out) if Path(path).is_dir() else path


def _rope(start: Base, arm: Arm) -> dict[str, Any]:
    if arm.rope is None:
        return {}
    text = start.config.get_text_config()
    changed = {"max_position_embeddings": text.max_position_embeddings, "rope_parameters": dict(text.rope_parameters)}
    return {"model_init_kwargs": changed}


def _lora(settings: Student) -> dict[str, Any]:
    if (lora := settings.lora) is None:
        return {}
    four_bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "use_bnb_nested_quant": True}
    return {
        "use_peft": True,
        "lora_r": lora.rank,
        "lora_alpha": round(lora.alpha),
        "lora_dropout": lora.dropout,
        "lora_target_modules": lora.targets if isinstance(lora.targets, list) else [lora.targets],
        **(four_bits if lora.quantize else {}),
    }
