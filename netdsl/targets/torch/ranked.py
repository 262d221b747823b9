"""The PyTorch module that several processes train together, by PyTorch's own engine. Importing it loads PyTorch.

Each has the whole module and a part of each batch; DistributedDataParallel makes the mean of their gradients, so that
all of them make the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from netdsl.graph.recipe import label_weight, weighs_labels
from netdsl.stages.workers import available_cores
from netdsl.targets.contract import Compiled, Share, Step, Workers
from netdsl.targets.torch.model import TorchNetwork
from netdsl.targets.torch.ranks import TorchRanks, heard_of, own_device
from netdsl.targets.torch.synced import sync_norms

if TYPE_CHECKING:
    from netdsl.targets.contract import Batch


class RankedNetwork(TorchNetwork):
    """An emitted `nn.Module` that the processes of `workers.ranks` hold alike.

    Batch norm has the statistics of a process's own part, and the running ones are those of the first process, as in
    PyTorch; with `Device.is_synced` both are those of the whole batch.
    """

    def __init__(self, net: Compiled, seed: int, dtype: Any, workers: Workers) -> None:
        assert isinstance(workers.ranks, TorchRanks), workers.ranks
        self.ranks, place = workers.ranks, workers.ranks.place
        if workers.count is None:
            workers = replace(workers, count=max(1, available_cores() // place.local_count))
        device = replace(workers.device, name=own_device(workers.device.name, place, workers.device.is_sharded))
        if device.name.startswith("cuda:"):
            torch.cuda.set_device(device.name)  # else each process would take memory of the first GPU, too
        super().__init__(net, seed, dtype, replace(workers, device=device))
        self._share, self._weight = Share(slice(0), 0, lambda _: ()), (1.0, 1.0)
        self._told, self._are_apart = [0.0], False
        self._norms = sync_norms(self.module) if self.how.is_synced else []
        self._may_part = not self.how.is_synced and any(True for _ in self.module.buffers())
        self._join()

    def _join(self) -> None:
        """Has gradients averaged, wherever the module goes forward from here on."""
        # buffers are made alike when somebody asks for them; PyTorch 2.13 warns of the older name
        is_new = "forward_sync_buffers" in signature(DistributedDataParallel).parameters
        options: dict[str, Any] = {"forward_sync_buffers" if is_new else "broadcast_buffers": False}
        # a loss need not depend on every param; and without this PyTorch makes new buckets after the first step, and
        # so anew after each start: with them changes the order in which more than two processes add, and a run that
        # is resumed would come to other bits than one that never stopped
        options["find_unused_parameters"] = True
        with heard_of(self.ranks):
            self._compute = DistributedDataParallel(LogitsOf(self.module, self._compute), **options)

    # ---------------------------------------------------------------------------------------------- how it learns

    def learn_share(self, x: Batch, y: np.ndarray, lr: float, share: Share) -> tuple[Step, list[float]]:
        """A step from the samples of all processes, of which x and y are this one's, see `SharedModel`."""
        self._take_share(y, share)
        with heard_of(self.ranks):
            step = self.learn(x, y, lr)
        return step, self._told[1:]

    def gather_share(
        self, x: Batch, y: np.ndarray, weight: float, is_first: bool, share: Share
    ) -> tuple[Step, list[float]]:
        """Gradients by some of the samples of a step, see `SharedModel`."""
        self._take_share(y, share)
        with heard_of(self.ranks):
            step = self.gather(x, y, weight, is_first)
        return step, self._told[1:]

    def apply(self, lr: float, factor: float) -> bool:
        """A step of the optimizer by what was gathered, the same in all processes."""
        with heard_of(self.ranks):
            return super().apply(lr, factor)

    def _take_share(self, y: np.ndarray, share: Share) -> None:
        """Which of a batch's samples come next."""
        self._share = share
        self._weight = self._weights(y)
        for norm in self._norms:
            norm.is_shared = not share.is_whole

    def _draw(self, n: int) -> None:
        # those of the whole batch, of which others are other processes'
        self.draws.draw(self._share.count, self.rng, self.dtype, self.device, self._share.rows)
        self._are_apart = self._may_part

    def _own_share(self, loss: torch.Tensor, y: np.ndarray) -> torch.Tensor:
        """PyTorch's mean of gradients counts each process once, not each sample: its loss is scaled accordingly."""
        part, whole = self._weight
        return loss if part * self.ranks.count == whole else loss * (part * self.ranks.count / (whole or 1))

    def _of_all(self, loss: torch.Tensor, logits: torch.Tensor, y: np.ndarray) -> torch.Tensor:
        part, whole = self._weight
        told = self._share.tell(logits.detach().cpu().numpy())
        self._told = self.ranks.total([loss.item() * part / (whole or 1), *told])
        return torch.tensor(self._told[0], dtype=torch.float64, device=loss.device)

    def _weights(self, y: np.ndarray) -> tuple[float, float]:
        """By how much this process's samples count in the mean, and by how much those of all processes do."""
        share, recipe = self._share, self.net.recipe
        if share.is_whole:
            return 1, self.ranks.count
        if not weighs_labels(recipe) or not np.issubdtype(y.dtype, np.integer):
            return len(y), share.count
        graph = self.net.graph
        part = label_weight(recipe, y, graph.type_of(graph.judged_value).channels)
        return part, self.ranks.total([part])[0]

    # ---------------------------------------------------------------------------------------------- what it computes

    @property
    def buffers(self) -> dict[str, np.ndarray]:  # type: ignore[override]
        self._settle()
        return self._arrays.buffers

    def logits(self, *x: Any, training: bool = False) -> np.ndarray:
        """x (N, *input_shape) -> what the loss reads, (N, ...); each process computes a part of it."""
        if training or len(x[0]) < self.ranks.count:
            return super().logits(*x, training=training)
        self._settle()
        rows = self.ranks.part(len(x[0]))
        return self.ranks.gathered(super().logits(*(each[rows] for each in x)), len(x[0]))

    def _settle(self) -> None:
        """Gives all processes the running statistics of the first, where theirs are of their own parts."""
        if not self._are_apart:
            return
        buffers = [buffer for buffer in self.module.buffers() if buffer.is_floating_point()]
        firsts = torch.cat([buffer.flatten() for buffer in buffers])
        with heard_of(self.ranks):
            dist.broadcast(firsts, 0)
        for buffer, numbers in zip(buffers, firsts.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(numbers.view_as(buffer))
        self._are_apart, self._arrays.are_old = False, True


class LogitsOf(nn.Module):
    """A module whose forward gives what the loss reads, which is what DistributedDataParallel calls."""

    def __init__(self, module: nn.Module, compute: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.module, self.computes = module, (compute,)  # in a tuple: it may be a module, and would be one of its parts

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        (compute,) = self.computes
        return compute(*tensors)
