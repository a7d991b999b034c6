"""What a student is trained on is what the row says, end token included; a stopped training goes on exactly."""

import copy
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strangers import installed

from distill import arithmetic, scratch
from distill.progress import Silent
from distill.recipe.student import Arm, Launch, Lora, Student
from distill.student.base import read_base
from distill.student.launch import command
from distill.student.order import batch_order, passes
from distill.student.rows import UNTRAINED, prepare_rows
from distill.student.training import TrainingError

CHATS = [
    {
        "prompt": [{"role": "user", "content": problem}],
        "completion": [{"role": "assistant", "content": arithmetic.solve(problem)}],
    }
    for problem, _ in arithmetic.generate(40, steps=(1, 2), seed=0, held_out=False)
]
TEXTS = [message["content"] for chat in CHATS for message in chat["prompt"] + chat["completion"]]


SETTINGS = Student(
    arms={"a": Arm(base="unused")},
    steps=6,
    batch_rows=4,
    max_length_tokens=512,
    learning_rate=3.0e-3,
    optimizer="muon",
    save_steps=2,
)


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def base(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    shape = {"hidden_size": 32, "layers": 1, "heads": 1, "max_positions": 256, "vocab_size": 400, "seed": 0}
    scratch.build(folder, architecture=request.param, texts=TEXTS, **shape)
    return folder


@pytest.fixture
def start(base):
    return read_base(str(base), Arm(base=str(base)))


def prepare(start, chats=CHATS, **settings):
    return prepare_rows(chats, start, SETTINGS.model_copy(update=settings), "t")


def test_the_loss_is_on_the_whole_completion_and_its_end_token_and_nothing_else(start):
    rows, tokenizer = prepare(start), start.tokenizer
    table = rows.table()
    for chat, ids, labels in zip(CHATS, table["input_ids"].to_list(), table["labels"].to_list(), strict=True):
        trained = [token for token in labels if token != UNTRAINED]
        assert labels == [UNTRAINED] * (len(ids) - len(trained)) + trained
        assert ids[-len(trained) :] == trained
        assert trained.count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(trained) == chat["completion"][0]["content"] + tokenizer.eos_token
        assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)


def test_rows_that_are_too_long_are_dropped_and_counted_never_cut(start):
    whole = prepare(start)
    limit = sorted(whole.lengths)[20]
    rows = prepare(start, max_length_tokens=limit)
    assert [ids.tolist() for ids in rows.ids] == [ids.tolist() for ids in whole.ids if len(ids) <= limit]
    assert sum(rows.dropped.values()) == len(CHATS) - len(rows) > 0


