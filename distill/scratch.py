"""A model from scratch: random weights, a tokenizer of its own, and the family's real special tokens and chat template.

The folder loads like any downloaded one, in transformers and in vLLM, without a network. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

Architecture = Literal["qwen2", "llama"]

THINK_TAGS = ("<think>", "</think>")
"""Added but not special: decoders that skip special tokens would delete them from the text."""

# Qwen2's own. transformers gives every Qwen2 folder this split, whatever its tokenizer.json says, so the merges must be
# learned under it; Llama gets the same one, because Llama 3's makes one token of up to three digits.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTES = 256
_ROLES = ("system\n", "user\n", "assistant\n")


@dataclass(frozen=True)
class _Family:
    specials: tuple[str, ...]
    bos: str | None
    eos: str
    pad: str
    chat_template: str
    rope_theta: float


_FAMILIES: dict[str, _Family] = {
    "qwen2": _Family(
        specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos=None,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        # Qwen2.5's ChatML less its default system prompt and tools.
        chat_template=(
            "{% for message in messages %}"
            "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
        ),
        rope_theta=10_000.0,
    ),
    "llama": _Family(
        specials=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|finetune_right_pad_id|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        pad="<|finetune_right_pad_id|>",
        # Llama 3's own, which trims every message.
        chat_template=(
            "{{ bos_token }}"
            "{% for message in messages %}"
            "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
            " + message['content'] | trim + '<|eot_id|>' }}"
            "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
        ),
        rope_theta=10_000.0,
    ),
}


def build(
    folder: Path,
    *,
    architecture: Architecture,
    hidden_size: int,
    layers: int,
    heads: int,
    kv_heads: int | None = None,
    intermediate_size: int | None = None,
    max_positions: int,
    texts: Iterable[str],
    vocab_size: int,
    seed: int,
) -> None:
    """Save a random model, a tokenizer trained on `texts` and a generation config in `folder`.

    The tokenizer holds at most `vocab_size` tokens, fewer when the texts have nothing left to merge; the model has
    as many rows as the tokenizer has tokens. `kv_heads` defaults to `heads`, `intermediate_size` to 3 × `hidden_size`.
    """
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    family = _FAMILIES[architecture]
    _check_shape(hidden_size, heads, kv_heads or heads, vocab_size, family)
    tokenizer = train_tokenizer(architecture, texts, vocab_size)
    config = _config(
        architecture,
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=intermediate_size or 3 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads or heads,
        max_position_embeddings=max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": family.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # The global generator is put back: building a model must not change what the caller draws next.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train_tokenizer(architecture: Architecture, texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with every digit its own token and the family's special tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    family = _FAMILIES[architecture]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(THINK_TAGS),
        special_tokens=list(family.specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_segments(texts), trainer)
    bpe.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in THINK_TAGS])
    if family.bos:
        bos_id = bpe.token_to_id(family.bos)
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", pair=f"{family.bos} $A {family.bos} $B", special_tokens=[(family.bos, bos_id)]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = family.chat_template
    return tokenizer


def _segments(texts: Iterable[str]) -> Iterator[str]:
    """The texts cut at the think tags, as the tokenizer will, each with the role names that the template writes."""
    for text in texts:
        yield from _ROLES
        for part in text.split(THINK_TAGS[0]):
            yield from part.split(THINK_TAGS[1])


def _config(architecture: Architecture, **shape: object) -> PretrainedConfig:
    from transformers import LlamaConfig, Qwen2Config

    return Qwen2Config(**shape) if architecture == "qwen2" else LlamaConfig(**shape)


def _check_shape(hidden_size: int, heads: int, kv_heads: int, vocab_size: int, family: _Family) -> None:
    if hidden_size % heads or (hidden_size // heads) % 2:
        raise ValueError(
            f"heads: found {heads} for hidden_size {hidden_size}, expected a divisor that leaves an even head size"
            " (rotary positions turn pairs); change one of the two"
        )
    if heads % kv_heads:
        raise ValueError(f"kv_heads: found {kv_heads}, expected a divisor of heads ({heads})")
    least = _BYTES + len(family.specials) + len(THINK_TAGS)
    if vocab_size < least:
        raise ValueError(f"vocab_size: found {vocab_size}, expected at least {least} (bytes and special tokens)")
