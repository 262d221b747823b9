"""A module's params and buffers as arrays of this machine's memory. Importing it loads PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np
import torch
from torch import nn


class HostArrays:
    """Params and buffers by PyTorch's names. On the processor they share the module's memory; of another device they
    are copies: taken when they are asked for, and written back before the module computes, since whoever has them may
    have written into them. are_old: the module has changed since they were taken."""

    def __init__(self, module: nn.Module, param_names: tuple[str, ...], buffer_names: tuple[str, ...]) -> None:
        self.param_names = tuple(name for name, _ in module.named_parameters())
        assert set(self.param_names) == set(param_names), (self.param_names, param_names)
        self._tensors = {name: module.get_parameter(name).data for name in param_names}
        self._tensors |= {name: module.get_buffer(name) for name in buffer_names}
        self.is_shared = all(tensor.device.type == "cpu" for tensor in self._tensors.values())
        self._arrays = {name: tensor.cpu().numpy() for name, tensor in self._tensors.items()}
        self._names, self.are_old, self._may_be_written = (param_names, buffer_names), False, False

    @property
    def params(self) -> dict[str, np.ndarray]:
        """The params, to be read and written into until the module computes again."""
        return self._taken(0)

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """The buffers, likewise."""
        return self._taken(1)

    def write_back(self) -> None:
        """Gives the module what somebody may have written."""
        if self._may_be_written and not self.is_shared:
            for name, tensor in self._tensors.items():
                self._write(tensor, self._arrays[name])
        self._may_be_written = False

    def copied(self) -> HostArrays:
        """The same numbers in tensors of their own, where these are."""
        made = copy(self)
        made._tensors = {name: tensor.detach().clone() for name, tensor in self._tensors.items()}
        made._arrays = {name: made._read(tensor) for name, tensor in made._tensors.items()}
        made.are_old, made._may_be_written = True, False
        return made

    def approach(self, others: HostArrays, share: float) -> None:
        """Moves every number by a share, 0 to 1, of what is between it and its counterpart, on the device."""
        self.write_back()
        others.write_back()
        for name, tensor in self._tensors.items():
            tensor.lerp_(others._tensors[name], share)
        self.are_old = True

    def _read(self, tensor: torch.Tensor) -> np.ndarray:
        """The numbers of one of the module's tensors."""
        numbers: np.ndarray = tensor.cpu().numpy()
        return numbers

    def _write(self, tensor: torch.Tensor, array: np.ndarray) -> None:
        tensor.copy_(torch.from_numpy(array))

    def _taken(self, which: int) -> dict[str, np.ndarray]:
        if self.are_old and not self.is_shared:
            for name, tensor in self._tensors.items():
                self._arrays[name][...] = self._read(tensor)
        self.are_old, self._may_be_written = False, True
        return {name: self._arrays[name] for name in self._names[which]}


class DeviceMeans:
    """Means of a module's params and buffers, which stay on its device. settle: what makes them ready to be read."""

    def __init__(self, own: HostArrays, settle: Callable[[], None]) -> None:
        self._own, self._settle = own, settle
        self._means = own.copied()

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The means, to be read and written into until the next `take_in`."""
        return {**self._means.params, **self._means.buffers}

    def take_in(self, share: float) -> None:
        """mean += share * (weights - mean)."""
        self._settle()
        self._means.approach(self._own, share)
