"""Muon for the weight matrices and AdamW for everything else, as the one optimizer that a trainer takes.

Muon: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; torch has it for 2-D parameters only.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class MuonWithAdamW(torch.optim.Optimizer):
    """Two optimizers behind one set of parameter groups and one state, so that a checkpoint holds both.

    Matrices are the 2-D parameters except embeddings and the output layer, which AdamW trains better. Without `bf16`
    Muon's own products are in the gradients' precision.
    """

    def __init__(self, model: nn.Module, *, lr: float, muon_lr: float, weight_decay: float, bf16: bool) -> None:
        matrices, rest = _split(model)
        muon = torch.optim.Muon(matrices, lr=muon_lr, momentum=0.95, weight_decay=weight_decay)
        adamw = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
        self.parts: tuple[torch.optim.Optimizer, ...] = ()
        self._products = nullcontext if bf16 else _InTheirOwnPrecision
        super().__init__([*muon.param_groups, *adamw.param_groups], {"lr": lr})
        self.parts = (muon, adamw)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of both."""
        loss = None if closure is None else closure()
        with self._products():
            for part in self.parts:
                part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore groups and state of both."""
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]
            part.state = self.state


class _InTheirOwnPrecision(TorchFunctionMode):
    """torch's Muon turns every gradient to bf16, in which some processors multiply one number at a time."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """A copy in place of bf16; all else as it is."""
        return args[0].clone() if function is torch.Tensor.bfloat16 else function(*args, **(kwargs or {}))


def _split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    apart = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    output = getattr(model, "get_output_embeddings", lambda: None)()
    apart |= {id(p) for p in output.parameters()} if output is not None else set()
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim == 2 and id(p) not in apart]
    chosen = {id(p) for p in matrices}
    return matrices, [p for p in trained if id(p) not in chosen]
