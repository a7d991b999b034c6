"""What a student starts from, less its weights: tokenizer, template, configuration, as the recipe changes them.

The preflight looks at it, training uses it, and it is saved with the student. Loads no weights.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.recipe.student import Arm, Rope


class BaseError(ValueError):
    """A base cannot be what the recipe asks of it. Names the key, what was found and what to do."""


@dataclass(frozen=True)
class Base:
    """A model without its weights."""

    path: str
    """Hub id or folder."""
    tokenizer: Any
    config: Any
    generation: Any
    """Its `GenerationConfig`."""

    @property
    def stops(self) -> list[int]:
        """Token ids that generation stops at, by the base's own generation config."""
        ids = self.generation.eos_token_id
        return ids if isinstance(ids, list) else [] if ids is None else [ids]

    @property
    def positions(self) -> int | None:
        """Tokens that the position encoding reaches; None where the configuration does not say."""
        limit = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def special_tokens(self) -> list[str]:
        """What a row's text must not hold: the tokenizer reads it as a mark and not as text."""
        added = self.tokenizer.added_tokens_decoder.values()
        return sorted({str(t) for t in added if t.special} | {t for t in self.tokenizer.all_special_tokens if t})


def read_base(path: str, arm: Arm) -> Base:
    """The tokenizer and the configuration at `path`, with the arm's template, end token, pad token and rope.

    Raises BaseError where a key names what the base does not have.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    revision = arm.revision or "main"
    tokenizer = AutoTokenizer.from_pretrained(path, revision=revision)
    config = AutoConfig.from_pretrained(path, revision=revision)
    try:
        generation = GenerationConfig.from_pretrained(path, revision=revision)
    except OSError:  # it has none: what its configuration says then counts
        generation = GenerationConfig.from_model_config(config)
    if arm.chat_template is not None:
        tokenizer.chat_template = _template(arm.chat_template)
    if tokenizer.chat_template is None:
        raise BaseError(
            f"{path} has no chat template, so a row cannot be rendered; name one as the arm's chat_template: one of "
            f"TRL's, such as qwen3_training or llama3_training, or a .jinja file"
        )
    if arm.end_token is not None:
        _require(tokenizer, "end_token", arm.end_token, f"its end token is {tokenizer.eos_token!r}")
        tokenizer.eos_token = arm.end_token
        stops = generation.eos_token_id if isinstance(generation.eos_token_id, list) else [generation.eos_token_id]
        others = [stop for stop in stops if stop not in (None, tokenizer.eos_token_id)]
        generation.eos_token_id = [tokenizer.eos_token_id, *others]
    _choose_pad(tokenizer, arm.pad_token)
    generation.pad_token_id = tokenizer.pad_token_id
    if arm.rope is not None:
        apply_rope(config, arm.rope)
    return Base(path, tokenizer, config, generation)


def pad_candidates(tokenizer: Any) -> list[str]:
    """Tokens of this tokenizer that can pad, the likeliest first: none of them ends or begins a text."""
    taken = {tokenizer.eos_token, tokenizer.bos_token, None}
    added = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special and str(t) not in taken]
    named = [t for t in added if "pad" in t.lower()]
    unused = [t for t in added if any(word in t.lower() for word in ("endoftext", "end_of_text", "reserved", "unused"))]
    unknown = [t for t in added if t == tokenizer.unk_token]
    return list(dict.fromkeys([*named, *unused, *unknown]))


def apply_rope(config: Any, rope: Rope) -> None:
    """Set the rotary positions in `config`, from which the model is then built, and which is saved with it."""
    text = config.get_text_config()
    if not hasattr(text, "rope_parameters"):
        raise BaseError(f"rope: {config.model_type} has no rotary positions to change; leave the arm's rope out")
    parameters = dict(text.rope_parameters or {})
    if rope.theta is not None:
        parameters["rope_theta"] = rope.theta
    if rope.type is not None:
        parameters["rope_type"] = rope.type
        if rope.type == "default":
            parameters.pop("factor", None)
        else:
            # YaRN and its like count the stretch from the length that the base was trained at.
            parameters["original_max_position_embeddings"] = text.max_position_embeddings
            parameters["factor"] = rope.factor or rope.max_positions / text.max_position_embeddings
    text.rope_parameters = parameters
    text.max_position_embeddings = rope.max_positions


def _template(name: str) -> str:
    file = Path(name)
    if file.suffix in (".jinja", ".j2"):
        if not file.is_file():
            raise BaseError(f"chat_template: there is no file {name}")
        return file.read_text(encoding="utf-8")
    templates = trl_templates()
    if name not in templates:
        raise BaseError(f"chat_template: TRL has no {name!r}; it has {', '.join(templates) or 'none, or is missing'}")
    return templates[name].read_text(encoding="utf-8")


def trl_templates() -> dict[str, Path]:
    """The chat templates that the installed TRL ships, by name, without importing it."""
    spec = find_spec("trl")
    folder = Path(spec.origin).parent / "chat_templates" if spec is not None and spec.origin else None
    return {} if folder is None else {file.stem: file for file in sorted(folder.glob("*.jinja"))}


def _choose_pad(tokenizer: Any, name: str | None) -> None:
    """A pad token where none is named or set: one that ends nothing, so that no collator can mask the end token."""
    if name is not None:
        _require(tokenizer, "pad_token", name, f"it could be {', '.join(pad_candidates(tokenizer)[:5]) or 'none'}")
        tokenizer.pad_token = name
    elif tokenizer.pad_token is None:
        tokenizer.pad_token = next(iter(pad_candidates(tokenizer)), tokenizer.eos_token)


def _require(tokenizer: Any, key: str, token: str, hint: str) -> None:
    # Asked back, since the unknown token, whose id an unknown one gets, may itself be named: Qwen2's is <|endoftext|>.
    if tokenizer.convert_ids_to_tokens(tokenizer.convert_tokens_to_ids(token) or 0) != token:
        raise BaseError(f"{key} {token!r} is not a token of this base; {hint}")
