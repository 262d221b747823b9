"""The contestants that PyTorch, or what it exports to, runs; importing this module loads PyTorch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netdsl.bench.contestants import Job
from netdsl.graph.recipe import OPTIMIZERS
from netdsl.kernels.weights import read_weights
from netdsl.pipeline import run_module
from netdsl.targets.torch.running import torch_clip, torch_loss


class TorchEager:
    """The emitted PyTorch module, run as it is."""

    channels_last = False

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)
        self.job, self.net, self.text = job, job.net, job.net.torch_source()

    def build(self, x: np.ndarray, y: np.ndarray) -> None:
        self.module = run_module(self.text, f"{self.net.name}_torch").Model()
        self.x, self.y = torch.from_numpy(x), y
        if self.channels_last:
            formats = {2: torch.channels_last, 3: torch.channels_last_3d}  # for signals PyTorch has none
            memory_format = formats[self.net.graph.input_type.axes]
            self.module.to(memory_format=memory_format)
            self.x = self.x.contiguous(memory_format=memory_format)
        recipe = self.net.recipe
        optimizer = getattr(torch.optim, OPTIMIZERS[recipe.optimizer].torch)
        self.optimizer = optimizer(self.module.parameters(), **recipe.options)

    def save(self, path: str) -> None:
        raise NotImplementedError("weights come from NumPy")

    def load(self, path: str) -> None:
        state = self.module.state_dict()
        counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
        expected = {name: value.numpy() for name, value in state.items() if name not in counters}
        weights = {name: torch.from_numpy(array) for name, array in read_weights(path, expected).items()}
        self.module.load_state_dict({**weights, **counters})

    def training(self) -> Callable[[], float] | None:
        self.module.train()
        logits = self.runnable("logits", getattr(self.module, "logits", self.module))

        def step() -> float:
            self.optimizer.zero_grad()
            loss = torch_loss(self.net, logits(self.x), self.y)
            loss.backward()
            torch_clip(self.net, self.module)
            self.optimizer.step()
            return loss.item()

        return step

    def inference(self) -> Callable[[], Any]:
        forward = self.runnable("forward", self.module.eval())

        def step() -> Any:
            with torch.inference_mode():
                return forward(self.x)

        return step

    def runnable(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """What is called in its place."""
        return function

    def as_array(self, output: Any) -> np.ndarray:
        return np.asarray(output.numpy(force=True))


class TorchChannelsLast(TorchEager):
    """The emitted PyTorch module with images in memory as (N, H, W, C), volumes as (N, D, H, W, C)."""

    channels_last = True


class TorchCompiled(TorchEager):
    """The emitted PyTorch module through torch.compile, which chooses the memory format."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.compiled: dict[str, Callable[..., Any]] = {}

    def runnable(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        if name not in self.compiled:
            self.compiled[name] = torch.compile(function)
        return self.compiled[name]


class OnnxRuntime(TorchEager):
    """The PyTorch module exported to ONNX; inference only."""

    def load(self, path: str) -> None:
        super().load(path)
        with tempfile.TemporaryDirectory(dir=Path(path).parent) as folder:
            self.session = self._session(os.path.join(folder, "net.onnx"))

    def _session(self, path: str) -> Any:
        runtime: Any = import_module("onnxruntime")  # an extra, whose types are not at hand where it is not installed

        torch.onnx.export(self.module.eval(), (self.x,), path, dynamo=True)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.job.threads, 1
        return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def training(self) -> None:
        return None

    def inference(self) -> Callable[[], Any]:
        feed = {self.session.get_inputs()[0].name: self.x.numpy()}
        return lambda: self.session.run(None, feed)[0]

    def as_array(self, output: Any) -> np.ndarray:
        return np.asarray(output)
