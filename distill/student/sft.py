"""sft: next-token prediction of the completions that were kept, by TRL's SFTTrainer.

Does not choose rows or judge the result.
"""

from pathlib import Path
from typing import Any

import polars as pl

from distill import hub
from distill.progress import Progress
from distill.recipe.student import Arm, Student
from distill.student.base import Base, read_base
from distill.student.launch import train_launched
from distill.student.order import passes
from distill.student.rows import UNTRAINED, Rows, prepare_rows
from distill.student.sft_yaml import write_sft_yaml
from distill.student.training import (
    adapter,
    arguments,
    attention,
    checkpoint_folder,
    fit,
    load_model,
    optimizer,
    optimizer_steps,
)


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
    dataset: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune `base` on prompt-completion rows of messages and save model and tokenizer in `out`.

    The loss is on the completion and its end token only. Goes on from the last checkpoint of an interrupted training
    with the same `key`. `dataset` is the folder that the rows are from, if it has no others. Returns rows, dropped rows
    by reason, steps, seconds and mean loss.
    """
    start = read_base(base, arm)
    rows = prepare_rows(chats, start, settings, name)
    for reason, count in rows.dropped.items():
        progress.say(f"  {name}: dropped {count:,} of {len(chats):,} rows: {reason}")
    steps = optimizer_steps(len(rows), settings)
    config = arguments(settings, steps, out)
    write_sft_yaml(out, chats, rows, start, arm, settings, config, packed=packs(settings), dataset=dataset)
    common: dict[str, Any] = {"name": name, "key": key, "arm": arm, "settings": settings, "out": out}
    if settings.launch is None:
        facts = train_rows(rows, start, **common, progress=progress)
    else:
        table = pl.DataFrame({"ids": pl.Series(rows.ids, dtype=pl.List(pl.Int32)), "prompt": rows.prompts})
        facts = train_launched(table, **common, base=base, steps=steps, progress=progress)
    tokens = sum(rows.lengths)
    return {"rows": len(rows), "dropped": rows.dropped, "tokens_per_row": round(tokens / len(rows), 1), **facts}


def train_table(table: pl.DataFrame, start: Base, **told: Any) -> dict[str, Any]:
    """The same of the rows as `train` writes them down for the processes of a launch."""
    return train_rows(
        Rows([ids.to_numpy(writable=True) for ids in table["ids"]], table["prompt"].to_list()), start, **told
    )


def train_rows(
    rows: Rows, start: Base, *, name: str, key: str, arm: Arm, settings: Student, out: Path, progress: Progress
) -> dict[str, Any]:
    """Train on rows that were checked. Returns steps, seconds, mean loss, and how passes were made and computed."""
    from trl import SFTConfig, SFTTrainer

    steps = optimizer_steps(len(rows), settings)
    packed = packs(settings)
    groups = list(passes(rows.lengths, settings, steps=steps, packed=packed))
    config = arguments(settings, steps, checkpoint_folder(out, key)) | {
        "per_device_train_batch_size": 1,  # one of our passes
        "gradient_accumulation_steps": len(groups[0]) // settings.batches_at_once,
        "remove_unused_columns": False,
    }
    told = SFTConfig(
        **config, train_sampling_strategy="sequential", max_length=None, dataset_kwargs={"skip_prepare_dataset": True}
    )
    # Behind the arguments, by which only the first process of a machine reads the weights, and the others get shares.
    model = load_model(start, arm, settings)
    trainer = SFTTrainer(
        model=model,
        args=told,
        train_dataset=hub.dataset_from_rows(pl.DataFrame({"rows": [one for step in groups for one in step]})),
        processing_class=start.tokenizer,
        data_collator=Collator(rows, start.tokenizer.pad_token_id, packed=packed, multiple_of=_multiple(settings)),
        **optimizer(model, settings),
        **adapter(settings),
    )
    facts = fit(trainer, start, arm, settings, name=name, steps=steps, out=out, progress=progress)
    return {**facts, "packed": packed, "attention": model.config._attn_implementation}


def packs(settings: Student) -> bool:
    """Whether rows are packed here."""
    if settings.launch and settings.launch.context_parallel > 1:
        return False
    if settings.packing == "auto":
        return attention(settings).startswith("flash")
    return settings.packing


def _multiple(settings: Student) -> int:
    """Each of the devices that share a row takes two pieces of it, one from either end, so that all work equally."""
    shared = settings.launch.context_parallel if settings.launch else 1
    return 2 * shared if shared > 1 else 1


class Collator:
    """One forward pass: its rows end to end if `packed`, else padded on the right; without an attention mask.

    Packed, positions begin again at each row, by which attention keeps rows apart: FlashAttention by the bounds given
    with them, others by a mask that transformers makes of the positions. Padded, no token sees what stands right of it,
    and padding has no label, so a mask would change nothing but the speed: attention without one takes the fused causal
    kernels.
    """

    def __init__(self, rows: Rows, pad_token_id: int, *, packed: bool, multiple_of: int = 1) -> None:
        self.rows, self.pad_token_id, self.packed, self.multiple_of = rows, pad_token_id, packed, multiple_of

    def __call__(self, passes: list[dict[str, list[int]]]) -> dict[str, Any]:
        """The tensors of one pass, whose rows' numbers are given."""
        (one,) = passes
        return self._pack(one["rows"]) if self.packed else self._pad(one["rows"])

    def _pack(self, numbers: list[int]) -> dict[str, Any]:
        import torch

        lengths = torch.tensor([len(self.rows.ids[number]) for number in numbers])
        labels = torch.cat([torch.from_numpy(self.rows.labels(number)).long() for number in numbers])
        bounds = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
        labels[bounds[:-1].long()] = UNTRAINED  # else a row's last token would have to foresee the next row
        longest = int(lengths.max())
        return {
            "input_ids": torch.cat([torch.from_numpy(self.rows.ids[number]).long() for number in numbers])[None],
            "labels": labels[None],
            "position_ids": torch.cat([torch.arange(length) for length in lengths.tolist()])[None],
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": longest,
            "max_length_k": longest,
        }

    def _pad(self, numbers: list[int]) -> dict[str, Any]:
        import torch

        longest = max(len(self.rows.ids[number]) for number in numbers)
        longest += -longest % self.multiple_of
        ids = torch.full((len(numbers), longest), self.pad_token_id)
        labels = torch.full((len(numbers), longest), UNTRAINED)
        for place, number in enumerate(numbers):
            length = len(self.rows.ids[number])
            ids[place, :length] = torch.from_numpy(self.rows.ids[number])
            labels[place, :length] = torch.from_numpy(self.rows.labels(number))
        return {"input_ids": ids, "labels": labels, "position_ids": torch.arange(longest).expand(len(numbers), -1)}
