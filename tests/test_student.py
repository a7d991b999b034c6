"""What a student is trained on is what the row says, end token included; a stopped training goes on exactly."""

import copy
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill import arithmetic, scratch
from distill.progress import Silent
from distill.recipe.student import Arm, Student
from distill.student.base import read_base
from distill.student.order import batch_order
from distill.student.rows import UNTRAINED, prepare_rows

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


def run(base, out, progress, settings=SETTINGS):
    from distill.student.train import train

    arm = Arm(base=str(base))
    return train(CHATS, name="t", key="k", base=str(base), arm=arm, settings=settings, out=out, progress=progress)


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


def test_muon_moves_matrices_by_muon_and_its_state_survives_a_checkpoint():
    import torch
    from torch import nn

    from distill.student.muon import MuonWithAdamW

    def make():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4))
        return model, MuonWithAdamW(model, lr=0.01, muon_lr=0.02, weight_decay=0.0)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.arange(5)).square().sum().backward()
        optimizer.step()

    model, optimizer = make()
    assert [sorted(p.ndim for p in group["params"]) for group in optimizer.param_groups] == [[2], [1, 1, 1, 2]]
    step(model, optimizer)
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
