"""The PyTorch contestants of `netdsl bench --generate`: the emitted module with layers that keep what they have seen.

Each layer that looks back is replaced by one of this file with the same params; the rest is the emitted module's own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from netdsl.analysis.loss import logits_layers
from netdsl.analysis.writing import goes_on, window_of
from netdsl.bench.contestants import Job
from netdsl.bench.torch_contestants import TorchEager


class Keeper(nn.Module):
    """A layer that looks back."""

    def forget(self) -> None:
        """Begin another text."""
        raise NotImplementedError


class KeptAttention(Keeper):
    """The emitted SelfAttention of one text, (1, S, D) -> (1, S, D), with its keys and values in buffers of `room`
    tokens: scaled_dot_product_attention of the new queries and all keys so far."""

    def __init__(self, attention: Any, room: int) -> None:
        super().__init__()
        self.heads, self.kv, self.size = attention.heads, attention.kv, attention.size
        self.weight, self.bias, self.out_proj = attention.in_proj_weight, attention.in_proj_bias, attention.out_proj
        self.rotary = attention.rotary
        self.keys, self.values = torch.zeros(2, 1, self.kv, room, self.size).unbind()
        self.parts = [self.heads, self.kv, self.kv]
        self.options: dict[str, Any] = {"enable_gqa": True} if self.kv < self.heads else {}
        self.forget()

    def forget(self) -> None:
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        begin, end = self.seen, self.seen + x.shape[1]
        by_head = F.linear(x, self.weight, self.bias).unflatten(2, (-1, self.size)).transpose(1, 2)
        q, k, v = by_head.split(self.parts, dim=1)
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        self.keys[:, :, begin:end], self.values[:, :, begin:end] = k, v
        self.seen = end
        if begin:  # one new token, which reads them all
            k, v = self.keys[:, :, :end], self.values[:, :, :end]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=not begin, **self.options)
        made: torch.Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return made


class Positions:
    """A table of the emitted module, of which only the rows of the new tokens are put in its place."""

    def __init__(self, owner: nn.Module, name: str, axis: int) -> None:
        self.owner, self.name, self.axis = owner, name, axis
        self.table = getattr(owner, name).detach().float()

    def put(self, begin: int, end: int) -> None:
        """The tokens from `begin` to `end` - 1 come next."""
        vars(self.owner)[self.name] = self.table.narrow(self.axis, begin, end - begin)


def tables_of(owner: nn.Module, name: str, layer: Any) -> list[Positions]:
    """The tables of a layer: learned positions, sines, and the angles of attention."""
    if isinstance(layer, nn.Parameter):
        return [Positions(owner, name, 1)]
    if isinstance(getattr(layer, "table", None), torch.Tensor):
        return [Positions(layer, "table", 0)]
    rotary = getattr(layer, "rotary", None)
    return [] if rotary is None else [Positions(rotary, "table", 1)]


class KeptRecurrent(Keeper):
    """An nn.LSTM, nn.GRU or nn.RNN that goes on from its last state."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.module = module
        self.forget()

    def forget(self) -> None:
        self.state: Any = None

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        y, self.state = self.module(x, self.state)
        return y, self.state


