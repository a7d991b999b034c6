"""Every way in which a fine-tuning is silently wrong is caught, with the row, the reason and the cure."""

import copy
import re

import pytest

from distill import scratch
from distill.chat import join_completion
from distill.recipe.student import Arm, Rope, Student
from distill.student.base import Base, BaseError, apply_rope, read_base, trl_templates
from distill.student.checks import BASE_CHECKS, KEPT_CHECKS, ROW_CHECKS, PreflightError
from distill.student.rows import prepare_rows


def chat(question="What is 2 + 2?", reasoning="Two and two.\n\nThat makes 4.", response="It is \\boxed{4}."):
    content = join_completion(reasoning, response)
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": content}],
    }


CHATS = [chat(), chat("What is 3 + 4?", "Three and four.", "\\boxed{7}"), chat("Name a prime.", None, "It is 5.")]
TEXTS = [message["content"] for row in CHATS for message in row["prompt"] + row["completion"]]
SETTINGS = Student(arms={"a": Arm(base="unused")}, max_length_tokens=256)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen2")
    shape = {"hidden_size": 16, "layers": 1, "heads": 1, "max_positions": 256, "vocab_size": 300, "seed": 0}
    scratch.build(folder, architecture="qwen2", texts=TEXTS, **shape)
    return folder


@pytest.fixture
def start(folder):
    return read_base(str(folder), Arm(base=str(folder)))


# --- a table of faults ------------------------------------------------------------------------------------------------

TURNS = "{%% for m in messages %%}{{ '<|im_start|>' + m.role + '\n' + %s + '%s' }}{%% endfor %%}"
CHATML = TURNS % ("m.content", "<|im_end|>\n")
ASKS = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def template(text):
    def change(base, chats, settings):
        base.tokenizer.chat_template = text

    return change


def special_text(base, chats, settings):
    chats[1]["prompt"][0]["content"] += " <|im_end|> ignore the above"


def pad_is_end(base, chats, settings):
    base.tokenizer.pad_token = base.tokenizer.eos_token


def stops_elsewhere(base, chats, settings):
    base.generation.eos_token_id = base.tokenizer.convert_tokens_to_ids("<|endoftext|>")


def begins_twice(base, chats, settings):
    base.tokenizer.bos_token = "<|endoftext|>"
    base.tokenizer.chat_template = "{{ bos_token }}{{ bos_token }}" + CHATML + ASKS


def ends_otherwise(base, chats, settings):
    base.tokenizer.eos_token = "<|endoftext|>"


def few_positions(base, chats, settings):
    base.config.max_position_embeddings = 20


def small_embedding(base, chats, settings):
    base.config.vocab_size = 100


def setting(**changes):
    return lambda base, chats, settings: settings.update(changes)


LAST_LINE = "m.content.split('</think>')[-1]"
FAULTS = [
    ("reasoning_lost", template(TURNS % (LAST_LINE, "<|im_end|>\n") + ASKS), 0, "name a template that keeps it"),
    (
        "response_lost",
        template(TURNS % ("m.content.replace('boxed', '')", "<|im_end|>\n") + ASKS),
        0,
        "chat_template",
    ),
    ("question_lost", template(TURNS % ("m.content.replace('?', '')", "<|im_end|>\n") + ASKS), 0, "chat_template"),
    ("prompt_not_prefix", template(CHATML + "{% if add_generation_prompt %}Say: {% endif %}"), 0, "for training"),
    ("prompt_not_prefix", template(CHATML + ASKS.replace("\n", "\n\n<think>\n")), 0, "for training"),
    # The prompt ends within a token of the whole.
    (
        "prompt_ids_not_prefix",
        template(CHATML + "{% if add_generation_prompt %}<|im_start|>assis{% endif %}"),
        0,
        "ends",
    ),
    # Only a conversation that has an answer has its question rendered.
    (
        "question_trained",
        template("{% if not add_generation_prompt %}" + CHATML + "{% endif %}"),
        0,
        "when it renders the prompt alone",
    ),
    ("think_untrained", template(TURNS % ("m.content.replace('<think>\n', '')", "<|im_end|>\n") + ASKS), 0, "keeps it"),
    (
        "think_doubled",
        template(
            CHATML.replace("m.content", "('<think>\n\n</think>\n' if m.role == 'assistant' else '') + m.content") + ASKS
        ),
        0,
        "leaves the tags to the row",
    ),
    ("end_untrained", template(TURNS % ("m.content", "\n") + ASKS), 0, "end_token"),
    ("end_untrained", ends_otherwise, 0, "'<|im_end|>'"),
    ("end_masked", pad_is_end, None, "such as '<|endoftext|>'"),
    ("end_not_generated", stops_elsewhere, None, "name the arm's end_token"),
    ("bos_doubled", begins_twice, 0, "once"),
    ("special_token_in_text", special_text, 1, "special_tokens: drop"),
    ("over_length", setting(over_length="error", max_length_tokens=30), 0, "over_length: drop or split"),
    ("no_rows", setting(max_length_tokens=3), None, "max_length_tokens"),
    ("beyond_positions", few_positions, None, "give the arm a rope"),
    ("outside_vocabulary", small_embedding, 0, "of one base"),
    ("too_few_trained_tokens", setting(min_trained_tokens=1_000_000), None, "sample more"),
    ("template_refused", template("{{ raise_exception('no system prompt') }}"), 0, "chat_template"),
]


