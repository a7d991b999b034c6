"""Training by several processes, one a device: what `accelerate launch` is told, and how its progress is followed.

The rows were checked and tokenised before, once; `worker.py` is what each process runs.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

import filters
from distill.progress import Progress
from distill.recipe.methods import Method
from distill.recipe.student import Arm, Launch, Student
from distill.store import write_parquet, write_text
from distill.student.base import Base
from distill.student.training import TrainingError, bf16, checkpoint_folder, last_checkpoint, says_cpu

JOB = "launch"
"""The folder of what the processes read and write, in the student's."""
STEP = "distill step "
"""How a line begins by which the first process tells of its progress."""
PORT = 29_500
LAST_LINES = 15
"""Lines of the processes' output that an error shows."""


def train_here_or_launched(
    train_rows: Callable[..., dict[str, Any]],
    table: pl.DataFrame,
    start: Base,
    *,
    base: str,
    steps: int,
    settings: Student,
    **told: Any,
) -> dict[str, Any]:
    """Train on a table in this process, or by the processes that the settings say, each of which calls `train_rows`."""
    if settings.launch is None:
        return train_rows(table, start, settings=settings, **told)
    return train_launched(table, base=base, steps=steps, settings=settings, **told)


def train_launched(
    rows: pl.DataFrame,
    *,
    name: str,
    key: str,
    base: str,
    steps: int,
    arm: Arm,
    settings: Student,
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Train on rows that were checked, by the processes of `settings.launch`. Returns what one process would.

    Where one of them fails the others are ended, which is TrainingError with the end of what they said; all they said
    is in the job's folder.
    """
    assert settings.launch is not None
    if settings.launch.shard == "zero3" and find_spec("deepspeed") is None:
        raise TrainingError("launch.shard: zero3 needs deepspeed, which is not installed here; set shard: fsdp2")
    last_checkpoint(checkpoint_folder(out, key))  # half-written ones go before several processes look for one
    job = out / JOB
    shutil.rmtree(job, ignore_errors=True)
    job.mkdir(parents=True)
    write_parquet(rows, job / "rows.parquet")
    told = {
        "name": name,
        "key": key,
        "base": base,
        "out": str(out),
        "filters": [str(folder) for folder in filters.folders()],
        "arm": arm.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
    }
    write_text(job / "job.json", json.dumps(told, indent=2) + "\n")
    said = command(settings, job, method=arm.method)
    for machine in range(1, settings.launch.machines):
        progress.say(
            f"  run on machine {machine}: {' '.join(command(settings, job, machine=machine, method=arm.method))}"
        )
    options: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "env": _environment(settings.launch),
    }
    with (
        progress.task(f"training {name}", steps) as advance,
        open(job / "output.txt", "w", encoding="utf-8") as log,
        subprocess.Popen(said, text=True, errors="replace", **options) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(STEP):
                    units, _, note = line.removeprefix(STEP).strip().partition(" ")
                    advance(int(units), note)
                else:
                    log.write(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        end = (job / "output.txt").read_text(encoding="utf-8").splitlines()[-LAST_LINES:]
        raise TrainingError(
            f"{name}: a process of launch has failed, and the others were ended. The same command goes on from the "
            f"last checkpoint. All that they said is in {job / 'output.txt'}, at its end:\n" + "\n".join(end)
        )
    facts: dict[str, Any] = json.loads((job / "facts.json").read_text(encoding="utf-8"))
    shutil.rmtree(job)
    return facts


def command(settings: Student, job: Path, *, machine: int = 0, method: Method = "sft") -> list[str]:
    """What starts the processes of one machine."""
    launch = settings.launch
    assert launch is not None
    several = {
        "num_machines": launch.machines,
        "machine_rank": machine,
        "num_processes": launch.devices * launch.machines,
    }
    found = {"main_process_ip": platform.node(), "main_process_port": PORT} if launch.machines > 1 else {}
    options = {**several, **found, "mixed_precision": "bf16" if bf16(settings) else "no"}
    flags = [
        part for name, value in {**options, **_sharding(launch, method)}.items() for part in (f"--{name}", str(value))
    ]
    kind = {"none": "--multi_gpu", "fsdp2": "--use_fsdp", "zero3": "--use_deepspeed"}[launch.shard]
    context = ["--use_parallelism_config"] if launch.context_parallel > 1 else []
    start = [sys.executable, "-m", "accelerate.commands.launch", kind, *context, *flags]
    return [*start, "--module", "distill.student.worker", str(job)]


def _sharding(launch: Launch, method: Method) -> dict[str, Any]:
    """How accelerate is told to share out weights, gradients and optimizer, and rows."""
    if launch.shard == "zero3":
        where = "cpu" if launch.offload else "none"
        return {
            "zero_stage": 3,
            "zero3_init_flag": "true",
            "zero3_save_16bit_model": "true",
            "offload_optimizer_device": where,
            "offload_param_device": where,
        }
    if launch.shard == "none":
        return {}
    context = {
        "parallelism_config_cp_size": launch.context_parallel,
        "parallelism_config_dp_shard_size": launch.batches,
    }
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_state_dict_type": "FULL_STATE_DICT",
        # The first process reads the weights and sends them; but TRL does not send those of a reference or teacher.
        "fsdp_cpu_ram_efficient_loading": str(method == "sft").lower(),
        "fsdp_offload_params": str(launch.offload).lower(),
        **(context if launch.context_parallel > 1 else {}),
    }


def _environment(launch: Launch) -> dict[str, str]:
    """Ours, in which the processes find the same modules; without GPUs they are told so, or accelerate expects them."""
    without = {"ACCELERATE_USE_CPU": "true"} if says_cpu(launch) else {}
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **without}