def test_rows_that_are_split_lose_no_token_that_is_trained_on(start):
    whole = prepare(start)
    limit = min(whole.prompts) + 5
    rows = prepare(start, max_length_tokens=limit, over_length="split")
    assert max(rows.lengths) <= limit
    assert rows.split == sum(length > limit for length in whole.lengths)

    def trained(rows):
        labels = [token for row in range(len(rows)) for token in rows.labels(row).tolist()]
        return [token for token in labels if token != UNTRAINED]

    assert trained(rows) == trained(whole)


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60),
    batch_rows=st.integers(1, 8),
    steps=st.integers(1, 30),
    seed=st.integers(0, 9),
)
def test_every_row_is_used_once_before_one_is_used_again(lengths, batch_rows, steps, seed):
    order = batch_order(lengths, batch_rows=batch_rows, steps=steps, seed=seed)
    assert len(order) == batch_rows * steps
    assert order == batch_order(lengths, batch_rows=batch_rows, steps=steps, seed=seed)
    if len(order) <= 50 * batch_rows:  # one group: whole epochs and a part of one
        uses = Counter(order)
        assert max(uses.values()) - min(uses[row] for row in range(len(lengths))) <= -(-50 * batch_rows // len(lengths))


def test_batches_are_of_like_length_and_in_no_order_of_length():
    lengths = list(range(100)) * 2
    order = batch_order(lengths, batch_rows=4, steps=50, seed=0)
    assert sorted(order) == list(range(200))
    batches = [[lengths[row] for row in order[start : start + 4]] for start in range(0, 200, 4)]
    assert max(max(batch) - min(batch) for batch in batches) <= 4
    starts = [batch[0] for batch in batches]
    assert starts not in (sorted(starts), sorted(starts, reverse=True))


@given(
    lengths=st.lists(st.integers(1, 100), min_size=1, max_size=40),
    steps=st.integers(1, 6),
    room=st.integers(100, 400),
    most=st.none() | st.integers(1, 8),
    devices=st.sampled_from([1, 2, 4]),
    packed=st.booleans(),
)
def test_forward_passes_hold_each_row_whole_and_fit(lengths, steps, room, most, devices, packed):
    settings = SETTINGS.model_copy(
        update={
            "batch_rows": 8,
            "device_batch_rows": most,
            "max_length_tokens": 100,
            "device_batch_tokens": room,
            "launch": Launch(devices=devices),
        }
    )
    made = list(passes(lengths, settings, steps=steps, packed=packed))
    order = batch_order(lengths, batch_rows=8, steps=steps, seed=0, grouped=not packed)
    assert [Counter(row for one in step for row in one) for step in made] == [
        Counter(order[start : start + 8]) for start in range(0, len(order), 8)
    ]
    assert len({len(step) for step in made}) == 1
    assert len(made[0]) % devices == 0
    for one in (one for step in made for one in step):
        sizes = [lengths[row] for row in one]
        assert 1 <= len(one) <= (most or 8)
        assert (sum(sizes) if packed else max(sizes) * len(sizes)) <= room


def test_packed_rows_do_not_see_each_other(base, start):
    import torch

    from distill.student.sft import Collator
    from distill.student.training import load_model

    rows = prepare(start)
    model = load_model(start, Arm(base=str(base)), SETTINGS).eval()
    found = []
    for packed in (True, False):
        batch = Collator(rows, start.tokenizer.pad_token_id, packed=packed)([{"rows": [3, 1, 7]}])
        labels = batch.pop("labels")
        with torch.no_grad():
            logits = model(**batch, use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="none")
        found.append(losses[losses > 0].sort().values)
    assert len(found[0]) == sum(len(rows.ids[row]) - rows.prompts[row] for row in (3, 1, 7))
    torch.testing.assert_close(*found)


class StopAt(Silent):
    """Interrupts as Ctrl-C would, after so many steps."""

    def __init__(self, step=None):
        self.step, self.steps = step, []

    def task(self, name, total, *, done=0):
        from contextlib import nullcontext

        def advance(units, note=""):
            self.steps.append(units)
            if sum(self.steps) == self.step:
                raise KeyboardInterrupt

        return nullcontext(advance)


def run(base, out, progress, settings=SETTINGS, chats=CHATS):
    from distill.student.sft import train

    arm = Arm(base=str(base))
    return train(chats, name="t", key="k", base=str(base), arm=arm, settings=settings, out=out, progress=progress)


def weights(folder: Path):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(base, tmp_path):
    import torch

    undisturbed = run(base, tmp_path / "one", StopAt())
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "two", StopAt(5))
    assert (tmp_path / "two" / "checkpoints" / "checkpoint-4").is_dir()
    resumed = StopAt()
    facts = run(base, tmp_path / "two", resumed)
    assert resumed.steps == [5, 1]  # four steps were there
    assert (facts["rows"], facts["steps"]) == (undisturbed["rows"], undisturbed["steps"]) == (40, 6)
    one, two, start = weights(tmp_path / "one"), weights(tmp_path / "two"), weights(base)
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    assert any(not torch.equal(tensor, start[name]) for name, tensor in one.items())
    assert not (tmp_path / "two" / "checkpoints").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from transformers import Trainer
import test_student

saved = []

def die(self, folder):
    saved.append(folder)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Trainer._save_rng_state = die
