"""The PyTorch module as a `Model`: the same loop trains it that trains the NumPy networks. Importing it loads PyTorch.

It starts with the weights that NumPy draws, its dropout multiplies by what NumPy draws, and its optimizer keeps what
NumPy's keeps, so that a run goes on under either.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from netdsl.graph.recipe import OPTIMIZERS
from netdsl.ground.diagnostics import UserError
from netdsl.targets.contract import Compiled, Step, Workers
from netdsl.targets.live.interpreter import NamedLayerNetwork, layer_network
from netdsl.targets.numpy.model import input_names
from netdsl.targets.numpy.named_network import NamedNetwork
from netdsl.targets.numpy.network import Network
from netdsl.targets.torch.arrays import DeviceMeans, HostArrays
from netdsl.targets.torch.devices import autocast, chosen_device, memory_format, settings
from netdsl.targets.torch.running import Draws, logits_of, module_of, param_groups, torch_clip, torch_loss
from netdsl.targets.torch.scale import SCALE, LossScale

if TYPE_CHECKING:
    from netdsl.targets.contract import Arrays, Batch, Means

SOONER = "in {}, which rounds more and may overflow sooner; in float32 it is one (leave `--amp` out, or a smaller lr)"


class TorchNetwork(Network):
    """An emitted `nn.Module` that learns on the device of `workers`.

    params and buffers are arrays of this machine's memory: on the processor the module's own, elsewhere copies, which
    are taken anew when they are asked for and written back before the module computes again. Until `close` PyTorch has
    the number of threads that `workers` says, and cuDNN its exact algorithms: those are settings of the whole process.
    """

    def __init__(self, net: Compiled, seed: int, dtype: Any, workers: Workers) -> None:
        start = layer_network(net.graph, net.recipe, seed, dtype)
        self.net, self.how, self.device = net, workers.device, chosen_device(workers.device.name)
        self.dtype, self.rng, self.loss, self.learning_rate = start.dtype, start.rng, start.loss, start.learning_rate
        self.input_names, self._checked = input_names(net.graph), start
        if net.graph.is_plain:
            self.input_shape = net.graph.input_shape
        else:
            self.input_shapes = {given.name or "x": given.type.sizes for given in net.graph.inputs}
        self.format = memory_format(workers.device, net.graph.inputs[0].type)
        self.module = module_of(net, {**start.params, **start.buffers}, start.dtype)
        self.draws = Draws(self.module, net.graph)
        self.module.to(self.device)
        self.module.to(memory_format=self.format)  # type: ignore[call-overload]  # the stubs leave it out
        self._arrays = HostArrays(self.module, tuple(start.params), tuple(start.buffers))
        self.optimizer = new_optimizer(net, self.module)
        self._compute = logits_of(net, self.module, torch.compile if self.how.is_compiled else None)
        self.scale = LossScale(self.device) if self.how.amp == "float16" else None
        self._saved: tuple[tuple[torch.Tensor, ...], torch.Tensor] | None = None
        self._settings = settings(self.device, workers.count, is_exact=self.how.amp is None)

    @property
    def params(self) -> dict[str, np.ndarray]:  # type: ignore[override]  # a NumPy network's are attributes
        return self._arrays.params

    @property
    def buffers(self) -> dict[str, np.ndarray]:  # type: ignore[override]
        return self._arrays.buffers

    @property
    def overflows_sooner(self) -> str:
        """Where it computes in 16 bits, that in words."""
        return SOONER.format(self.how.amp) if self.how.amp else ""

    # ---------------------------------------------------------------------------------------------- what it computes

    def forward(self, *x: Any, training: bool = False) -> Any:
        """x (N, *input_shape) -> what the network gives, (N, *output_shape)."""
        with torch.no_grad(), self._computing():
            made = self._ready(len(x[0]), training)(*self._tensors(x))
        return {name: self._own(y) for name, y in made.items()} if isinstance(made, dict) else self._own(made)

    def logits(self, *x: Any, training: bool = False) -> np.ndarray:
        """x (N, *input_shape) -> what the loss reads, (N, ...); in training it is kept for `backward`."""
        tensors = self._tensors(x)
        if not training:
            with torch.no_grad():
                return _array(self._logits(tensors, False))
        tensors = tuple(given.requires_grad_() if given.is_floating_point() else given for given in tensors)
        self._saved = tensors, self._logits(tensors, True)
        return _array(self._saved[1])

    def backward(self, dlogits: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
        """The gradient by what `logits` gave -> dx of each input, of an only one without a name itself, and {param
        name: gradient}, for the batch that went forward last."""
        assert self._saved is not None, "logits(x, training=True) comes before backward"
        (tensors, logits), self._saved = self._saved, None
        self.optimizer.zero_grad()
        logits.backward(torch.from_numpy(np.ascontiguousarray(dlogits)).to(logits))
        dxs = tuple(_gradient(x) for x in tensors)
        grads = {name: _array(grad) for name, grad in zip(self._arrays.param_names, self._gradients(), strict=True)}
        return dxs if self.net.graph.takes_names else dxs[0], grads

    def loss_and_gradients(self, x: Batch, y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """x (N, *input_shape), targets y (N, ...) -> mean loss, {param name: gradient}, in training mode."""
        loss, dlogits = self.loss(self.logits(*self._given(x), training=True), y)
        return loss, self.backward(dlogits)[1]

    # ---------------------------------------------------------------------------------------------- how it learns

    def train_step(self, x: Batch, y: np.ndarray, lr: float | None = None) -> float:
        """Forward, loss, backward and a step of the optimizer, in place -> the mean loss. lr: None is the recipe's."""
        return self._stepped(x, y, self.learning_rate if lr is None else lr, is_sure=True).loss

    def learn(self, x: Batch, y: np.ndarray, lr: float) -> Step:
        """As train_step, but where a number is not finite params stay as they were."""
        return self._stepped(x, y, lr, is_sure=False)

    def _stepped(self, x: Batch, y: np.ndarray, lr: float, is_sure: bool) -> Step:
        """A step of the optimizer; one that is not sure is left out where a number is not finite."""
        loss, logits = self._gone_back(x, y)
        is_finite = self._is_finite(loss, is_sure)
        if is_finite:
            self._update(lr)
        if self.scale is not None:  # a step that is left out is none that failed
            is_finite = self.scale.follows(is_finite, loss)
        return Step(loss.item(), _array(logits), is_finite)

    def _gone_back(
        self, x: Batch, y: np.ndarray, share: float = 1.0, is_first: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward, loss and backward, whose gradients, by `share`, are added to what params have unless it is the first
        of a step -> the mean loss, logits."""
        logits = self._logits(self._tensors(self._given(x)), True)
        loss = torch_loss(self.net, logits, np.ascontiguousarray(y))
        if is_first:
            self.optimizer.zero_grad()
        own = self._own_share(loss, y)
        self._scaled(own if share == 1 else own * share).backward()
        return self._of_all(loss, logits, y), logits

    def gather(self, x: Batch, y: np.ndarray, share: float, is_first: bool) -> Step:
        """The gradients by these samples, by `share`, are added to what params have, unless it is the first batch."""
        loss, logits = self._gone_back(x, y, share, is_first)
        return Step(loss.item(), _array(logits), bool(torch.isfinite(loss)))

    def apply(self, lr: float, factor: float) -> bool:
        """A step of the optimizer by the gradients that the params have, where all are finite."""
        if factor != 1:
            for grad in self._gradients():
                grad.mul_(factor)
        finite = torch.ones((), device=self.device)  # the losses were
        is_finite = self._is_finite(finite, is_sure=False)
        if is_finite:
            self._update(lr)
        return is_finite if self.scale is None else self.scale.follows(is_finite, finite)

    def _own_share(self, loss: torch.Tensor, y: np.ndarray) -> torch.Tensor:
        """What goes backward: the mean loss of a batch, or of the part of it that this process has, scaled."""
        return loss

    def _of_all(self, loss: torch.Tensor, logits: torch.Tensor, y: np.ndarray) -> torch.Tensor:
        """The mean loss of the batch, whose part that this process has came to `loss`."""
        return loss

    def _scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """What goes backward for a loss: float16 has no gradients below 6e-8."""
        return loss if self.scale is None else self.scale.of(loss)

    def _is_finite(self, loss: torch.Tensor, is_sure: bool) -> bool:
        """Whether the loss and every gradient are, which are of their own size from here on."""
        gradients = self._gradients()
        if self.scale is not None:
            self.scale.take_off(self.optimizer)
        elif is_sure:
            return True
        # squares overflow before the numbers do; the largest number is a norm that does not, at ten times the cost
        for order in (2.0, float("inf")):
            norm = self._all_of(nn.utils.get_total_norm(gradients, norm_type=order))
            if torch.isfinite(loss) & torch.isfinite(norm):
                return True
        return False

    def _update(self, lr: float) -> None:
        """A step of the optimizer by the gradients that the params have."""
        torch_clip(self.net, self.module)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self._arrays.are_old = True

    def _gradients(self) -> list[torch.Tensor]:
        """The gradient of each param; zeros where the loss does not depend on it, as in NumPy."""
        params: list[Any] = list(self.module.parameters())
        for param in params:
            if param.grad is None:
                param.grad = torch.zeros_like(param)
        return [param.grad for param in params]

    def update(self, grads: Arrays, lr: float) -> None:
        """A step of the optimizer by gradients that `backward` gave."""
        for name, param in zip(self._arrays.param_names, self.module.parameters(), strict=True):
            param.grad = self._like(np.array(grads[name]), param)
        self._update(lr)

    def prepare(self, n: int, y: np.ndarray | None = None) -> None:
        """There is nothing to prepare."""

    def state(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """`conv1.weight.exp_avg` -> the array that the optimizer keeps, zeros before the first step; in float16 also
        `scale`, as LossScale has it."""
        params = list(zip(self._arrays.param_names, self.module.parameters(), strict=True))
        kept = {(name, key): self.optimizer.state[param].get(key) for name, param in params for key in names}
        empty = {name: np.zeros(param.shape, self.dtype) for name, param in params}
        arrays = {
            f"{name}.{key}": empty[name].copy() if kept[name, key] is None else _array(self._all_of(kept[name, key]))
            for key in names
            for name, _ in params
        }
        return arrays if self.scale is None else {**arrays, SCALE: self.scale.array}

    def load_state(self, names: tuple[str, ...], arrays: Arrays, steps: int) -> None:
        """Take over what `state` gave after so many steps."""
        self.optimizer.state.clear()
        if self.scale is not None:
            self.scale = LossScale(self.device, arrays.get(SCALE))
            steps -= self.scale.skipped
        for name, param in zip(self._arrays.param_names, self.module.parameters(), strict=True):
            if steps <= 0:
                break
            kept = {key: self._like(np.array(arrays[f"{name}.{key}"]), param) for key in names}
            self.optimizer.state[param] = {"step": torch.tensor(float(steps), device=param.device), **kept}

    def _all_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """All of a tensor that is of the kind of the params."""
        return tensor

    def _like(self, array: np.ndarray, param: torch.Tensor) -> torch.Tensor:
        """The numbers as a tensor of the kind of a param, which lies in memory as it does: PyTorch's fused optimizers
        go through the memory of both at once."""
        return torch.empty_like(param, requires_grad=False).copy_(torch.from_numpy(array))

    def means(self) -> Means:
        """Means of params and buffers, on the device."""
        return DeviceMeans(self._arrays, self._settle)

    def _settle(self) -> None:
        """Brings together what belongs to params and buffers, where they are not all here."""

    def close(self) -> None:
        """Give the process its own settings back; there are no workers to end."""
        self._settings.close()

    # ---------------------------------------------------------------------------------------------- its parts

    def _given(self, x: Any) -> tuple[Any, ...]:
        """x, as `learn` takes it, -> the array of every input."""
        return (x,)

    def _ready(self, n: int, training: bool) -> nn.Module:
        """The module with the weights that somebody wrote, and in training with draws for n samples."""
        self._arrays.write_back()
        if training:
            self._draw(n)
            self._arrays.are_old = True  # batch norm counts on
        return self.module.train(training)

    def _draw(self, n: int) -> None:
        """Factors for the n samples that go forward next."""
        self.draws.draw(n, self.rng, self.dtype, self.device)

    def _logits(self, tensors: tuple[torch.Tensor, ...], training: bool) -> torch.Tensor:
        """What the loss reads, in the network's own dtype."""
        self._ready(len(tensors[0]), training)
        with self._computing():
            logits: torch.Tensor = self._compute(*tensors)
        return logits if self.how.amp is None else logits.float()

    def _own(self, y: torch.Tensor) -> np.ndarray:
        """The numbers of an output, in the network's own dtype: NumPy has no bfloat16."""
        return _array(y if self.how.amp is None else y.float())

    def _computing(self) -> AbstractContextManager[object]:
        return autocast(self.device, self.how)

    def _tensors(self, x: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
        """x (N, *input_shape) of each input, which are looked at as a NumPy network does, on the device."""
        start = self._checked
        checked = start.check_inputs(*x) if isinstance(start, NamedLayerNetwork) else [start.check_input(x[0])]
        return tuple(self._tensor(array) for array in checked)

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(x))
        is_map = tensor.dim() > 3 and self.format is not torch.contiguous_format
        return tensor.to(self.device, memory_format=self.format if is_map else torch.contiguous_format)


class NamedTorchNetwork(TorchNetwork, NamedNetwork):
    """An emitted `nn.Module` that takes or gives several arrays, or one that has a name."""

    def _given(self, x: Any) -> tuple[Any, ...]:
        return self.in_order(x)


def torch_network(net: Compiled, seed: int, dtype: Any, workers: Workers) -> TorchNetwork:
    """The net's PyTorch module with its first weights."""
    return (TorchNetwork if net.graph.is_plain else NamedTorchNetwork)(net, seed, dtype, workers)


def new_optimizer(net: Compiled, module: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimizer, as PyTorch has it: where it can in one pass over each param, which takes a third of the
    time on the processor. A param that is spread over processes is none of those. Raises UserError for no params."""
    params, recipe = list(module.parameters()), net.recipe
    if not params:
        text = "the network has no params, and PyTorch learns nothing else"
        raise UserError(text, help="add a layer that has some, as `linear`; `--backend numpy` does without")
    is_fused = OPTIMIZERS[recipe.optimizer].is_fused and all(type(param.data) is torch.Tensor for param in params)
    made: torch.optim.Optimizer = getattr(torch.optim, OPTIMIZERS[recipe.optimizer].torch)(
        param_groups(recipe, module), **recipe.options, **({"fused": True} if is_fused else {})
    )
    return made


def _gradient(x: torch.Tensor) -> np.ndarray | None:
    """The gradient by an input, zeros where nothing depends on it; whole numbers have none."""
    if not x.is_floating_point():
        return None
    return _array(torch.zeros_like(x) if x.grad is None else x.grad)


def _array(tensor: torch.Tensor) -> np.ndarray:
    """The numbers of a tensor, in this machine's memory."""
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array
