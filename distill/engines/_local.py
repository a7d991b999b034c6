"""A model on this machine before its weights are loaded: which one it is, its tokenizer, its prompts.

Shared by the engines that run models themselves. Does not load weights and does not sample.
"""

import difflib
import functools
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.chat import Message, render_prompt
from distill.engines import EngineError

# What decides a local model's answers. Anything else in the folder (logs, optimizer states, cards) may change freely.
_MODEL_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model*.bin.index.json", "*.gguf"),
    *("config.json", "generation_config.json", "adapter_config.json", "*.py"),
    *("tokenizer*", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "chat_template*"),
)
_PROMPTS_REMEMBERED = 1024
ADAPTER_CONFIG = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the model reads it."""

    token_ids: tuple[int, ...]
    opening: str
    """The think tag that the prompt ends with, or nothing; goes before the completion's text."""
    text: str
    prefix_ids: tuple[int, ...] = ()
    """The last of token_ids: what a completion that is continued has said, after the opening."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter as PEFT saves it, in a local folder."""

    folder: Path
    base: str
    """The model that it was trained on: a Hub id or a local folder."""
    revision: str | None
    rank: int


def adapter_in(model: str) -> Adapter | None:
    """The adapter in a local folder that holds one and no whole model."""
    folder = Path(model)
    if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
        return None
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text())
        ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
        return Adapter(folder, config["base_model_name_or_path"], config.get("revision"), max(ranks))
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{folder / ADAPTER_CONFIG} is not what PEFT writes for LoRA ({error!r}); expected r and "
            "base_model_name_or_path"
        ) from None


class LocalModel:
    """A Hub id or local folder, pinned to what it is now: a commit, or a digest of the folder's model files."""

    def __init__(self, model: str, revision: str | None) -> None:
        from transformers import AutoConfig, AutoTokenizer

        if adapter := adapter_in(model):
            raise EngineError(
                f"{model} is a LoRA adapter of {adapter.base!r}: the engine vllm samples it as it is, others need it "
                "merged into its base"
            )
        local = Path(model).is_dir()
        if local and revision is not None:
            raise EngineError(f"{model} is a local folder and has no revision {revision!r}; leave revision out")
        try:
            self.config = AutoConfig.from_pretrained(model, revision=revision)
            self.commit: str | None = None if local else (getattr(self.config, "_commit_hash", None) or revision)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=self.commit)
        except (OSError, ValueError) as error:
            raise EngineError(f"cannot open model {model!r}{_at(revision)}: {_first_line(error)}") from error
        if not self.tokenizer.chat_template:
            raise EngineError(
                f"model {model!r} has no chat template, so it cannot be asked questions; use a chat model"
            )
        self.model = model
        # The unpinned name of a revision (main) is no identity, but an old cache may hold nothing better.
        self.revision = folder_digest(Path(model)) if local else self.commit or "unknown"
        # k samples of a problem ask the same prompt; rendering it once keeps the template engine out of the hot loop.
        self._render = functools.lru_cache(_PROMPTS_REMEMBERED)(self._render_uncached)

    def identity(self) -> dict[str, Any]:
        """Model, revision and template digest, for an engine's own identity."""
        template = self.tokenizer.chat_template
        text = template if isinstance(template, str) else repr(sorted(template.items()))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"model": self.model, "revision": self.revision, "template_digest": f"sha256:{digest}"}

    def prompt(self, messages: Sequence[Message], *, open_think: bool, prefix: str = "") -> Prompt:
        """The prompt by the model's own template, tokenised with no special token but the template's."""
        prompt = self._render(tuple(tuple(message.items()) for message in messages), open_think)
        return self._continued(prompt, prefix.removeprefix(prompt.opening)) if prefix else prompt

    def _continued(self, prompt: Prompt, prefix: str) -> Prompt:
        """A prompt that a completion's beginning follows, less its opening."""
        encode = functools.partial(self.tokenizer.encode, add_special_tokens=False)
        known = prompt.token_ids
        # Some tokenizers put a space before a text that begins; as one text with the prompt it does not begin.
        whole = tuple(encode(prompt.text + prefix))
        ids = whole[len(known) :] if whole[: len(known)] == known else tuple(encode(prefix))
        if {*ids} & {*self.tokenizer.all_special_ids}:  # as text, where the model has spelled a special token
            ids = tuple(encode(prefix, split_special_tokens=True))
        return replace(prompt, token_ids=known + ids, prefix_ids=ids)

    def _render_uncached(self, messages: tuple[tuple[tuple[str, str], ...], ...], open_think: bool) -> Prompt:
        import jinja2

        turns = [dict(message) for message in messages]
        try:
            text, opening = render_prompt(self.tokenizer, turns, open_think=open_think)
        except jinja2.TemplateError as error:
            raise EngineError(f"the chat template of {self.model!r} refuses these turns: {error}") from error
        if lost := next((turn for turn in turns if turn["content"].strip() not in text), None):
            raise EngineError(
                f"the chat template of {self.model!r} drops part of what it is given: of the {lost['role']}'s turn "
                f"{lost['content'][:60]!r}…; where it is the reasoning of an example, leave that out"
            )
        # The template has written the BOS token; the tokenizer would add a second one.
        return Prompt(tuple(self.tokenizer.encode(text, add_special_tokens=False)), opening, text)

    def text(self, prompt: Prompt, token_ids: Sequence[int], *, stopped: bool) -> str:
        """A completion's whole text: opening tag, then prefix and what was generated, less the token that ended it."""
        said = [*prompt.prefix_ids, *(token_ids[:-1] if stopped else token_ids)]
        text: str = self.tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return prompt.opening + text


def folder_digest(folder: Path) -> str:
    """sha256 over the names and contents of a folder's model files; other files do not count."""
    paths = sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern) if path.is_file()})
    stats = [path.stat() for path in paths]
    with ThreadPoolExecutor(4) as pool:
        digests = list(
            pool.map(_file_digest, paths, (stat.st_size for stat in stats), (stat.st_mtime_ns for stat in stats))
        )
    return files_digest({path.name: digest for path, digest in zip(paths, digests, strict=True)})


def files_digest(digests: Mapping[str, str]) -> str:
    """The `folder_digest` of model files in one folder, by the sha256 of each."""
    whole = hashlib.sha256()
    for name in sorted(digests):
        whole.update(f"{name}\0{digests[name]}\n".encode())
    return f"sha256:{whole.hexdigest()}"


@functools.lru_cache(256)
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """Cached for as long as the file's size and time stay the same, hence the two arguments."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_args(args: Mapping[str, Any], known: Collection[str], engine: str) -> None:
    """Raise EngineError naming every argument that the engine does not have, with the nearest one that it has."""
    problems = []
    for name in args:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            problems.append(f"{name!r}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    if problems:
        raise EngineError(f"engine_args: {engine} has no argument {', '.join(problems)}")


def _at(revision: str | None) -> str:
    return f" at revision {revision!r}" if revision else ""


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