test_student.run(sys.argv[1], Path(sys.argv[2]), test_student.StopAt(), test_student.LONGER)
"""
"""Trains, and is killed in the middle of writing the second checkpoint: its optimizer is there, its state is not."""

LONGER = SETTINGS.model_copy(update={"steps": 24, "save_steps": 9})


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_kill_9_while_a_checkpoint_is_written_leaves_the_same_loss_curve(base, tmp_path):
    import torch

    undisturbed = run(base, tmp_path / "one", StopAt(), LONGER)
    command = [sys.executable, "-c", KILLED, str(base), str(tmp_path / "two")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = tmp_path / "two" / "checkpoints" / "checkpoint-18"
    assert (left / "optimizer.pt").is_file()
    assert not (left / "trainer_state.json").exists()
    resumed = StopAt()
    facts = run(base, tmp_path / "two", resumed, LONGER)
    assert facts["loss"] == undisturbed["loss"]
    assert resumed.steps[0] == 10  # from the ninth step

    def curve(name):
        rows = [json.loads(line) for line in (tmp_path / name / "training.jsonl").read_text().splitlines()]
        return [(row["step"], row["loss"], row["learning_rate"], row["grad_norm"]) for row in rows]

    assert [step for step, *_ in curve("one")] == [9, 10, 18, 20, 24]
    assert curve("two") == curve("one")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_packed_and_padded_passes_are_the_same_training(base, tmp_path):
    # All rows in one step, so that only the making of passes differs.
    whole = {"steps": 3, "batch_rows": len(CHATS), "optimizer": "adamw", "precision": "fp32"}
    losses = []
    for packed, room in ((True, 512), (False, 2048)):
        settings = SETTINGS.model_copy(update={**whole, "packing": packed, "device_batch_tokens": room})
        facts = run(base, tmp_path / str(packed), StopAt(), settings)
        assert (facts["packed"], facts["rows"]) == (packed, len(CHATS))
        losses.append(facts["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=5e-4)


def test_lora_trains_adapters_and_saves_them_merged(base, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    lora = {"lora": Lora(rank=4), "optimizer": "adamw", "learning_rate": 1e-2, "steps": 2}
    run(base, tmp_path / "m", StopAt(), SETTINGS.model_copy(update=lora))
    assert (tmp_path / "m" / "adapter" / "adapter_model.safetensors").is_file()
    before, after = weights(base), weights(tmp_path / "m")
    assert before.keys() == after.keys()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name or "embed" in name or "bias" in name for name in changed)
    AutoModelForCausalLM.from_pretrained(tmp_path / "m")


QUANTIZED = """
import json
import sys
from pathlib import Path

import test_student

for quantize in (None, "nf4"):
    lora = test_student.Lora(rank=4, quantize=quantize)
    update = {"lora": lora, "optimizer": "adamw", "precision": "fp32", "steps": 2}
    settings = test_student.SETTINGS.model_copy(update=update)
    facts = test_student.run(sys.argv[1], Path(sys.argv[2]) / str(quantize), test_student.StopAt(), settings)
    print(json.dumps(facts))
"""


@pytest.mark.slow
@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_adapters_beside_weights_of_four_bits_are_trained_in_fp32(base, tmp_path, tmp_path_factory):
    """By bitsandbytes itself, in a process of its own: libraries ask only once whether it is there."""
    import torch
    from safetensors.torch import load_file

    folder = installed(tmp_path_factory.mktemp("bitsandbytes"), "bitsandbytes==0.50.2")
    path = os.pathsep.join([str(Path(__file__).parent), str(folder), *sys.path])
    command = [sys.executable, "-c", QUANTIZED, str(base), str(tmp_path)]
    ran = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    whole, rounded = (json.loads(line)["loss"] for line in ran.stdout.splitlines())
    assert 0 < abs(whole - rounded) < 0.02
    adapter = load_file(tmp_path / "nf4" / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    [down] = [name for name in adapter if "q_proj.lora_A" in name]
    a, b = adapter[down], adapter[down.replace("lora_A", "lora_B")]
    name = "model.layers.0.self_attn.q_proj.weight"
    merged = weights(base)[name] + 16 * b @ a  # alpha 64 / rank 4, on the base's own weights and not the rounded ones
    assert torch.allclose(weights(tmp_path / "nf4")[name], merged, atol=1e-6)


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_the_average_of_the_weights_is_the_student_also_after_an_interruption(base, tmp_path, monkeypatch):
    import torch

    from distill.student.average import Average

    ends, end = [], Average.on_train_end

    def on_train_end(self, *told, **named):
        last = dict(zip(self.param_names, copy.deepcopy(self.thetat_params), strict=True))
        ends.append((last, copy.deepcopy(self.running_model.state_dict())))  # what TRL would save
        end(self, *told, **named)

    monkeypatch.setattr(Average, "on_train_end", on_train_end)
    averaged = SETTINGS.model_copy(update={"average_every": 1, "precision": "fp32"})
    run(base, tmp_path / "one", StopAt(), averaged)
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "two", StopAt(5), averaged)
    run(base, tmp_path / "two", StopAt(), averaged)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    last, by_trl = ends[0]
    for name, tensor in last.items():
        torch.testing.assert_close(one[name], by_trl[name])
        assert not torch.equal(one[name], tensor), name
    with pytest.raises(TrainingError, match="average_every 7 is more than the 6 steps of t"):
        run(base, tmp_path / "m", StopAt(), SETTINGS.model_copy(update={"average_every": 7}))


@pytest.mark.usefixtures("fsdp2")
@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
@pytest.mark.parametrize("shares", [{}, {"context_parallel": 2}], ids=["weights", "weights and rows"])
def test_two_processes_train_as_one_does(base, tmp_path, shares):
    same = {"optimizer": "adamw", "precision": "fp32", "steps": 4, "batch_rows": 8, "packing": False}
    alone = run(base, tmp_path / "one", StopAt(), SETTINGS.model_copy(update=same))
    told = StopAt()
    launch = {"launch": Launch(devices=2, shard="fsdp2", **shares)}
    facts = run(base, tmp_path / "two", told, SETTINGS.model_copy(update=same | launch))
    assert sum(told.steps) == facts["steps"] == 4
    assert facts["loss"] == pytest.approx(alone["loss"], abs=1e-4)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((tensor - two[name]).abs().max() for name, tensor in one.items()) < 1e-5
    assert not {"launch", "checkpoints"} & {path.name for path in (tmp_path / "two").iterdir()}


SHARDED = """
import json
import sys
from pathlib import Path

