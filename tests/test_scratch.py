import json
import re

import pytest

from distill import arithmetic, scratch

TEXTS = [
    text
    for problem, _ in arithmetic.generate(200, steps=(1, 4), seed=0, held_out=False)
    for text in (problem, arithmetic.solve(problem))
]
SHAPE = {"hidden_size": 32, "layers": 1, "heads": 2, "max_positions": 256, "vocab_size": 400, "seed": 0}
CHAT = [{"role": "user", "content": "Start with 59."}, {"role": "assistant", "content": "<think>\n5\n</think>\n\n9"}]


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    scratch.build(folder, architecture=request.param, texts=TEXTS, **SHAPE)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_the_folder_loads_and_model_and_tokenizer_agree(folder, tokenizer):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.architectures == [type(model).__name__]
    assert model.config.vocab_size == len(tokenizer) <= SHAPE["vocab_size"]
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_text_comes_back_as_it_was_and_every_digit_is_one_token(tokenizer):
    for text in [*TEXTS[:20], "naïve  spaces\n\n\tand ünïcode 12345 <think>"]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert not [
            token for token in tokenizer.convert_ids_to_tokens(ids) if len(token) > 1 and re.search("[0-9]", token)
        ]


def test_the_template_ends_turns_at_eos_and_keeps_the_reasoning(tokenizer):
    text = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert CHAT[1]["content"] in text
    assert text.rstrip().endswith(tokenizer.eos_token)
    prompt = tokenizer.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert text.startswith(prompt)
    ids = tokenizer.apply_chat_template(CHAT, return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == (tokenizer.bos_token is not None)


def test_think_tags_are_one_token_each_and_survive_decoding_without_special_tokens(tokenizer):
    ids = tokenizer("<think></think>", add_special_tokens=False)["input_ids"]
    assert len(ids) == 2
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think></think>"


def test_a_seed_gives_the_same_weights_and_leaves_the_callers_draws_alone(folder, tmp_path):
    import torch

    architecture = json.loads((folder / "config.json").read_text())["model_type"]
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    scratch.build(tmp_path, architecture=architecture, texts=TEXTS, **SHAPE)
    assert torch.equal(torch.rand(1), expected)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 3}, "heads: found 3 for hidden_size 32"),
        ({"kv_heads": 3}, "kv_heads: found 3"),
        ({"vocab_size": 100}, "vocab_size: found 100, expected at least 261"),
    ],
)
def test_an_impossible_shape_is_refused_with_its_cure(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        scratch.build(tmp_path, architecture="qwen2", texts=TEXTS, **{**SHAPE, **wrong})
