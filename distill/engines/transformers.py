"""Plain transformers `generate` in small batches: many times slower than vLLM, and it runs wherever torch does.

No streaming within a batch, no cache shared between requests: a batch takes as long as its longest completion.
"""

import gc
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from distill.engines import Completion, Doomed, EngineError, Request, pull, refuse_to_end
from distill.engines._local import LocalModel, Prompt, check_args

if TYPE_CHECKING:
    import torch

_DEFAULTS: dict[str, Any] = {"batch_size": 16, "device": None, "dtype": "auto", "attn_implementation": None}
_SEEDS = 1 << 63


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
        refuse_to_end(doomed, "transformers")
        source = iter(requests)
        while batch := pull(source, self._args["batch_size"]):
            yield from self._complete_batch(batch)

    def _complete_batch(self, batch: list[Request]) -> Iterator[Completion]:
        positions = getattr(self._local.config.get_text_config(), "max_position_embeddings", None) or 1 << 62
        rows: list[tuple[Request, Prompt, int]] = []
        for request in batch:
            prompt = self._local.prompt(request.messages, open_think=request.open_think, prefix=request.prefix)
            room = positions - len(prompt.token_ids)
            if room < 1:
                yield Completion(request.request_id, "", "failed:prompt_too_long", len(prompt.token_ids), 0)
            else:
                rows.append((request, prompt, min(request.max_tokens, room)))
        if not rows:
            return
        if self._model is None:
            self._load()
        try:
            generated = self._generate(rows)
        except RuntimeError as error:  # torch's own: out of memory, unsupported operator
            raise EngineError(f"transformers broke while sampling {self._local.model!r}: {error}") from error
        for (request, prompt, budget), token_ids in zip(rows, generated, strict=True):
            yield self._completion(request, prompt, token_ids[:budget])

    def _completion(self, request: Request, prompt: Prompt, token_ids: list[int]) -> Completion:
        end = next((i for i, token in enumerate(token_ids) if token in self._end_tokens), None)
        token_ids = token_ids if end is None else token_ids[: end + 1]
        return Completion(
            request_id=request.request_id,
            text=self._local.text(prompt, token_ids, stopped=end is not None),
            finish_reason="length" if end is None else "stop",
            prompt_tokens=len(prompt.token_ids),
            completion_tokens=len(token_ids),
        )

    def _generate(self, rows: list[tuple[Request, Prompt, int]]) -> list[list[int]]:
        """Tokens after each prompt, padding and whatever exceeds a row's own budget included."""
        import torch
        from transformers import LogitsProcessorList

        pad = self._model.generation_config.pad_token_id
        longest = max(len(prompt.token_ids) for _, prompt, _ in rows)
        ids = torch.full((len(rows), longest), pad)
        mask = torch.zeros_like(ids)
        for i, (_, prompt, _) in enumerate(rows):
            ids[i, longest - len(prompt.token_ids) :] = torch.tensor(prompt.token_ids)
            mask[i, longest - len(prompt.token_ids) :] = 1
        device = self._model.device
        output = self._model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=max(budget for _, _, budget in rows),
            # Greedy over logits with seeded Gumbel noise is sampling; generate's own sampling knows one seed a batch.
            logits_processor=LogitsProcessorList([_SeededSampling([request for request, _, _ in rows], device)]),
            do_sample=False,
        )
        tokens: list[list[int]] = output[:, longest:].tolist()
        return tokens

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