import test_student

same = json.loads(sys.argv[3]) | {"launch": test_student.Launch(devices=2, shard="zero3")}
settings = test_student.SETTINGS.model_copy(update=same)
print(json.dumps(test_student.run(sys.argv[1], Path(sys.argv[2]), test_student.StopAt(), settings)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_two_processes_of_deepspeed_train_as_one_does(base, tmp_path, tmp_path_factory):
    """In a process of its own: libraries ask only once whether DeepSpeed is there. It builds its messages in C++."""
    needed = ("deepspeed==0.19.8", "hjson==3.1.0", "msgpack==1.2.4", "py-cpuinfo==9.0.0")
    folder = installed(tmp_path_factory.mktemp("deepspeed"), *needed, built=True)
    path = os.pathsep.join([str(Path(__file__).parent), str(folder), *sys.path])
    same = {"optimizer": "adamw", "precision": "fp32", "steps": 4, "batch_rows": 8}
    command = [sys.executable, "-c", SHARDED, str(base), str(tmp_path / "two"), json.dumps(same)]
    environment = {"PYTHONPATH": path, "DS_ACCELERATOR": "cpu", "TORCH_EXTENSIONS_DIR": str(tmp_path / "built")}
    ran = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    alone = run(base, tmp_path / "one", StopAt(), SETTINGS.model_copy(update=same))
    assert json.loads(ran.stdout.splitlines()[-1])["loss"] == pytest.approx(alone["loss"], abs=1e-4)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((tensor - two[name]).abs().max() for name, tensor in one.items()) < 1e-5


@pytest.mark.slow
@pytest.mark.usefixtures("fsdp2")
@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_two_processes_learn_from_pairs_as_one_does(base, tmp_path):
    from distill.student import dpo

    wrong = [copy.deepcopy(chat) for chat in CHATS[:16]]
    for chat in wrong:
        chat["completion"][0]["content"] = chat["completion"][0]["content"].replace("boxed{", "boxed{1")
    pairs = [*zip(CHATS, wrong, strict=False)]
    same = {"optimizer": "adamw", "precision": "fp32", "steps": 3, "batch_rows": 8}
    facts = []
    for name, launch in (("one", {}), ("two", {"launch": Launch(devices=2, shard="fsdp2")})):
        settings, arm = SETTINGS.model_copy(update=same | launch), Arm(base=str(base), method="dpo")
        told = {"name": "t", "key": "k", "base": str(base), "arm": arm, "settings": settings, "out": tmp_path / name}
        facts.append(dpo.train((pairs, {}), **told, progress=StopAt()))
    assert facts[1]["loss"] == pytest.approx(facts[0]["loss"], abs=1e-3)
    assert facts[1]["loss"] < 0.69
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((tensor - two[name]).abs().max() for name, tensor in one.items()) < 1e-4


DYING = """
import os, runpy
from transformers import Trainer

def fail(*_, **__):
    raise RuntimeError("it burns")

if os.environ["RANK"] == "1":
    Trainer.training_step = fail
runpy.run_module("distill.student.worker", run_name="__main__")
"""
"""A worker of which the second process fails in its first step."""


@pytest.mark.parametrize("base", ["qwen2"], indirect=True)
def test_a_process_that_fails_ends_the_others_and_says_why(base, tmp_path, monkeypatch, launched_as):
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    launched_as("dying")
    settings = SETTINGS.model_copy(update={"optimizer": "adamw", "precision": "fp32", "launch": Launch(devices=2)})
    with pytest.raises(TrainingError, match=r"t: a process of launch has failed(?s:.*)RuntimeError: it burns"):
        run(base, tmp_path / "m", StopAt(), settings)
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [said for said in commands if str(tmp_path / "m").encode() in said]


@pytest.mark.parametrize(
    ("launch", "told"),
    [
        ({"devices": 8}, "--use_fsdp --num_machines 1 --machine_rank 0 --num_processes 8 --mixed_precision bf16"),
        ({"devices": 4, "offload": True}, "--fsdp_offload_params true"),
        ({"devices": 8, "context_parallel": 4}, "--parallelism_config_cp_size 4 --parallelism_config_dp_shard_size 2"),
        ({"devices": 8, "shard": "zero3"}, "--use_deepspeed --num_machines 1"),
        ({"devices": 8, "machines": 2}, "--num_machines 2 --machine_rank 1 --num_processes 16 --main_process_ip"),
    ],
)
def test_accelerate_is_told_what_the_recipe_says(tmp_path, launch, told):
    from accelerate.commands.launch import launch_command_parser

    settings = SETTINGS.model_copy(update={"precision": "bf16", "launch": Launch(**launch)})
    said = command(settings, tmp_path, machine=launch.get("machines", 1) - 1)
    assert told in " ".join(said)
    parsed = launch_command_parser().parse_args(said[3:])
    assert (parsed.module, parsed.training_script) == (True, "distill.student.worker")


def test_trl_alone_trains_on_the_same_tokens_by_the_plain_file(base, tmp_path, monkeypatch):
    from trl.scripts import sft

    limit = sorted(prepare(read_base(str(base), Arm(base=str(base)))).lengths)[30]  # longer ones are dropped
    whole = {"steps": 1, "optimizer": "adamw", "precision": "fp32", "max_length_tokens": limit}
    chats = CHATS[:24]
    kept = prepare(read_base(str(base), Arm(base=str(base))), chats, max_length_tokens=limit)
    whole["batch_rows"] = len(kept)  # all in one step, so that their order does not matter
    ours = run(base, tmp_path, StopAt(), SETTINGS.model_copy(update=whole), chats)
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", "sft.yaml", "--logging_steps", "1"]
    sft.main(*sft.make_parser().parse_args_and_config(arguments))
    state = json.loads((tmp_path / "trl" / "checkpoint-1" / "trainer_state.json").read_text())
    first = state["log_history"][0]
    behind_end = base.name.startswith("qwen2")  # the line break that its template writes there, which TRL trains on
    assert first["num_tokens"] == sum(kept.lengths) + behind_end * len(kept)
    assert first["loss"] == pytest.approx(ours["loss"], abs=0.02 if behind_end else 2e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "flash_attention_2"}, "flash_attention_2 is not installed here; install flash-attn"),
        ({"kernels": "liger"}, "liger needs liger-kernel and a GPU"),
        ({"lora": Lora(quantize="nf4"), "optimizer": "adamw"}, "nf4 needs bitsandbytes, which is not installed"),
        ({"launch": Launch(devices=2, shard="zero3"), "optimizer": "adamw"}, "zero3 needs deepspeed"),
    ],
)
def test_what_this_machine_has_not_is_said(base, tmp_path, changes, message):
    with pytest.raises(TrainingError, match=message):
        run(base, tmp_path / "m", StopAt(), SETTINGS.model_copy(update=changes))


