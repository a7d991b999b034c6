"""Where completions come from. The GPU lives behind this protocol and nowhere else.

An engine pulls requests from an iterator and yields each completion as it finishes, in any order, so that whoever
makes the requests can look at what has finished before making the next one.
"""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Protocol, Self

from distill.chat import Message


class EngineError(RuntimeError):
    """An engine cannot be opened, or broke while it ran."""


@dataclass(frozen=True, slots=True)
class Request:
    """One sample asked of one problem."""

    request_id: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.6
    top_p: float = 0.95
    open_think: bool = True
    seed: int = 0
    """Of this one sample; an engine that cannot seed single requests ignores it and says so in `identity`."""
    room_tokens: int = 0
    """The most tokens that a request of the same run may ask for, where that is more than this one's max_tokens."""
    prefix: str = ""
    """How the completion begins, opening think tag included: it is continued by up to max_tokens."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back for one request. A failure is a completion too."""

    request_id: str
    text: str
    """With the opening think tag, also where it was part of the prompt, and with the request's prefix."""
    finish_reason: str
    """stop | length | aborted:<why> | failed:<why>"""
    prompt_tokens: int
    """Tokens read, those of a prefix included."""
    completion_tokens: int
    """Tokens generated, those of a prefix not included."""


LOOK_TOKENS = 64
"""Tokens after which an engine shows again what is being written."""


@dataclass(frozen=True, slots=True)
class Partial:
    """A completion that is being written."""

    request: Request
    tokens: int
    """Generated so far; a multiple of `LOOK_TOKENS`, or somewhat more."""
    symbols: str
    """What was generated so far, a character a token; where an engine has no tokens, its words."""
    text: Callable[[], str]
    """Gives the text so far, as a `Completion` has it."""


Doomed = Callable[[Sequence[Partial]], list[str | None]]
"""Of completions that are being written: why each is to be ended, or None."""


class Engine(Protocol):
    """A model that answers. Weights are loaded with the first request, not before."""

    identity: Mapping[str, Any]
    """What a sample depends on besides its request: model, revision, template_digest, engine and engine_version, and as
    args the engine's arguments that change samples. A run in which one of them changes is refused, but for the engine
    and its version."""

    def complete(self, requests: Iterable[Request | None], doomed: Doomed | None = None) -> Iterator[Completion]:
        """Yield one completion per request, in the order in which they finish. Requests are pulled lazily.

        None among the requests means: nothing now, ask again after the next completion. It comes only while a request
        is in flight. With `doomed`, which is shown what is being written, those that it names are ended: what there is
        of them comes back with the finish_reason aborted:<why>. EngineError where an engine cannot do that.
        """
        ...

    def check_continues(self) -> None:
        """EngineError unless requests may have a prefix. Asked before such a run samples anything."""
        ...

    def close(self) -> None:
        """Free the model's memory. Safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def pull(source: Iterator[Request | None], most: int) -> list[Request]:
    """The next requests, up to `most` or to the first None."""
    return [request for request in takewhile(lambda request: request is not None, islice(source, most)) if request]


def choose_engine(wanted: str) -> tuple[str, str]:
    """The engine to use, and why, in words for the person who waits. `wanted` is auto, or the name of one."""
    if wanted != "auto":
        return wanted, "named in the recipe"
    if importlib.util.find_spec("vllm"):
        return "vllm", "vLLM is installed"
    if importlib.util.find_spec("transformers"):
        return "transformers", "vLLM is not installed; plain transformers is many times slower"
    raise EngineError(
        "no engine is installed: install distill[vllm] on a machine with a GPU, distill[cpu] on one without, "
        "or distill[train] for plain transformers"
    )


def open_engine(
    wanted: str, model: str, *, revision: str | None, args: Mapping[str, Any], say: Callable[[str], None]
) -> Engine:
    """Open a model by Hub id, local folder or name at a server with the wanted engine; say which was taken and why."""
    name, why = choose_engine(wanted)
    say(f"engine: {name} ({why})")
    engine: Engine
    if name == "vllm":
        from distill.engines.vllm import VllmEngine

        engine = VllmEngine(model, revision=revision, args=args)
    elif name == "server":
        from distill.engines.server import ServerEngine

        engine = ServerEngine(model, revision=revision, args=args)
    else:
        from distill.engines.transformers import TransformersEngine

        engine = TransformersEngine(model, revision=revision, args=args)
    return engine
