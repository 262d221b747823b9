"""The emitted PyTorch module, run with a network's weights, losses and draws. Importing it loads PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from netdsl.analysis.loss import judges_tokens
from netdsl.graph.ir import Graph, Node
from netdsl.graph.recipe import LOSSES, Recipe
from netdsl.layers import layer_at
from netdsl.targets.torch.sharing import module_path, sharing

if TYPE_CHECKING:
    from netdsl.targets.contract import Compiled, Model

Logits = Callable[..., Any]
WHOLE = slice(None)


def torch_model(net: Compiled, network: Model) -> nn.Module:
    """The emitted PyTorch module with the weights of `network`, copied."""
    arrays = {**network.params, **network.buffers}
    return module_of(net, {name: np.array(array) for name, array in arrays.items()}, network.dtype)


def module_of(net: Compiled, arrays: Mapping[str, np.ndarray], dtype: np.dtype[Any]) -> nn.Module:
    """The emitted PyTorch module, whose params and buffers are these arrays of that dtype, in the same memory."""
    # on "meta" shapes have no numbers: none are drawn that would only be written over, but a mean would be lost
    with nullcontext() if net.graph.normalizes else torch.device("meta"):
        module: nn.Module = net.module("torch").Model()
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    counters = [key for key in module.state_dict() if key.endswith("num_batches_tracked")]
    module.load_state_dict(state | {key: torch.tensor(0) for key in counters}, assign=True)
    if dtype == np.float64:
        _mend_hardsigmoid(module)
    return module


class Hardsigmoid(nn.Module):
    """What nn.Hardsigmoid computes: PyTorch 2.13's gradient of it in float64 has a float32 1/6, 1e-8 too much."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu6(x + 3) / 6


def _mend_hardsigmoid(module: nn.Module) -> None:
    for name, part in list(module.named_modules()):
        if isinstance(part, nn.Hardsigmoid):
            module.set_submodule(name, Hardsigmoid())


def torch_logits(net: Compiled, module: nn.Module, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the loss reads of a module."""
    return logits_of(net, module)(*inputs)


def logits_of(
    net: Compiled, module: nn.Module, compiled: Callable[[Logits], Logits] | None = None
) -> Callable[..., torch.Tensor]:
    """The function of a module that gives what the loss reads; compiled: what makes a faster one of the module's own,
    which is PyTorch alone."""
    run: Logits = getattr(module, "logits", module)
    run = run if compiled is None else compiled(run)
    judged = [output.name for output in net.graph.outputs if output.value == net.graph.judged_value]

    def logits(*inputs: torch.Tensor) -> torch.Tensor:
        made = run(*inputs)
        return made[judged[0]] if isinstance(made, dict) else made

    return logits if net.graph.gives_names else run


def torch_loss(net: Compiled, logits: torch.Tensor, y: np.ndarray) -> torch.Tensor:
    """The recipe's loss as PyTorch computes it, of targets y (N, ...)."""
    given, options = net.recipe.loss_options, {}
    if "smooth" in given:
        options["label_smoothing"] = given["smooth"]
    if "weights" in given:
        options["weight"] = torch.tensor(given["weights"], dtype=logits.dtype, device=logits.device)
    if "ignore" in given:
        options["ignore_index"] = given["ignore"]
    target = torch.from_numpy(y).to(logits.device)
    if (target == given.get("ignore", -1)).all():  # PyTorch's mean of none is no number
        return (0 * logits).sum()
    if target.is_floating_point():  # else PyTorch smooths labels in the target's own dtype
        target = target.to(logits.dtype)
    if judges_tokens(net.graph, net.recipe.loss):
        logits, target = logits.flatten(0, 1), target.flatten()
    return getattr(F, LOSSES[net.recipe.loss].torch)(logits, target, **options)


def param_groups(recipe: Recipe, module: nn.Module) -> list[Any]:
    """What PyTorch's optimizers are given: the params, in two groups where some of them do not decay."""
    params = list(module.parameters())
    if recipe.decay == "all":
        return params
    groups = {is_matrix: [param for param in params if (param.dim() > 1) == is_matrix] for is_matrix in (True, False)}
    made: list[dict[str, Any]] = [{"params": groups[True]}, {"params": groups[False], "weight_decay": 0.0}]
    return [group for group in made if group["params"]]


def torch_clip(net: Compiled, module: nn.Module) -> None:
    """Shrink the module's gradients as the recipe says, which may be not at all."""
    if net.recipe.clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), net.recipe.clip)


