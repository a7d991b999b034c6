"""A pushed dataset is the same tokens, masked alike, in TRL, axolotl, LLaMA-Factory and distill.

Each is told what the card tells people to tell it.
"""

import importlib
import re

import datasets
import pytest
import yaml
from pushing import REPO, push_run, rows_of
from strangers import importable

from distill import scratch
from distill.recipe.student import Arm, Student
from distill.student.base import read_base
from distill.student.rows import UNTRAINED, prepare_rows

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """A tiny Qwen2 with a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("student")
    shape = {"hidden_size": 16, "layers": 1, "heads": 2, "max_positions": 1024, "vocab_size": 300, "seed": 0}
    scratch.build(folder, architecture="qwen2", texts=["Start with 12. Step 1: add 7."], **shape)
    return folder


@pytest.fixture(params=[None, "qwen3_training"])
def start(request, student):
    """Its tokenizer, with one template or another."""
    return read_base(str(student), Arm(base=str(student), chat_template=request.param))


@pytest.fixture
def card(hub, made, tmp_path, monkeypatch):
    """The card of a dataset on the Hub, where libraries in this process find it."""
    constants = importlib.import_module("huggingface_hub.constants")
    assert push_run(made)[0] == 0
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.url)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return hub.repos[REPO].files["README.md"].decode()


@pytest.fixture(scope="module")
def axolotl(tmp_path_factory):
    """Its chat_template strategy, and its dictionary."""
    packages = ("axolotl==0.19.0", "addict==2.4.0", "colorama==0.4.6")
    with importable(tmp_path_factory.mktemp("axolotl"), *packages):
        names = ("axolotl.prompt_strategies.chat_template", "axolotl.utils.dict")
        yield tuple(map(importlib.import_module, names))


@pytest.fixture(scope="module")
def llama_factory(tmp_path_factory):
    """Its data code and its settings. It imports torchaudio, which it calls for sounds alone."""
    folder = tmp_path_factory.mktemp("llama_factory")
    with (
        importable(folder, "llamafactory==0.9.5", "omegaconf==2.4.0", empty="torchaudio"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DISABLE_VERSION_CHECK", "1")
        yield tuple(map(importlib.import_module, ("llamafactory.data", "llamafactory.hparams")))


def settings_for(trainer, card):
    """What the card says in YAML."""
    (block,) = re.findall(rf"^{trainer}\b.*?```yaml\n(.*?)```", card, re.DOTALL | re.MULTILINE)
    return yaml.safe_load(block)


def assert_same(theirs, made, start, *, masked=""):
    """Tokens and labels of each row are ours but for those of a text that is `masked`; a line break may follow them."""
    settings = Student(arms={"a": Arm(base="unused")}, max_length_tokens=1024)
    ours = prepare_rows(rows_of(made, "prompt_completion"), start, settings, "the rows")
    assert len(theirs) == len(ours.ids) > 0
    for number, row in enumerate(theirs):
        length = len(ours.ids[number])
        assert row["input_ids"][:length] == list(ours.ids[number])
        assert start.tokenizer.decode(row["input_ids"][length:]) == "\n", "the template's, behind the end token"
        pairs = zip(row["labels"], ours.labels(number), ours.ids[number], strict=False)
        differ = [(theirs, token) for theirs, label, token in pairs if theirs != label]
        assert start.tokenizer.decode([token for _, token in differ]) == masked
        assert all(theirs == UNTRAINED for theirs, _ in differ)


def test_trl_makes_the_same_tokens_of_either_config(made, card, start, student, tmp_path):
    trl = pytest.importorskip("trl")
    (length,) = map(int, re.findall(r"SFTConfig\(max_length=(\d+)\)", card))
    arguments = trl.SFTConfig(output_dir=str(tmp_path), max_length=length, report_to=[], use_cpu=True, bf16=False)
    whole, parts = (
        trl.SFTTrainer(
            str(student),
            arguments,
            processing_class=start.tokenizer,
            train_dataset=datasets.load_dataset(REPO, config, split="train"),
        ).train_dataset
        for config in ("default", "prompt_completion")
    )
    assert whole.select_columns("input_ids").to_list() == parts.select_columns("input_ids").to_list()
    assert_same(parts.to_list(), made, start)


@pytest.mark.parametrize("template", ["tokenizer_default", "chatml"])
def test_axolotl_makes_the_same_tokens(made, card, start, axolotl, template):
    strategy, its = axolotl
    given = settings_for("axolotl", card)
    (source,) = given["datasets"]
    whole = its.DictDefault(chat_template=template, train_on_inputs=False, **given)
    tokenize = strategy.load(start.tokenizer, whole, its.DictDefault(source)).tokenize_prompt
    rows = datasets.load_dataset(source["path"], source["name"], split=source["split"])
    writes_the_tag = template == "tokenizer_default" and "<think>" in start.tokenizer.chat_template
    assert_same(list(map(tokenize, rows)), made, start, masked="<think>\n" if writes_the_tag else "")
    assert "With a template that writes `<think>` itself" in card


def test_llama_factory_makes_the_same_tokens(made, card, start, llama_factory, tmp_path):
    transformers = pytest.importorskip("transformers")
    data, hparams = llama_factory
    arguments = hparams.DataArguments(**settings_for("LLaMA-Factory", card))
    rows = data.get_dataset(
        data.get_template_and_fix_tokenizer(start.tokenizer, arguments),
        hparams.ModelArguments(model_name_or_path="unused", cache_dir=str(tmp_path)),
        arguments,
        transformers.Seq2SeqTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[]),
        "sft",
        start.tokenizer,
    )["train_dataset"]
    assert_same(rows.to_list(), made, start)