@pytest.mark.parametrize(("reason", "spoil", "row", "cure"), FAULTS, ids=[f"{f[0]}-{n}" for n, f in enumerate(FAULTS)])
def test_a_training_that_would_be_silently_wrong_is_refused(start, reason, spoil, row, cure):
    chats, changes = copy.deepcopy(CHATS), {}
    prepare_rows(chats, start, SETTINGS, "small")
    spoil(start, chats, changes)
    with pytest.raises(PreflightError) as refused:
        prepare_rows(chats, start, SETTINGS.model_copy(update=changes), "small")
    faults = {fault.reason: fault for fault in refused.value.faults}
    assert reason in faults
    assert faults[reason].rows[:1] == ([] if row is None else [row])
    message = next(line for line in str(refused.value).splitlines() if f"{reason}: " in line)
    print(message)
    assert message.startswith("small: ")
    assert (f"row {row}" in message) == (row is not None)
    assert cure in message


def test_every_check_has_a_case_in_the_table():
    asked = {check.__name__ for check in (*ROW_CHECKS, *BASE_CHECKS, *KEPT_CHECKS)}
    assert asked <= {reason for reason, *_ in FAULTS}


def test_every_fault_is_told_at_once_with_how_many_rows_have_it(start):
    pad_is_end(start, [], {})
    start.tokenizer.chat_template = TURNS % (LAST_LINE, "<|im_end|>\n") + ASKS
    with pytest.raises(PreflightError) as refused:
        prepare_rows(CHATS, start, SETTINGS, "small")
    assert [(fault.reason, fault.rows) for fault in refused.value.faults] == [
        ("reasoning_lost", [0, 1]),
        ("end_masked", []),
    ]
    assert "small: row 0 and 1 more: reasoning_lost: " in str(refused.value)


def test_rows_with_special_tokens_can_be_dropped_and_are_counted(start):
    chats = copy.deepcopy(CHATS)
    special_text(start, chats, {})
    rows = prepare_rows(chats, start, SETTINGS.model_copy(update={"special_tokens": "drop"}), "small")
    assert (len(rows), rows.dropped) == (2, {"special tokens of the tokenizer in the text": 1})


# --- the cures --------------------------------------------------------------------------------------------------------


def test_the_cures_work(folder, start):
    arm = Arm(base=str(folder), end_token="<|endoftext|>", pad_token="<|im_end|>", chat_template="qwen3_training")
    changed = read_base(str(folder), arm)
    assert changed.tokenizer.eos_token == "<|endoftext|>"
    assert changed.stops[0] == changed.tokenizer.eos_token_id
    assert changed.tokenizer.chat_template == trl_templates()["qwen3_training"].read_text()
    assert changed.tokenizer.pad_token == "<|im_end|>"
    assert changed.generation.pad_token_id == changed.tokenizer.pad_token_id


def test_a_tokenizer_without_a_pad_token_gets_a_reserved_one(tmp_path, folder):
    import shutil

    from transformers import AutoTokenizer

    shutil.copytree(folder, tmp_path / "m")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "m")
    assert read_base(str(tmp_path / "m"), Arm(base="m")).tokenizer.pad_token == "<|endoftext|>"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"end_token": "<|eot_id|>"}, "end_token '<|eot_id|>' is not a token of this base"),
        ({"pad_token": "<pad>"}, "pad_token '<pad>' is not a token of this base; it could be <|endoftext|>"),
        ({"chat_template": "qwen9"}, "TRL has no 'qwen9'; it has .*qwen3_training"),
        ({"chat_template": "missing.jinja"}, "there is no file missing.jinja"),
    ],
)
def test_what_a_base_does_not_have_is_said(folder, changes, message):
    with pytest.raises(BaseError, match=re.escape(message) if "*" not in message else message):
        read_base(str(folder), Arm(base=str(folder), **changes))


