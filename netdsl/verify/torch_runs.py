"""What the emitted PyTorch module computes, with a network's weights and draws; PyTorch is loaded when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.graph.recipe import LOSSES
from netdsl.layers import layer_of
from netdsl.pipeline import Net, run_module
from netdsl.targets.live.interpreter import LayerNetwork
from netdsl.targets.torch.sharing import module_path, sharing
from netdsl.verify.batches import Batch, each
from netdsl.verify.runs import before_training, input_gradients, outputs_of

if TYPE_CHECKING:
    import torch


def torch_model(net: Net, network: LayerNetwork) -> torch.nn.Module:
    """The emitted PyTorch module with the weights of `network`."""
    import torch

    # on "meta" shapes have no numbers: none are drawn that would only be written over, but a mean would be lost
    with nullcontext() if net.graph.normalizes else torch.device("meta"):
        module = run_module(net.torch_source(), f"{net.name}_torch").Model()
    state = {name: torch.from_numpy(np.array(array)) for name, array in (network.params | network.buffers).items()}
    counters = [key for key in module.state_dict() if key.endswith("num_batches_tracked")]
    module.load_state_dict(state | {key: torch.tensor(0) for key in counters}, assign=True)
    if network.dtype == np.float64:
        _mend_hardsigmoid(module)
    return module


def _mend_hardsigmoid(module: torch.nn.Module) -> None:
    """PyTorch 2.13's gradient of hardsigmoid in float64 has a float32 1/6 in it, 1e-8 too much."""
    import torch

    class Hardsigmoid(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.relu6(x + 3) / 6

    for name, part in list(module.named_modules()):
        if isinstance(part, torch.nn.Hardsigmoid):
            module.set_submodule(name, Hardsigmoid())


def same_draws(module: torch.nn.Module, network: LayerNetwork) -> None:
    """Replace each random layer of the module by a product with the factor that `network` drew last; of one that is
    called several times by those of its calls, in order."""
    import torch

    class Factor(torch.nn.Module):
        def __init__(self, factors: list[np.ndarray]) -> None:
            super().__init__()
            self.factors, self.calls = [torch.from_numpy(np.asarray(factor)) for factor in factors], 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * self.factors[(self.calls - 1) % len(self.factors)]

    shared = sharing(network.graph)
    drawn: dict[str, list[Any]] = {}
    for layer in network.layers:
        definition = layer_of(layer.op)
        if definition.is_random and layer.saved is not None and not definition.is_idle(layer.node.attrs):
            drawn.setdefault(module_path(network.graph, layer.node, shared), []).append(layer.saved)
    for path, factors in drawn.items():
        module.set_submodule(path, Factor(factors))


def torch_logits(net: Net, module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """What the loss reads of a module."""
    made = getattr(module, "logits", module)(*inputs)
    if not isinstance(made, dict):
        return made
    return next(made[output.name] for output in net.graph.outputs if output.value == net.graph.judged_value)


def torch_loss(net: Net, logits: torch.Tensor, y: np.ndarray) -> torch.Tensor:
    """The recipe's loss as PyTorch computes it."""
    import torch
    import torch.nn.functional as F

    given, options = net.recipe.loss_options, {}
    if "smooth" in given:
        options["label_smoothing"] = given["smooth"]
    if "weights" in given:
        options["weight"] = torch.tensor(given["weights"], dtype=logits.dtype, device=logits.device)
    return getattr(F, LOSSES[net.recipe.loss].torch)(logits, torch.from_numpy(y), **options)


def torch_clip(net: Net, module: torch.nn.Module) -> None:
    """Shrink the module's gradients as the recipe says, which may be not at all."""
    import torch

    if net.recipe.clip is not None:
        torch.nn.utils.clip_grad_norm_(module.parameters(), net.recipe.clip)


def torch_run(net: Net, network: LayerNetwork, x: Batch, y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """What the emitted PyTorch module computes, with the weights of `network` and the draws it made last."""
    import torch

    module = torch_model(net, before_training(net, network, network.dtype.name))
    with torch.no_grad():
        tensors = dict(outputs_of(module.eval()(*map(torch.from_numpy, each(x)))))
    same_draws(module, network)
    inputs = [torch.from_numpy(array).requires_grad_() for array in each(x)]
    logits = torch_logits(net, module.train(), inputs)
    loss = torch_loss(net, logits, y)
    loss.backward()
    tensors |= {"output, training": logits, "loss": loss}
    dxs = tuple(torch.zeros_like(given) if given.grad is None else given.grad for given in inputs)
    tensors |= input_gradients(dxs if net.graph.takes_names else dxs[0], [given.name for given in net.graph.inputs])
    for name, param in module.named_parameters():  # None: the loss does not depend on it
        tensors[f"gradient of {name}"] = torch.zeros_like(param) if param.grad is None else param.grad
    tensors |= {f"buffer {name}": module.get_buffer(name) for name in network.buffers}
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}
