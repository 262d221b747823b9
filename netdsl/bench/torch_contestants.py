"""The contestants that PyTorch, or what it exports to, runs; importing this module loads PyTorch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netdsl.bench.contestants import Job, Show
from netdsl.kernels.weights import read_weights
from netdsl.pipeline import run_module
from netdsl.targets.contract import Device
from netdsl.targets.torch.devices import autocast, chosen_device, memory_format, settings
from netdsl.targets.torch.model import new_optimizer
from netdsl.targets.torch.running import torch_clip, torch_loss
from netdsl.verify.batches import random_batch


class TorchEager:
    """The emitted PyTorch module, run as it is, or as the job's device says, with the optimizer that `netdsl train
    --backend torch` has: a fused one where PyTorch has that."""

    channels_last = False

    def __init__(self, job: Job) -> None:
        self.device, self.compiled = chosen_device(job.device.name), dict[str, Callable[..., Any]]()
        self.how = replace(job.device, is_channels_last=job.device.is_channels_last or self.channels_last)
        self.settings = settings(self.device, job.threads, is_exact=job.device.amp is None)  # until the process ends
        torch.manual_seed(job.seed)
        self.job, self.net, self.text = job, job.net, job.net.torch_source()

    def build(self) -> None:
        self.module = run_module(self.text, f"{self.net.name}_torch").Model().to(self.device)
        self.module.to(memory_format=self._format)
        self.optimizer = new_optimizer(self.net, self.module)

    @property
    def _format(self) -> torch.memory_format:
        """How maps lie in memory."""
        return memory_format(self.how, self.net.graph.input_type)

    def placed(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).to(self.device).contiguous(memory_format=self._format)

    def load(self, path: str) -> None:
        state = self.module.state_dict()
        counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
        expected = {name: value.cpu().numpy() for name, value in state.items() if name not in counters}
        weights = {name: torch.from_numpy(array) for name, array in read_weights(path, expected).items()}
        self.module.load_state_dict({**weights, **counters})

    def training(self) -> Callable[[torch.Tensor, np.ndarray], float] | None:
        self.module.train()
        logits = self.runnable("logits", getattr(self.module, "logits", self.module))

        def step(x: torch.Tensor, y: np.ndarray) -> float:
            self.optimizer.zero_grad()
            with autocast(self.device, self.how):
                made = logits(x)
            loss = torch_loss(self.net, made.float(), y)
            loss.backward()
            torch_clip(self.net, self.module)
            self.optimizer.step()
            return loss.item()

        return step

    def inference(self) -> Callable[[Any], Any]:
        forward = self.runnable("forward", self.module.eval())

        def step(x: torch.Tensor) -> Any:
            with torch.inference_mode(), autocast(self.device, self.how):
                made = forward(x)
            if self.device.type != "cpu":  # which goes on before it is done
                torch.accelerator.synchronize(self.device)
            return made

        return step

    def runnable(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """What is called in its place."""
        if not self.how.is_compiled:
            return function
        if name not in self.compiled:
            self.compiled[name] = torch.compile(function)
        return self.compiled[name]

    def as_array(self, output: Any) -> np.ndarray:
        return np.asarray(output.float().numpy(force=True))

    def show_numbers(self, x: torch.Tensor, y: np.ndarray, show: Show) -> None:
        kept = [value for state in self.optimizer.state.values() for value in state.values()]
        moments = [value for value in kept if isinstance(value, torch.Tensor) and value.dim()]
        gradients = [param.grad for param in self.module.parameters() if param.grad is not None]
        for kind, tensors in (("params", self.module.parameters()), ("gradients", gradients), ("moments", moments)):
            for tensor in tensors:
                show(kind, tensor.numpy(force=True))


class TorchChannelsLast(TorchEager):
    """The emitted PyTorch module with images in memory as (N, H, W, C), volumes as (N, D, H, W, C)."""

    channels_last = True


class TorchCompiled(TorchEager):
    """The emitted PyTorch module through torch.compile, which chooses the memory format."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.how = replace(self.how, is_compiled=True)


class OnnxRuntime(TorchEager):
    """The PyTorch module exported to ONNX; inference only, on the processor."""

    def __init__(self, job: Job) -> None:
        super().__init__(replace(job, device=Device("cpu")))

    def load(self, path: str) -> None:
        super().load(path)
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
            self.session = self._session(os.path.join(folder, "net.onnx"))

    def _session(self, path: str) -> Any:
        runtime: Any = import_module("onnxruntime")  # an extra, whose types are not at hand where it is not installed

        x = self.placed(random_batch(self.net, self.job.batch, self.job.seed)[0])
        torch.onnx.export(self.module.eval(), (x,), path, dynamo=True)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.job.threads, 1
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def training(self) -> None:
        return None

    def show_numbers(self, x: torch.Tensor, y: np.ndarray, show: Show) -> None:
        """It makes no step."""

    def inference(self) -> Callable[[Any], Any]:
        name = self.session.get_inputs()[0].name
        return lambda x: self.session.run(None, {name: x.numpy()})[0]

    def as_array(self, output: Any) -> np.ndarray:
        return np.asarray(output)
