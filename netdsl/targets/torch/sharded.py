"""The PyTorch module whose params several processes divide among themselves. Importing it loads PyTorch.

`fully_shard` (FSDP2) leaves each process its part of every param, gradient and array of the optimizer; what a module
needs comes together when it computes, and goes again. One who asks for params or state gets whole arrays, which all
processes make together.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from netdsl.targets.torch.arrays import HostArrays
from netdsl.targets.torch.model import new_optimizer
from netdsl.targets.torch.ranked import LogitsOf, RankedNetwork
from netdsl.targets.torch.ranks import heard_of

UNIT = 2**18
"""Numbers: a part of the network with as many params or more comes together by itself; the rest does at once."""


class ShardedArrays(HostArrays):
    """Whole copies of params that are divided, and of buffers, which are not."""

    def __init__(self, arrays: HostArrays, module: nn.Module) -> None:
        self.param_names, self._names = arrays.param_names, arrays._names
        self._arrays = {name: np.array(array) for name, array in arrays._arrays.items()}
        params, buffers = self._names
        self._tensors = {name: module.get_parameter(name).detach() for name in params}
        self._tensors |= {name: module.get_buffer(name) for name in buffers}
        self.is_shared, self.are_old, self._may_be_written = False, False, False

    def _read(self, tensor: torch.Tensor) -> np.ndarray:
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return super()._read(full)

    def _write(self, tensor: torch.Tensor, array: np.ndarray) -> None:
        tensor.copy_(divided(torch.from_numpy(array), tensor))


class ShardedNetwork(RankedNetwork):
    """An emitted `nn.Module` whose params are divided among the processes of `workers.ranks`."""

    def _join(self) -> None:
        mesh = init_device_mesh(self.device.type, (self.ranks.count,))
        root = LogitsOf(self.module, self._compute)
        with heard_of(self.ranks):
            for unit in [*self._units(), root]:
                fully_shard(unit, mesh=mesh, reshard_after_forward=True)
        if self.device.type == "cpu":  # gloo adds, and makes no means
            cast(FSDPModule, root).set_force_sum_reduction_for_comms(True)
        self._compute = root
        self._arrays = ShardedArrays(self._arrays, self.module)
        self.optimizer = new_optimizer(self.net, self.module)

    def _units(self) -> list[nn.Module]:
        """The parts that come together by themselves; none where one is called again, whose params stay together."""
        if self.net.graph.has_shares:
            return []
        sizes = [(part, sum(param.numel() for param in part.parameters())) for part in self.module.children()]
        return [part for part, size in sizes if size >= UNIT]

    def _all_of(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def _like(self, array: np.ndarray, param: torch.Tensor) -> torch.Tensor:
        return divided(torch.from_numpy(array).to(param.dtype), param)

    def state(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """`conv1.weight.exp_avg` -> the array that the optimizer keeps, which all processes make together."""
        with heard_of(self.ranks):
            return super().state(names)


def divided(full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A tensor that each process has whole, divided as `like` is, which may be not at all."""
    if not isinstance(like, DTensor):
        return full
    mesh = like.device_mesh
    return distribute_tensor(full.to(mesh.device_type), mesh, like.placements, src_data_rank=None)
