"""How many tokens a teacher's keys and values leave room for, from its configuration and the memory of its GPUs.

vLLM's own count, made when it has loaded the weights, is the last word: this one knows nothing of what activations and
CUDA graphs take (some GB on a GPU), nor of states that do not grow with the sequence (Mamba, linear attention).
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill.precision import multiplies_bf16

GIB = 1 << 30
_BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
_UTILIZATION = 0.92
"""vLLM's default for gpu_memory_utilization."""


class UnknownError(ValueError):
    """The room cannot be told: why not."""


@dataclass(frozen=True)
class Room:
    """What the caches of all GPUs hold together."""

    bytes: float
    per_token: float
    """Bytes of a token in the layers that keep all of them."""
    per_window_token: float = 0.0
    """Bytes of a token in the layers that look back no further than `window`."""
    window: int = 0

    def sequences(self, tokens: float) -> float:
        """How many sequences of this length fit at once."""
        return self.bytes / (self.per_token * tokens + self.per_window_token * min(tokens, self.window))


def room(model: str, revision: str | None, args: Mapping[str, Any], *, memory_gb: float | None, gpus: int) -> Room:
    """The room of a model (Hub id or folder) under vLLM with these engine arguments.

    `memory_gb` is the memory of one GPU, by default that of this machine's. Raises UnknownError.
    """
    from transformers import AutoConfig

    whole = AutoConfig.from_pretrained(model, revision=revision)
    config = whole.get_text_config()
    dtype = str(args.get("dtype", "auto")).removeprefix("torch.")
    if dtype == "auto":
        dtype = str(getattr(config, "dtype", None)).removeprefix("torch.")
    if _on_cpu(memory_gb) and "dtype" not in args:
        dtype = "bfloat16" if multiplies_bf16() else "float32"
    dtype = dtype if dtype in _BYTES else "bfloat16"
    size = 1.0 if str(args.get("kv_cache_dtype", "auto")).startswith("fp8") else _BYTES[dtype]
    full, windowed = _layers(config)
    per_layer = size * _elements(config)
    free = _free(whole, dtype, args, memory_gb, gpus)
    window = getattr(config, "sliding_window", None) or 0
    return Room(free, full * per_layer, windowed * per_layer, window)


def _elements(config: Any) -> float:
    """Numbers that a layer keeps of a token."""
    if rank := getattr(config, "kv_lora_rank", None):  # multi-head latent attention: one vector for all heads
        return float(rank + config.qk_rope_head_dim)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return float(2 * heads * head_dim)


def _layers(config: Any) -> tuple[int, int]:
    """Layers that keep every token, and layers that keep a window."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    return kinds.count("full_attention"), sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)


def _on_cpu(memory_gb: float | None) -> bool:
    return memory_gb is None and memory_of_this_machine() is None


def _free(config: Any, dtype: str, args: Mapping[str, Any], memory_gb: float | None, gpus: int) -> float:
    """Bytes left for the cache on all GPUs."""
    if given := args.get("kv_cache_memory_bytes"):
        return float(given) * gpus
    memory = memory_gb * 1e9 if memory_gb else memory_of_this_machine()
    if memory is None:
        return float(os.environ.get("VLLM_CPU_KVCACHE_SPACE") or 1) * GIB  # what our engine gives vLLM on a CPU
    used = memory * float(args.get("gpu_memory_utilization", _UTILIZATION))
    left = used * gpus - _parameters(config) * _weight_bytes(config, dtype)
    if left <= 0:
        raise UnknownError(
            f"the weights do not fit: {_parameters(config) / 1e9:.1f}B parameters in {dtype} on {gpus} x "
            f"{memory / 1e9:.0f} GB; raise tensor_parallel_size"
        )
    return left


def _parameters(config: Any) -> int:
    """How many a model of this configuration has; no weights are made."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


def _weight_bytes(config: Any, dtype: str) -> float:
    quantized = getattr(config, "quantization_config", None)
    if not quantized:
        return _BYTES[dtype]
    facts = quantized if isinstance(quantized, dict) else quantized.to_dict()
    if str(facts.get("quant_method", "")).startswith(("fp8", "fbgemm_fp8")):
        return 1.0
    if bits := facts.get("bits"):
        return float(bits) / 8
    raise UnknownError(f"the weights are quantised by {facts.get('quant_method')}, whose size is not known here")


def memory_of_this_machine() -> float | None:
    """Bytes of the smallest GPU here; None where there is none."""
    if sys.platform == "darwin":
        return None
    try:
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
        return min(float(line) for line in said.split()) * (1 << 20)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
