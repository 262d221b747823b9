"""The factor by which float16 makes gradients larger than they are. Importing it loads PyTorch."""

from __future__ import annotations

import numpy as np
import torch

SCALE = "scale"
"""What a checkpoint calls it, among what the optimizer keeps."""


class LossScale:
    """PyTorch's GradScaler, and how many steps it has left out; Micikevicius et al. 2018, section 3.2.

    The loss is multiplied by a factor before it goes backward, and the gradients are divided by it. Where that
    overflows the step is left out and the factor halved; after 2000 steps in a row that were made it is doubled.
    """

    def __init__(self, device: torch.device, array: np.ndarray | None = None) -> None:
        """array: what `array` was once; None, or numbers that it never has, start with 65536."""
        self.scaler, self.skipped = torch.amp.GradScaler(device.type), 0
        if array is not None and np.isfinite(array).all() and array.min() >= 0:
            scale, made, skipped = array.tolist()
            state = {**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(made)}
            self.scaler.load_state_dict(state)
            self.skipped = int(skipped)

    @property
    def array(self) -> np.ndarray:
        """Factor, steps in a row that were made, steps that were left out; float32 (3,)."""
        state = self.scaler.state_dict()
        return np.array([state["scale"], state["_growth_tracker"], self.skipped], np.float32)

    def of(self, loss: torch.Tensor) -> torch.Tensor:
        """The loss times the factor."""
        scaled: torch.Tensor = self.scaler.scale(loss)
        return scaled

    def take_off(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides the gradients of the optimizer's params by the factor."""
        self.scaler.unscale_(optimizer)

    def follows(self, is_made: bool, loss: torch.Tensor) -> bool:
        """Takes the next factor after a step that was made or, where gradients were not finite, left out -> whether
        that was all right: a lower factor helps unless the loss itself is not finite, or the factor is 1 by now."""
        if not is_made and not (torch.isfinite(loss) and self.scaler.get_scale() > 1):
            return False
        self.scaler.update()
        self.skipped += not is_made
        return True