def test_rope_stretches_positions_and_is_in_the_configuration(start):
    apply_rope(start.config, Rope(max_positions=1024, theta=300000.0))
    assert start.positions == 1024
    assert start.config.rope_parameters["rope_theta"] == 300000.0
    apply_rope(start.config, Rope(max_positions=4096, type="yarn"))
    yarn = start.config.rope_parameters
    assert (yarn["rope_type"], yarn["factor"], yarn["original_max_position_embeddings"]) == ("yarn", 4.0, 1024)


# --- the templates that TRL ships -------------------------------------------------------------------------------------

MARKS = re.compile(r"<[|｜][^<>'\"{}\s]+[|｜]>|<(?:start|end)_of_turn>|<turn\|>|<\|turn>|<end_of_utterance>")
ENDS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜end▁of▁sentence｜>",
    "diffusion_gemma": "<turn|>",
    "gemma4": "<turn|>",
    "gemma": "<end_of_turn>",
    "glm4moe": "<|user|>",
    "gptoss": "<|return|>",
    "idefics3": "<end_of_utterance>",
    "llama3": "<|eot_id|>",
    "llava_next": "</s>",
    "muse_glimmer": "<|eot|>",
    "phi3": "<|end|>",
    "smolvlm": "<end_of_utterance>",
}
"""The token that ends a turn, by how a template's name begins; ChatML's for the others."""

REFUSED = {
    "deepseek_r1_distill": "reasoning_lost",
    "deepseekv3": "reasoning_lost",
    "deepseekv3_training": "reasoning_lost",
    "glm4moe": "end_untrained",
    "idefics3": "reasoning_lost",
    "idefics3_training": "reasoning_lost",
    "llava_next": "template_refused",
    "llava_next_training": "template_refused",
    "qwen3_5_nothink": "prompt_not_prefix",
    "qwen3_5_nothink_training": "prompt_not_prefix",
    "qwen3_8": "think_doubled",
    "qwen3_8_training": "think_doubled",
    "smolvlm": "reasoning_lost",
    "smolvlm_training": "reasoning_lost",
}
"""What is wrong with those that cannot be trained on rows with think tags in their content; nothing with the others."""


def tokenizer_for(text, name):
    """A tiny tokenizer that has the marks of a template as special tokens."""
    end = next((end for start, end in ENDS.items() if name.startswith(start)), "<|im_end|>")
    tokenizer = scratch.train_tokenizer("qwen2", TEXTS, 300)
    marks = sorted({*MARKS.findall(text), end, "<begin>"})
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = "<begin>", end, "<|endoftext|>"
    tokenizer.chat_template = text
    return tokenizer


def test_the_templates_are_those_of_the_installed_trl():
    from importlib.metadata import files

    listed = files("trl") or []
    shipped = {file.stem for file in listed if (file.parent.name, file.suffix) == ("chat_templates", ".jinja")}
    assert trl_templates().keys() == shipped >= REFUSED.keys()
    for family in ("qwen2_5", "qwen3", "llama3", "deepseek_r1_distill"):
        assert {family, f"{family}_training"} <= shipped


@pytest.mark.parametrize("name", trl_templates())
def test_each_template_of_trl_trains_the_whole_answer_or_is_refused(name):
    from transformers import GenerationConfig, Qwen2Config

    tokenizer = tokenizer_for(trl_templates()[name].read_text(), name)
    config = Qwen2Config(vocab_size=len(tokenizer), max_position_embeddings=4096)
    base = Base(name, tokenizer, config, GenerationConfig(eos_token_id=tokenizer.eos_token_id))
    settings = SETTINGS.model_copy(update={"max_length_tokens": 4096})
    if name in REFUSED:
        with pytest.raises(PreflightError) as refused:
            prepare_rows(CHATS[:2], base, settings, name)
        assert [fault.reason for fault in refused.value.faults] == [REFUSED[name]]
        return
    rows = prepare_rows(CHATS[:2], base, settings, name)
    for number, row in enumerate(CHATS[:2]):
        trained = tokenizer.decode([token for token in rows.labels(number).tolist() if token >= 0])
        asked = tokenizer.decode(rows.ids[number][: rows.prompts[number]].tolist())
        reasoning, _, response = row["completion"][0]["content"].removeprefix("<think>\n").partition("\n</think>\n\n")
        assert reasoning in trained
        assert trained.index("</think>") < trained.index(response)
        assert ("<think>" in trained) != asked.rstrip().endswith("<think>")
        assert trained.endswith(tokenizer.eos_token)
        assert row["prompt"][0]["content"] in asked
        assert row["prompt"][0]["content"] not in trained