def test_with_a_gpu_trl_is_told_of_kernels_attention_and_four_bits(base, start, monkeypatch):
    """With stand-ins for the GPU and for packages that need one: how they are configured."""
    import torch
    import transformers

    from distill.student import training
    from distill.student.sft import packs

    made = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(training, "find_spec", lambda name: name)
    monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: True)
    monkeypatch.setattr(transformers.BitsAndBytesConfig, "post_init", lambda self: None)  # asks for the package
    monkeypatch.setattr(
        transformers.AutoModelForCausalLM,
        "from_pretrained",
        lambda path, **told: made.update(told) or torch.nn.Module(),
    )
    settings = SETTINGS.model_copy(
        update={"optimizer": "adamw", "precision": "bf16", "lora": Lora(rank=4, quantize="nf4")}
    )
    assert training.arguments(settings, 6, base / "c")["use_liger_kernel"]
    assert not training.arguments(settings.model_copy(update={"kernels": "torch"}), 6, base / "c")["use_liger_kernel"]
    assert packs(settings)
    shared = settings.model_copy(update={"launch": Launch(devices=2, context_parallel=2)})
    assert (training.attention(shared), packs(shared)) == ("sdpa", False)
    training.load_model(start, Arm(base=str(base)), settings)
    assert (made["attn_implementation"], made["dtype"], made["device_map"]) == (
        "flash_attention_2",
        torch.bfloat16,
        {"": 0},
    )
    four = made["quantization_config"]
    assert (four.load_in_4bit, four.bnb_4bit_quant_type, four.bnb_4bit_use_double_quant) == (True, "nf4", True)
    assert four.bnb_4bit_compute_dtype == torch.bfloat16


