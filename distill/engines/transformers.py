"""Plain transformers `generate` in small batches: many times slower than vLLM, and it runs wherever torch does.

No streaming within a batch, no cache shared between requests: a batch takes as long as its longest completion.
"""

import gc
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from distill.engines import LOOK_TOKENS, Completion, Doomed, EngineError, Partial, Request, pull
from distill.engines._local import LocalModel, Prompt, check_args

if TYPE_CHECKING:
    import torch

_DEFAULTS: dict[str, Any] = {"batch_size": 16, "device": None, "dtype": "auto", "attn_implementation": None}
_SEEDS = 1 << 63


@dataclass
class _Row:
    """A request in a batch."""

    request: Request
    prompt: Prompt
    budget: int
    token_ids: list[int] = field(default_factory=list)
    """Generated so far."""
    finish_reason: str = ""
    """Empty for as long as it is being written."""


class TransformersEngine:
    """A model sampled by transformers, each request with its own seed.

    `args`: `batch_size` (requests per `generate`, default 16), `device` (default: the accelerator, else the CPU),
    `dtype` (default auto, the one of the weights), `attn_implementation`. Generation settings that a model brings
    along (top-k, penalties) are not applied, as with vLLM; its end tokens are.
    A request without room for its prompt comes back as `failed:prompt_too_long`; one with room for less than its
    `max_tokens` is sampled to the end of the room.
    """

    def __init__(self, model: str, *, revision: str | None, args: Mapping[str, Any]) -> None:
        check_args(args, _DEFAULTS, "transformers")
        self._args = _DEFAULTS | dict(args)
        if not isinstance(self._args["batch_size"], int) or self._args["batch_size"] < 1:
            raise EngineError(f"engine_args: batch_size is at least 1, found {self._args['batch_size']!r}")
        self._local = LocalModel(model, revision)
        self.identity: Mapping[str, Any] = {
            **self._local.identity(),
            "engine": "transformers",
            "engine_version": importlib.metadata.version("transformers"),
            "seeding": "per request",
            "args": {"dtype": self._args["dtype"]},
        }
        self._model: Any = None
        self._end_tokens: frozenset[int] = frozenset()

    def complete(self, requests: Iterable[Request | None], doomed: Doomed | None = None) -> Iterator[Completion]:
        """Yield one completion per request, batch by batch. A batch is pulled when the one before is answered."""
        source = iter(requests)
        while batch := pull(source, self._args["batch_size"]):
            yield from self._complete_batch(batch, doomed)

    def _complete_batch(self, batch: list[Request], doomed: Doomed | None) -> Iterator[Completion]:
        positions = getattr(self._local.config.get_text_config(), "max_position_embeddings", None) or 1 << 62
        rows: list[_Row] = []
        for request in batch:
            prompt = self._local.prompt(request.messages, open_think=request.open_think, prefix=request.prefix)
            room = positions - len(prompt.token_ids)
            if room < 1:
                yield Completion(request.request_id, "", "failed:prompt_too_long", len(prompt.token_ids), 0)
            else:
                rows.append(_Row(request, prompt, min(request.max_tokens, room)))
        if not rows:
            return
        if self._model is None:
            self._load()
        try:
            self._generate(rows, doomed)
        except RuntimeError as error:  # torch's own: out of memory, unsupported operator
            raise EngineError(f"transformers broke while sampling {self._local.model!r}: {error}") from error
        for row in rows:
            yield Completion(
                request_id=row.request.request_id,
                text=self._local.text(row.prompt, row.token_ids, stopped=row.finish_reason == "stop"),
                finish_reason=row.finish_reason,
                prompt_tokens=len(row.prompt.token_ids),
                completion_tokens=len(row.token_ids),
            )

    def _generate(self, rows: list["_Row"], doomed: Doomed | None) -> None:
        """Write each row to its end."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        pad = self._model.generation_config.pad_token_id
        longest = max(len(row.prompt.token_ids) for row in rows)
        ids = torch.full((len(rows), longest), pad)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, longest - len(row.prompt.token_ids) :] = torch.tensor(row.prompt.token_ids)
            mask[i, longest - len(row.prompt.token_ids) :] = 1
        device = self._model.device

        def ended(input_ids: "torch.Tensor", scores: "torch.Tensor", **_: Any) -> "torch.Tensor":
            self._take(rows, input_ids[:, -1].tolist())
            if doomed and len(input_ids[0]) % LOOK_TOKENS == longest % LOOK_TOKENS:
                self._end(rows, doomed)
            return torch.tensor([bool(row.finish_reason) for row in rows], device=device)

        self._model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max(row.budget for row in rows),
            # Greedy over logits with seeded Gumbel noise is sampling; generate's own sampling knows one seed a batch.
            logits_processor=LogitsProcessorList([_SeededSampling([row.request for row in rows], device)]),
            stopping_criteria=StoppingCriteriaList([ended]),
            do_sample=False,
        )

    def _take(self, rows: list["_Row"], token_ids: list[int]) -> None:
        """A token more of each row; those that have ended get padding."""
        for row, token in zip(rows, token_ids, strict=True):
            if not row.finish_reason:
                row.token_ids.append(token)
                if token in self._end_tokens:
                    row.finish_reason = "stop"
                elif len(row.token_ids) == row.budget:
                    row.finish_reason = "length"

    def _end(self, rows: list["_Row"], doomed: Doomed) -> None:
        """Ask which are doomed, and end them."""
        shown = [row for row in rows if not row.finish_reason]
        for row, why in zip(shown, doomed([self._partial(row) for row in shown]), strict=True):
            if why:
                row.finish_reason = f"aborted:{why}"

    def _partial(self, row: "_Row") -> Partial:
        return Partial(
            row.request,
            len(row.token_ids),
            "".join(map(chr, row.token_ids)),
            text=lambda: self._local.text(row.prompt, row.token_ids, stopped=False),
        )

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM, GenerationConfig
        from transformers.utils import logging

        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model = AutoModelForCausalLM.from_pretrained(
                self._local.model,
                revision=self._local.commit,
                dtype=self._args["dtype"],
                attn_implementation=self._args["attn_implementation"],
            )
            device = self._args["device"] or torch.accelerator.current_accelerator(check_available=True) or "cpu"
            model = model.to(device).eval()
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            raise EngineError(f"transformers cannot load {self._local.model!r}: {error}") from error
        finally:
            if bars:
                logging.enable_progress_bar()
        ends = model.generation_config.eos_token_id
        named = [ends] if isinstance(ends, int) else ends or []
        self._end_tokens = frozenset([*named, self._local.tokenizer.eos_token_id]) - {None}
        pad = self._local.tokenizer.pad_token_id
        # A fresh one, so that nothing but what the request says is applied.
        model.generation_config = GenerationConfig(
            eos_token_id=sorted(self._end_tokens) or None, pad_token_id=pad if pad is not None else 0
        )
        self._model = model

    def check_continues(self) -> None:
        """It does."""

    def close(self) -> None:
        """Free the model's memory. Safe to call twice."""
        if self._model is None:
            return
        import torch

        self._model = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _SeededSampling:
    """A logits processor after which the arg max is a sample, each row by its request's own generator."""

    def __init__(self, requests: list[Request], device: "torch.device") -> None:
        import torch

        self._rows = [
            (i, request, torch.Generator(device).manual_seed(request.seed % _SEEDS))
            for i, request in enumerate(requests)
            if request.temperature > 0
        ]

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Scores with temperature, top-p and Gumbel noise applied, in float32."""
        import torch

        scores = scores.float().clone()
        for i, request, generator in self._rows:
            row = scores[i] / request.temperature
            if request.top_p < 1:
                ordered, order = row.sort(descending=True)
                share = ordered.softmax(-1)
                # A token goes if those before it already hold top_p of the mass, so the first always stays.
                row[order[share.cumsum(-1) - share >= request.top_p]] = -torch.inf
            scores[i] = row - torch.empty_like(row).exponential_(generator=generator).log()
        return scores
