"""What was pushed comes back as it was made, whole and streamed, and through TRL as the same tokens either way."""

import json
import os
import re
import subprocess
import sys

import polars as pl
import pytest
import yaml
from pushing import REPO, TOKEN, push_run

from distill import scratch
from distill.recipe.student import Arm, Student
from distill.student.base import read_base
from distill.student.rows import UNTRAINED, prepare_rows

datasets = pytest.importorskip("datasets")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

LOAD = """
import json, sys
import datasets
repo, token = sys.argv[1:]
for config in datasets.get_dataset_config_names(repo, token=token):
    whole = datasets.load_dataset(repo, config, split="train", token=token)
    streamed = list(datasets.load_dataset(repo, config, split="train", streaming=True, token=token))
    print(json.dumps([config, whole.to_list(), streamed == whole.to_list()]))
print(json.dumps(["", datasets.load_dataset(repo, split="train", token=token).to_list(), True]))
"""


@pytest.fixture
def loaded(hub, made, tmp_path):
    """The rows of each config as a stranger's Python loads them, with the token; of none for the default."""
    assert push_run(made)[0] == 0
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", LOAD, REPO, TOKEN]
    ran = subprocess.run(command, env=kept | ours, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return {config: (rows, same) for config, rows, same in map(json.loads, ran.stdout.splitlines())}


def rows_of(made, config):
    return pl.read_parquet(made / "runs" / "sums" / "dataset" / config / "*.parquet").to_dicts()


def test_every_config_loads_and_streams(loaded, made):
    assert list(loaded) == ["default", "prompt_completion", "rollouts", "rejected", ""]
    for config, (rows, streamed_the_same) in loaded.items():
        assert rows == rows_of(made, config or "default"), config
        assert streamed_the_same, config


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A tiny Qwen2 with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("student")
    shape = {"hidden_size": 16, "layers": 1, "heads": 2, "max_positions": 1024, "vocab_size": 300, "seed": 0}
    scratch.build(folder, architecture="qwen2", texts=["Start with 12. Step 1: add 7."], **shape)
    return folder


@pytest.mark.parametrize("template", [None, "qwen3_training"])
def test_trl_makes_the_same_tokens_of_either_config_and_of_our_rows(made, student, tmp_path, template):
    trl = pytest.importorskip("trl")
    start = read_base(str(student), Arm(base=str(student), chat_template=template))
    arguments = trl.SFTConfig(output_dir=str(tmp_path), max_length=None, report_to=[], use_cpu=True, bf16=False)
    chats = {config: rows_of(made, config) for config in ("default", "prompt_completion")}
    whole, parts = (
        trl.SFTTrainer(
            str(student), arguments, processing_class=start.tokenizer, train_dataset=datasets.Dataset.from_list(rows)
        ).train_dataset.to_dict()
        for rows in chats.values()
    )
    assert whole["input_ids"] == parts["input_ids"]
    settings = Student(arms={"a": Arm(base="unused")}, max_length_tokens=1024)
    ours = prepare_rows(chats["prompt_completion"], start, settings, "the rows")
    first = [next(place for place, label in enumerate(row) if label != UNTRAINED) for row in parts["labels"]]
    assert first == ours.prompts, "TRL masks what we mask"
    for row, ids in zip(ours.ids, parts["input_ids"], strict=True):
        assert ids[: len(row)] == list(row)
        assert start.tokenizer.decode(ids[len(row) :]).strip() == "", "TRL goes on to the template's line break"


def test_axolotl_makes_the_same_tokens_by_the_settings_of_the_card(made, student):
    """Where axolotl is: it is not among what distill installs, and needs no GPU for this."""
    strategy = pytest.importorskip("axolotl.prompt_strategies.chat_template")
    settings = pytest.importorskip("axolotl.utils.dict").DictDefault
    start = read_base(str(student), Arm(base=str(student)))
    card = (made / "runs" / "sums" / "dataset" / "README.md").read_text()
    (block,) = re.findall(r"axolotl:\n\n```yaml\n(.*?)```", card, re.DOTALL)
    (given,) = yaml.safe_load(block)["datasets"]
    whole = settings(sequence_len=1024, chat_template="tokenizer_default", train_on_inputs=False, datasets=[given])
    tokenize = strategy.load(start.tokenizer, whole, settings(given)).tokenize_prompt
    ours = prepare_rows(
        rows_of(made, "prompt_completion"),
        start,
        Student(arms={"a": Arm(base="unused")}, max_length_tokens=1024),
        "the rows",
    )
    for number, row in enumerate(rows_of(made, "default")):
        theirs = tokenize(row)
        length = len(ours.ids[number])
        assert theirs["input_ids"][:length] == list(ours.ids[number])
        assert theirs["labels"][:length] == list(ours.labels(number))
        assert start.tokenizer.decode(theirs["input_ids"][length:]).strip() == ""
        assert set(theirs["labels"][length:]) <= {UNTRAINED}