class Cells(Keeper):
    """The same by nn.LSTMCell, nn.GRUCell or nn.RNNCell, one for each layer, which take a token in less time."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        kind: Any = {"LSTM": nn.LSTMCell, "GRU": nn.GRUCell}.get(module.mode, nn.RNNCell)
        options: dict[str, Any] = {"nonlinearity": module.mode[4:].lower()} if module.mode.startswith("RNN") else {}
        self.is_lstm, self.cells = module.mode == "LSTM", nn.ModuleList()
        for layer, weights in enumerate(module.all_weights):
            size = module.hidden_size if layer else module.input_size
            cell = kind(size, module.hidden_size, bias=module.bias, **options)
            for (name, _), weight in zip(list(cell.named_parameters()), weights, strict=True):
                setattr(cell, name, weight)
            self.cells.append(cell)
        self.forget()

    def forget(self) -> None:
        self.states: list[Any] = [None] * len(self.cells)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """(1, S, D) -> (1, S, H)."""
        made = [self.after(token) for token in x.unbind(1)]
        return torch.stack(made, dim=1) if len(made) > 1 else made[0].unsqueeze(1), self.states

    def after(self, x: torch.Tensor) -> torch.Tensor:
        """The next token (1, D) -> what the last layer makes of it, (1, H)."""
        for layer, cell in enumerate(self.cells):
            state = self.states[layer] = cell(x, self.states[layer])
            x = state[0] if self.is_lstm else state
        return x


class CachedWriter(TorchEager):
    """The emitted PyTorch module that goes on with a text, its layers keeping what they have seen: keys and values of
    attention, the states of nn.LSTM, nn.GRU and nn.RNN."""

    is_cached = True
    recurrent: type[KeptRecurrent] | type[Cells] = KeptRecurrent

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.window = window_of(job.net.graph)

    def load(self, path: str) -> None:
        super().load(path)
        self.keepers, self.positions = list[Keeper](), list[Positions]()
        graph = self.net.graph
        for node in filter(goes_on, graph.nodes[: logits_layers(graph, self.net.recipe.loss)]):
            scope, _, name = node.name.rpartition(".")
            self.replace(self.module.get_submodule(scope), name)

    def replace(self, owner: nn.Module, name: str) -> None:
        """Put a layer that keeps what it has seen in the place of one that does not."""
        layer: Any = getattr(owner, name)
        self.positions += tables_of(owner, name, layer)
        keeper: Keeper
        if isinstance(layer, nn.RNNBase):
            keeper = self.recurrent(layer)
        elif hasattr(layer, "in_proj_weight"):
            keeper = KeptAttention(layer, self.window)
        else:
            return
        self.keepers.append(keeper)
        setattr(owner, name, keeper)

    def training(self) -> None:
        return None

    def inference(self) -> Callable[[Any], Any]:
        logits = getattr(self.module.eval(), "logits", self.module)
        return lambda x: self.written(logits, x[:1, :1])

    @torch.inference_mode()
    def written(self, logits: Callable[..., torch.Tensor], new: torch.Tensor) -> list[torch.Tensor]:
        """The numbers that follow `new` (1, 1), where the window is full as the NumPy module's `continued` has it."""
        begin, seen, made = 0, list[torch.Tensor](), list[torch.Tensor]()
        self.forget()
        for _ in repeat(None, self.job.tokens):
            seen.append(new)
            if self.window and len(seen) > self.window:
                seen, begin = seen[-max(1, self.window // 2) :], 0
                self.forget()
            new = torch.cat(seen[begin:], dim=1) if len(seen) - begin > 1 else new
            for table in self.positions:
                table.put(begin, len(seen))
            new = logits(new)[:, -1].argmax(dim=1, keepdim=True)
            made.append(new)
            begin = len(seen) if self.is_cached else 0
        return made

    def forget(self) -> None:
        """Begin another text."""
        for keeper in self.keepers:
            keeper.forget()

    def as_array(self, output: list[torch.Tensor]) -> np.ndarray:
        return torch.cat(output, dim=1)[0].numpy()


class CellWriter(CachedWriter):
    """The same, with nn.LSTMCell, nn.GRUCell and nn.RNNCell in the place of nn.LSTM, nn.GRU and nn.RNN."""

    recurrent = Cells


class UncachedWriter(CachedWriter):
    """The emitted PyTorch module, which makes everything again for each number."""

    is_cached = False

    def replace(self, owner: nn.Module, name: str) -> None:
        """Only tables of positions are cut, to the numbers that there are."""
        self.positions += tables_of(owner, name, getattr(owner, name))
