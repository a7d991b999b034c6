"""A worker of which accelerate believes that it has a GPU: on a CPU it would leave FSDP2 out without a word.

Everything else is real: weights, gradients and optimizer are shared out by PyTorch, over gloo.
"""

import os
import runpy

import torch
from accelerate.state import DistributedType, PartialState
from torch.distributed.tensor import DTensor
from transformers import Trainer

from distill.student import training

step = Trainer.training_step


def set_device(self):
    self.device = torch.device("cpu")


def training_step(self, model, *args, **named):
    assert any(isinstance(weight, DTensor) for weight in model.parameters()), "FSDP2 has shared out nothing"
    return step(self, model, *args, **named)


if __name__ == "__main__":
    os.environ.pop("ACCELERATE_USE_CPU")
    PartialState._prepare_backend = lambda self, *_: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = set_device
    Trainer.training_step = training_step
    training._without_gpu = lambda settings: {}
    runpy.run_module("distill.student.worker", run_name="__main__")