class Drawn(nn.Module):
    """A random layer whose factors somebody else draws: in training x times the factor of this call, else x."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: list[torch.Tensor] = []
        self.calls = 0

    def factor(self, x: torch.Tensor) -> torch.Tensor:
        """The factor of this call."""
        factor = self.factors[self.calls % len(self.factors)]
        if len(self.factors) > 1:  # one module called several times, where layers share their params
            self.calls += 1
        return factor.to(x.dtype)

    def forward(self, x: torch.Tensor) -> Any:
        return x * self.factor(x) if self.training else x


class DrawnRecurrent(Drawn):
    """An nn.LSTM, nn.GRU or nn.RNN with its params under their names, whose layers but the last are multiplied by the
    factor (N, layers - 1, T, sides * H) of this call."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.module, self.sides = [module], 1 + module.bidirectional  # in a list: its params have their names here
        for name, param in module.named_parameters():
            self.register_parameter(name, param)

    def forward(self, x: torch.Tensor) -> Any:
        (module,) = self.module
        factor = self.factor(x) if self.training else None
        for layer in range(module.num_layers):
            x = self.one_layer(module, x, layer)
            if factor is not None and layer < module.num_layers - 1:
                x = x * factor[:, layer]
        return x, None

    def one_layer(self, module: nn.RNNBase, x: torch.Tensor, layer: int) -> torch.Tensor:
        """One layer in its directions, from zeros, by PyTorch's own function."""
        ends = [f"_l{layer}{side}" for side in ("", "_reverse")[: self.sides]]
        kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
        weights = [self.get_parameter(kind + end) for end in ends for kind in kinds]
        h = x.new_zeros(self.sides, len(x), module.hidden_size)
        state: Any = (h, h) if isinstance(module, nn.LSTM) else h
        run = getattr(torch, module.mode.lower())  # torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu
        made: torch.Tensor = run(x, state, weights, module.bias, 1, 0.0, self.training, self.sides == 2, True)[0]
        return made


def _in_place_of(module: nn.Module) -> Drawn:
    """What computes the same as a random module of PyTorch's, with factors that somebody else draws."""
    if isinstance(module, Drawn):  # it is that already
        return module
    return DrawnRecurrent(module) if isinstance(module, nn.RNNBase) else Drawn()


class Draws:
    """The random layers of a module, each replaced by a `Drawn`: NumPy draws their factors as for its own networks, so
    that a run is the same whatever computes it."""

    def __init__(self, module: nn.Module, graph: Graph) -> None:
        shared = sharing(graph)
        self.graph, self.nodes = graph, [node for node in graph.nodes if _is_drawn(node)]
        self.paths = {node.name: _drawing_member(module_path(graph, node, shared), node) for node in self.nodes}
        self.modules = {path: _in_place_of(module.get_submodule(path)) for path in self.paths.values()}
        for path, drawn in self.modules.items():
            drawn.train(module.get_submodule(path).training)
            module.set_submodule(path, drawn)

    def draw(
        self,
        n: int,
        rng: np.random.Generator,
        dtype: np.dtype[Any],
        device: torch.device,
        rows: slice = WHOLE,
    ) -> None:
        """Factors for n samples, layer by layer in the order of the graph, as layer objects draw them; those of `rows`
        are kept."""
        factors = {}
        for node in self.nodes:
            forward, shape, p = layer_at(node).drawn(node.attrs, *self.graph.input_types(node))
            x = np.broadcast_to(np.ones((), dtype), (n, *shape))
            factors[node.name] = forward(x, p, True, rng)[1][rows]
        self.set(factors, device)

    def set(self, factors: Mapping[str, np.ndarray], device: torch.device | None = None) -> None:
        """Those factors, by the names of their layers."""
        for drawn in self.modules.values():
            drawn.factors, drawn.calls = [], 0
        for name, path in self.paths.items():
            factor = torch.from_numpy(np.asarray(factors[name]))
            self.modules[path].factors.append(factor if device is None else factor.to(device))


def _is_drawn(node: Node) -> bool:
    definition = layer_at(node)
    return definition.is_random and not definition.is_idle(node.attrs)


def _drawing_member(path: str, node: Node) -> str:
    """The full name of the module that draws for a node."""
    member = layer_at(node).torch_draws
    return f"{path}.{member}" if member else path
