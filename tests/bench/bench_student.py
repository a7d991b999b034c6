"""Tokens/s and peak memory of our training beside a plain TRL script on the same rows, model and settings.

    python tests/bench/bench_student.py                                  # tiny, on a CPU
    python tests/bench/bench_student.py --shape 1.5b --longest 8192      # on a GPU; also --longest 32768

Rows are random token ids of log-normal lengths; each arm takes a process of its own and sees every row once. `same`
gives both the same rows a step, attention, precision and optimizer; `defaults` gives ours the recipe's defaults and TRL
its own, which cut rows at 1,024 tokens: tokens that were cut away are not counted. Seconds are of the training, loading
apart; memory is the peak of the GPU, or of the process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from distill import scratch
from distill.precision import multiplies_bf16
from distill.progress import Silent
from distill.recipe.student import Arm, Student
from distill.student.base import read_base
from distill.student.estimate import H100_FLOPS, arithmetic, batches, shape
from distill.student.rows import Rows
from distill.student.sft import packs, train_rows

SHAPES = {
    "tiny": {"hidden_size": 256, "layers": 4, "heads": 4, "vocab_size": 4_096, "max_positions": 4_096},
    "1.5b": {
        "hidden_size": 1_536,
        "layers": 28,
        "heads": 12,
        "kv_heads": 2,
        "intermediate_size": 8_960,
        "vocab_size": 151_936,
        "max_positions": 32_768,
    },
}
ARMS = ("ours_same", "trl_same", "ours_defaults", "trl_defaults")


def made_rows(asked, vocabulary):
    """Rows of random ids; a third of each is prompt."""
    random = np.random.default_rng(0)
    lengths = np.minimum(random.lognormal(np.log(asked.longest / 4), 0.7, asked.rows).astype(int) + 16, asked.longest)
    ids = [random.integers(300, vocabulary, length, dtype=np.int32) for length in lengths]
    return Rows(ids, [len(row) // 3 for row in ids])


def settings(asked, arm):
    """Of the recipe."""
    same = {"device_batch_rows": asked.batch, "packing": False} if arm.endswith("same") else {}
    return Student(
        arms={"a": Arm(base="unused")},
        epochs=1.0,
        batch_rows=asked.batch,
        max_length_tokens=asked.longest,
        gradient_checkpointing=asked.checkpointing,
        device_batch_tokens=asked.batch * asked.longest if same else None,
        **same,
    )


def ours(asked, arm, folder):
    """Train by `distill`."""
    start = read_base(str(folder), Arm(base=str(folder)))
    given, chosen = made_rows(asked, start.config.vocab_size), settings(asked, arm)
    with tempfile.TemporaryDirectory() as out:
        made = {"name": "a", "key": "k", "arm": Arm(base=str(folder)), "settings": chosen, "out": Path(out)}
        facts = train_rows(given, start, **made, progress=Silent())
    done = batches(given.lengths, chosen, packed=packs(chosen))
    flops = arithmetic(shape(start, chosen, *done.largest), done, chosen)
    return {"tokens": sum(given.lengths), "cut": 0, "seconds": facts["seconds"], "flops": flops}


def plain(asked, arm, folder):
    """Train by a plain TRL script."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    given = made_rows(asked, json.loads((folder / "config.json").read_text())["vocab_size"])
    table = {
        "input_ids": [ids.tolist() for ids in given.ids],
        "completion_mask": [
            [0] * prompt + [1] * (len(ids) - prompt) for ids, prompt in zip(given.ids, given.prompts, strict=True)
        ],
    }
    on_gpu = torch.cuda.is_available()
    common = {
        "num_train_epochs": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": not on_gpu,
        "bf16": multiplies_bf16(),
    }
    if arm == "trl_same":
        chosen = {
            "per_device_train_batch_size": asked.batch,
            "max_length": None,
            "gradient_checkpointing": asked.checkpointing,
            "learning_rate": 1e-4,
        }
    else:
        chosen = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": max(1, asked.batch // 8)}
    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(output_dir=out, disable_tqdm=True, **common, **chosen)
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            args=config,
            train_dataset=Dataset.from_dict(table),
            processing_class=AutoTokenizer.from_pretrained(folder),
        )
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    most = config.max_length or asked.longest
    kept = sum(min(length, most) for length in given.lengths)
    return {"tokens": kept, "cut": sum(length > most for length in given.lengths), "seconds": seconds}


def measured(asked, arm, folder):
    """One arm, in this process."""
    import torch

    found = (ours if arm.startswith("ours") else plain)(asked, arm, folder)
    on_gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {**found, "peak": peak, "device": torch.cuda.get_device_name() if on_gpu else "cpu"}


def main():
    """Build the model, run each arm in a process, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--longest", type=int, default=2_048, help="Tokens of the longest rows.")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8, help="Rows a step.")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--arm", choices=ARMS)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.arm:
        print(json.dumps(measured(asked, asked.arm, asked.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scratch.build(folder, architecture="qwen2", texts=["a b c"], seed=0, **SHAPES[asked.shape])
        _whole_vocabulary(folder, SHAPES[asked.shape]["vocab_size"])
        results = {}
        for arm in ARMS:
            command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm, "--folder", str(folder)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[arm] = found = json.loads(said.splitlines()[-1])
            speed = found["tokens"] / found["seconds"]
            share = f", {found['flops'] / found['seconds'] / H100_FLOPS:.1%} of an H100" if "flops" in found else ""
            print(
                f"{arm:14} {speed:10,.0f} tokens/s, {found['peak'] / 1e9:6.2f} GB, "
                f"{found['cut']} of {asked.rows} rows cut{share}  [{found['device']}]",
                flush=True,
            )
        for kind in ("same", "defaults"):
            one, other = results[f"ours_{kind}"], results[f"trl_{kind}"]
            faster = one["tokens"] / one["seconds"] / (other["tokens"] / other["seconds"])
            print(f"{kind}: {faster:.2f} times TRL's useful tokens/s, {one['peak'] / other['peak']:.2f} of its memory")


def _whole_vocabulary(folder, size):
    """The model's embedding in the shape asked for, though its tokenizer is small."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    config.vocab_size = size
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


if __name__ == "__main__":
    main()
