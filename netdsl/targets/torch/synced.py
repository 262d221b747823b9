"""Batch norm whose statistics are those of the whole batch that several processes share. Importing it loads PyTorch.

PyTorch's own, nn.SyncBatchNorm, is for GPUs alone, and cannot be told of a batch that each process computes whole.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SyncedNorm(_BatchNorm):
    """What nn.BatchNorm computes, with the params and buffers of one, of the samples of all processes together.

    is_shared: whether each process has other samples; else each has all of them.
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, device=torch.device("meta"))
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.is_shared = True
        self.train(norm.training)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (self.training and self.is_shared):
            return super().forward(x)
        mean, var, by_column = self.running_mean, self.running_var, (1, -1, *[1] * (x.dim() - 2))
        assert mean is not None and var is not None and self.momentum is not None
        y, batch_mean, batch_var, count = _Normalized.apply(x.to(mean.dtype), self.eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            mean.lerp_(batch_mean, self.momentum)
            var.lerp_(batch_var * (count / (count - 1)), self.momentum)
        if self.affine:
            y = y * self.weight.view(by_column) + self.bias.view(by_column)
        normalized: torch.Tensor = y.to(x.dtype)
        return normalized

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """The shape was checked when the spec was."""


class _Normalized(torch.autograd.Function):
    """x (n, C, ...) of each process -> (x - mean) / sqrt(var + eps) with mean and variance over all of them; mean (C,),
    the biased variance (C,), and the number of values that each is of.

    Each process gives its mean and its sum of squared differences from that; they add up without cancellation (Chan,
    Golub & LeVeque 1979).
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, ...]:
        axes, channels = (0, *range(2, x.dim())), x.shape[1]
        shape = (1, -1, *[1] * (x.dim() - 2))
        own = x.mean(axes)
        squares = (x - own.view(shape)).square().sum(axes)
        mine = torch.cat([own, squares, x.new_full((1,), x.numel() // channels)])
        every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
        dist.all_gather(every, mine)
        means, sums, counts = torch.stack(every).split([channels, channels, 1], dim=1)  # (ranks, C), (ranks, C), ...
        count = counts.sum()
        mean = (means * counts).sum(0) / count
        var = (sums + counts * (means - mean).square()).sum(0) / count
        inv_std = torch.rsqrt(var + eps)
        x_hat = (x - mean.view(shape)) * inv_std.view(shape)
        ctx.save_for_backward(x_hat, inv_std, count)
        ctx.mark_non_differentiable(mean, var, count)
        return x_hat, mean, var, count

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), the means over all processes."""
        x_hat, inv_std, count = ctx.saved_tensors
        g, axes, shape = grads[0], (0, *range(2, x_hat.dim())), (1, -1, *[1] * (x_hat.dim() - 2))
        sums = torch.cat([g.sum(axes), (g * x_hat).sum(axes)])
        dist.all_reduce(sums)
        mean, along = (sums / count).chunk(2)
        return (g - mean.view(shape) - x_hat * along.view(shape)) * inv_std.view(shape), None


def sync_norms(module: nn.Module) -> list[SyncedNorm]:
    """The module's batch norms, each replaced by one of the whole batch under the same names."""
    made = []
    for path, part in list(module.named_modules()):
        if isinstance(part, _BatchNorm):
            made.append(SyncedNorm(part))
            module.set_submodule(path, made[-1])
    return made
