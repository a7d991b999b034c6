"""A worker of which accelerate believes that it has a GPU: on a CPU it would leave FSDP2 out without a word.

Everything else is real: weights, gradients and optimizer are shared out by PyTorch, over gloo.
"""

import os
import runpy

import torch
from accelerate.state import DistributedType, PartialState
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental._context_parallel import _attention as ring
from transformers import Trainer

from distill.student import training

step = Trainer.training_step


def set_device(self):
    self.device = torch.device("cpu")


def training_step(self, model, *args, **named):
    assert any(isinstance(weight, DTensor) for weight in model.parameters()), "FSDP2 has shared out nothing"
    return step(self, model, *args, **named)


def ring_forward(op, args, kwargs):
    """What `ring` does with the attention of GPUs, of the one of CPUs."""
    query, key, value, _, causal = [*args, 0.0, False][:5]
    local = [each.to_local() for each in (query, key, value)]
    group, rest = query.device_mesh.get_group(), {"dropout_p": 0.0, "scale": kwargs.get("scale")}
    found = ring._templated_ring_attention(group, 2, op, *local, is_causal=causal, **rest)
    return tuple(DTensor.from_local(each, query.device_mesh, query.placements) for each in found[:2])


def ring_backward(op, args, kwargs):
    grad, query, key, value, out, lse, _, causal = args
    names = ("query", "key", "value", "out", "logsumexp")
    local = {name: each.to_local() for name, each in zip(names, (query, key, value, out, lse), strict=True)}
    group, rest = query.device_mesh.get_group(), {"dropout_p": 0.0, "scale": kwargs.get("scale")}
    rest |= {"grad_out": grad.to_local(), "grad_out_name": "grad_out", "is_causal": causal}
    found = ring._templated_ring_attention_backward(group, 2, op, **local, **rest)
    return tuple(DTensor.from_local(each, query.device_mesh, query.placements) for each in found[:3])


if __name__ == "__main__":
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    ring.custom_ops.update({attention.default: ring_forward, backward.default: ring_backward})
    os.environ.pop("ACCELERATE_USE_CPU")
    PartialState._prepare_backend = lambda self, *_: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = set_device
    Trainer.training_step = training_step
    training._without_gpu = lambda settings: {}
    runpy.run_module("distill.student.worker", run_name="__main__")
