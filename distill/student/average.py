"""A moving average of the weights in place of the last ones: TRL's BEMACallback, which here survives an interruption.

Of whole weights in one process only: the callback copies the model, of which adapters and shares are none.
"""

from pathlib import Path
from typing import Any

import torch
from trl import BEMACallback

STATE = "average.pt"
"""The average so far, in a checkpoint's folder."""


class Average(BEMACallback):  # type: ignore[misc]
    """Averages every so many steps, and at the end puts the average in the place of the trained weights."""

    def __init__(self, every: int, resumed: str | None) -> None:
        super().__init__(update_freq=every)
        self.resumed = Path(resumed) / STATE if resumed else None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **told: Any) -> None:
        """Begin with these weights, or go on as the checkpoint was."""
        super().on_train_begin(args, state, control, model, **told)
        if self.resumed:
            start, average = torch.load(self.resumed, weights_only=True)
            self.theta0_params, self.ema_params = start, average

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **told: Any) -> None:
        """Average, and write it down before the checkpoint is whole, which it is once it has the trainer's state."""
        super().on_step_end(args, state, control, model, **told)
        if control.should_save:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            folder.mkdir(parents=True, exist_ok=True)
            torch.save((self.theta0_params, self.ema_params), folder / STATE)

    @torch.no_grad()
    def on_train_end(self, args: Any, state: Any, control: Any, **told: Any) -> None:
        """The average, where TRL would save it elsewhere and the last weights as the model."""
        share = self._bema_alpha(state.global_step)
        for weight, start, average in zip(self.thetat_params, self.theta0_params, self.ema_params, strict=True):
            weight.copy_(average + share * (weight.to(self.device) - start))