def test_the_student_stops_at_its_end_token(base, tmp_path):
    run(base, tmp_path / "m", StopAt(), SETTINGS.model_copy(update={"steps": 1, "optimizer": "adamw"}))
    from transformers import AutoTokenizer, GenerationConfig

    stops = GenerationConfig.from_pretrained(tmp_path / "m").eos_token_id
    assert AutoTokenizer.from_pretrained(tmp_path / "m").eos_token_id in (stops if isinstance(stops, list) else [stops])


def test_checkpoints_of_another_training_are_not_gone_on_with(base, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(base, tmp_path / "m", StopAt(5))
    (tmp_path / "m" / "checkpoints" / "key").write_text("other")
    progress = StopAt()
    run(base, tmp_path / "m", progress)
    assert sum(progress.steps) == 6
    assert progress.steps[0] == 1


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [("auto", True, True), ("auto", False, False), ("bf16", False, True), ("fp32", True, False)],
)
def test_products_are_in_bf16_where_the_device_has_them(monkeypatch, precision, native, expected):
    from distill.student import training

    monkeypatch.setattr(training, "multiplies_bf16", lambda: native)
    assert training.bf16(SETTINGS.model_copy(update={"precision": precision})) is expected


@pytest.mark.parametrize("bf16", [True, False])
def test_muon_moves_matrices_by_muon_and_its_state_survives_a_checkpoint(bf16):
    import torch
    from torch import nn

    from distill.student.muon import MuonWithAdamW

    def make(bf16=bf16):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4))
        return model, MuonWithAdamW(model, lr=0.01, muon_lr=0.02, weight_decay=0.0, bf16=bf16)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.arange(5)).square().sum().backward()
        optimizer.step()

    model, optimizer = make()
    assert [sorted(p.ndim for p in group["params"]) for group in optimizer.param_groups] == [[2], [1, 1, 1, 2]]
    step(model, optimizer)
    rounded, otherwise = make(bf16=not bf16)
    step(rounded, otherwise)
    assert not torch.equal(model[1].weight, rounded[1].weight)
    assert torch.allclose(model[1].weight, rounded[1].weight, atol=5e-3)
    other, restored = make()
    other.load_state_dict(model.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(model, optimizer)
    step(other, restored)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    fresh, empty = make()
    fresh.load_state_dict(model.state_dict())
    step(model, optimizer)
    step(fresh, empty)
    assert not all(torch.equal(one, two) for one, two in zip(model.parameters(), fresh.parameters(), strict=True))
