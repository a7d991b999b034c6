"""What a training will cost before it is begun: tokens, steps, padding, arithmetic, memory.

Memory is read off a forward pass of the model's real shapes on fake tensors, which have none: no weights are loaded.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distill.recipe.student import Student
from distill.student.base import Base
from distill.student.order import passes
from distill.student.training import bf16, optimizer_steps

ASSUMED_USE = 0.4
"""Share of a device's matrix speed that a training is taken to reach; 0.3 to 0.5 is usual for dense models."""

H100_FLOPS = 989.0e12
"""Of bf16 products, dense, by its data sheet."""


@dataclass(frozen=True)
class Batches:
    """The forward passes of a whole training."""

    steps: int
    per_step: int
    """Forward passes of a step, over all devices."""
    tokens: int
    """Of rows."""
    computed: int
    """With what pads them."""
    largest: tuple[int, int]
    """Rows and tokens a row of the pass with the most tokens; packed, it is one row."""
    squares: int
    """Sum of the squares of the lengths at which attention is computed."""

    @property
    def efficiency(self) -> float:
        """The share of computed tokens that is rows and not padding."""
        return self.tokens / self.computed


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, without what the allocator and the driver keep for themselves."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Shape:
    """What a model's forward pass is made of."""

    parameters: int
    """All of them."""
    multiplied: int
    """Those that a token is multiplied by: without an embedding that is only looked up."""
    adapters: int
    """Parameters of LoRA."""
    attention: int
    """Width of all query heads of all layers."""
    saved: float
    """Bytes that a forward pass keeps for its gradient."""


def batches(lengths: list[int], settings: Student, *, packed: bool) -> Batches:
    """How rows of these lengths are trained on."""
    steps = optimizer_steps(len(lengths), settings)
    tokens = computed = squares = per_step = 0
    largest = (0, 0)
    for groups in passes(lengths, settings, steps=steps, packed=packed):
        per_step = len(groups)
        for rows in groups:
            sizes = [lengths[row] for row in rows]
            if packed:
                shape, attended = (1, sum(sizes)), sum(size * size for size in sizes)
            else:
                shape, attended = (len(sizes), max(sizes)), len(sizes) * max(sizes) ** 2
            tokens, computed, squares = tokens + sum(sizes), computed + math.prod(shape), squares + attended
            largest = max(largest, shape, key=math.prod)
    return Batches(steps, per_step, tokens, computed, largest, squares)


def shape(start: Base, settings: Student, rows: int, length: int) -> Shape:
    """Of a base and a forward pass of so many rows and tokens, from one layer and from two of them."""
    config = start.config.get_text_config()
    layers = config.num_hidden_layers
    (one, kept_one), (two, kept_two) = (_traced(config, settings, count, rows, length) for count in (1, 2))
    per_layer = {name: two[name] - one[name] for name in two}
    whole = {name: one[name] + (layers - 1) * per_layer[name] for name in two}
    saved = kept_one + (layers - 1) * (kept_two - kept_one)
    if settings.gradient_checkpointing:  # then a layer keeps its input, and one of them at a time all that it computes
        inputs = rows * length * config.hidden_size * 4
        saved = kept_one + layers * inputs
    return Shape(whole["parameters"], whole["multiplied"], whole["adapters"], whole["attention"], saved)


def memory(found: Shape, settings: Student) -> Memory:
    """On one device, with weights as `training.load_model` loads them: fp32 where trained, bf16 where frozen."""
    trained, frozen = (found.adapters, found.parameters) if settings.lora else (found.parameters, 0)
    frozen_bytes = 0.55 if settings.lora and settings.lora.quantize else 2 if bf16(settings) else 4
    launch = settings.launch
    devices = launch.devices * launch.machines if launch and launch.shard != "none" else 1
    return Memory(
        (4 * trained + frozen_bytes * frozen) / devices,
        4 * trained / devices,
        0 if launch and launch.offload else (4 if settings.optimizer == "muon" else 8) * trained / devices,
        found.saved / (launch.context_parallel if launch else 1),
    )


def arithmetic(found: Shape, done: Batches, settings: Student) -> float:
    """Floating point operations of the training: 6 a parameter and token, and causal attention (PaLM, appendix B).

    Frozen weights have no gradient, which saves a third; recomputing a forward pass costs a third.
    """
    share = (2 if settings.lora else 3) + (1 if settings.gradient_checkpointing else 0)
    products = 2 * found.multiplied * done.computed + 2 * found.attention * done.squares
    return float(share * products)


def matrix_speed(settings: Student) -> float:
    """Floating point operations a second, in products on the device that would train here, measured."""
    import time

    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 1024
    left = torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16(settings) else torch.float32)
    best = math.inf
    for _ in range(6):
        began = time.perf_counter()
        product = left @ left
        product[0, 0].item()  # waits for it
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def _traced(config: Any, settings: Student, layers: int, rows: int, length: int) -> tuple[dict[str, int], float]:
    """Parameters, and the bytes saved for the gradient, of the model with so many layers."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = (config.layer_types * layers)[:layers]
    saved: dict[int, int] = {}
    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa").train()
        own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            # A mask of all pairs is made on fake tensors only, where nobody can see that it is causal.
            if storage._cdata not in own and not (tensor.ndim == 4 and tensor.shape[-2:] == (length, length)):
                saved[storage._cdata] = storage.nbytes()
            return tensor

        ids = torch.zeros(rows, length, dtype=torch.long)
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=bf16(settings)),
        ):
            hidden = model.base_model(input_ids=ids, use_cache=False)
        del hidden
        parameters = sum(parameter.numel() for parameter in model.parameters())
        looked_up = 0 if config.tie_word_embeddings else model.get_input_embeddings().weight.numel()
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    counts = {
        "parameters": parameters,
        "multiplied": parameters - looked_up,
        "adapters": _adapters(model, settings),
        "attention": layers * config.num_attention_heads * width,
    }
    return counts, float(sum(saved.values()))


def _adapters(model: Any, settings: Student) -> int:
    """Parameters that LoRA adds."""
    import torch

    if (lora := settings.lora) is None:
        return 0
    wanted: Sequence[str] | None = None if lora.targets == "all-linear" else lora.targets
    return sum(
        lora.rank * (module.in_features + module.out_features)
        for name, module in model.base_model.named_modules()
        if isinstance(module, torch.nn.Linear) and (wanted is None or name.rpartition(".")[2] in wanted)
    )
