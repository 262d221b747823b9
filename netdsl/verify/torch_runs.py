"""What the emitted PyTorch module computes, with a network's weights and draws; importing this module loads PyTorch."""

from __future__ import annotations

import numpy as np
import torch

from netdsl.layers import layer_at
from netdsl.pipeline import Net
from netdsl.targets.live.interpreter import LayerNetwork
from netdsl.targets.torch.running import Draws, torch_logits, torch_loss, torch_model
from netdsl.verify.batches import Batch, each
from netdsl.verify.runs import before_training, input_gradients, outputs_of


def same_draws(module: torch.nn.Module, network: LayerNetwork) -> None:
    """Replace each random layer of the module by a product with the factor that `network` drew last; of one that is
    called several times by those of its calls, in order."""
    draws = Draws(module, network.graph)
    random = [layer for layer in network.layers if layer.name in draws.paths]
    drawn = {layer.name: layer_at(layer.node).factor_of(layer.saved) for layer in random}
    if all(factor is not None for factor in drawn.values()):  # None: out of training
        draws.set({name: np.asarray(factor) for name, factor in drawn.items()})


def torch_run(net: Net, network: LayerNetwork, x: Batch, y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """What the emitted PyTorch module computes, with the weights of `network` and the draws it made last."""
    module = torch_model(net, before_training(net, network, network.dtype.name))
    with torch.no_grad():
        tensors = dict(outputs_of(module.eval()(*map(torch.from_numpy, each(x)))))
    same_draws(module, network)
    arrays = [torch.from_numpy(array) for array in each(x)]
    inputs = [array.requires_grad_() if array.is_floating_point() else array for array in arrays]
    logits = torch_logits(net, module.train(), inputs)
    loss = torch_loss(net, logits, y)
    loss.backward()
    tensors |= {"output, training": logits, "loss": loss}
    dxs = tuple(_gradient(given) for given in inputs)
    tensors |= input_gradients(dxs if net.graph.takes_names else dxs[0], [given.name for given in net.graph.inputs])
    for name, param in module.named_parameters():  # None: the loss does not depend on it
        tensors[f"gradient of {name}"] = torch.zeros_like(param) if param.grad is None else param.grad
    tensors |= {f"buffer {name}": module.get_buffer(name) for name in network.buffers}
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


def _gradient(given: torch.Tensor) -> torch.Tensor | None:
    """The gradient by an input, zeros where nothing depends on it; whole numbers have none."""
    if not given.is_floating_point():
        return None
    return torch.zeros_like(given) if given.grad is None else given.grad
