"""What is measured. A contestant is made and used in a process of its own, and holds one network and one batch.

`ENTRIES` lists them all. Importing this module imports no contestant's library.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from netdsl.bench.report import OURS, TORCH_FORMATS
from netdsl.graph.recipe import OPTIMIZERS
from netdsl.kernels.weights import read_weights
from netdsl.pipeline import Net, run_module
from netdsl.targets.contract import Model
from netdsl.verify.torch_runs import torch_clip, torch_loss


@dataclass(frozen=True)
class Job:
    """What a contestant is told. factory: `module:attribute`, called with the job."""

    net: Net
    factory: str
    batch: int
    threads: int
    level: int
    workers: str
    seed: int = 0


@dataclass(frozen=True)
class Entry:
    """A contestant before it starts. needs: packages; takes_axes: takes maps of so many axes of space only; is_extra:
    runs on demand."""

    name: str
    factory: str
    needs: tuple[str, ...] = ()
    takes_axes: tuple[int, ...] = ()
    is_extra: bool = False


ENTRIES = (
    Entry(OURS, "netdsl.bench.contestants:NumpyModule"),
    Entry("interpreter", "netdsl.bench.contestants:Interpreter"),
    Entry(TORCH_FORMATS[0], "netdsl.bench.contestants:TorchEager", ("torch",)),
    Entry(TORCH_FORMATS[1], "netdsl.bench.contestants:TorchChannelsLast", ("torch",), takes_axes=(2, 3)),
    Entry("torch_compile", "netdsl.bench.contestants:TorchCompiled", ("torch",), is_extra=True),
    Entry(
        "onnxruntime",
        "netdsl.bench.contestants:OnnxRuntime",
        ("torch", "onnx", "onnxscript", "onnxruntime"),
        is_extra=True,
    ),
)


def installed_version(package: str) -> str | None:
    """The version of an installed package, known without importing it."""
    if find_spec(package) is None:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


class Contestant(Protocol):
    """`__init__(job)` imports and writes code; `build` makes the network and keeps the batch.

    training and inference give a function that makes one step; training is None where it cannot be done. The step of
    training returns the loss. as_array makes an array of what the step of inference returns.
    """

    def build(self, x: np.ndarray, y: np.ndarray) -> None: ...
    def save(self, path: str) -> None: ...
    def load(self, path: str) -> None: ...
    def training(self) -> Callable[[], float] | None: ...
    def inference(self) -> Callable[[], Any]: ...
    def as_array(self, output: Any) -> np.ndarray: ...


class _Learning:
    """A contestant that is a `Model`."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def model_of(self, job: Job) -> Model:
        """The network; each subclass has its own."""
        raise NotImplementedError

    def build(self, x: np.ndarray, y: np.ndarray) -> None:
        self.model, self.x, self.y = self.model_of(self.job), x, y

    def save(self, path: str) -> None:
        self.model.save(path)

    def load(self, path: str) -> None:
        self.model.load(path)

    def training(self) -> Callable[[], float]:
        return lambda: self.model.train_step(self.x, self.y)

    def inference(self) -> Callable[[], np.ndarray]:
        return lambda: self.model.forward(self.x)

    def as_array(self, output: Any) -> np.ndarray:
        return np.array(output)


class NumpyModule(_Learning):
    """The emitted NumPy module. At level 0 the threads are those of BLAS, which the environment sets."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        job.net.numpy_source(job.level)  # what writing it takes is not the network's memory

    def model_of(self, job: Job) -> Model:
        model: Model = job.net.numpy_model(level=job.level, workers=job.threads, kind=job.workers)
        return model


class Interpreter(_Learning):
    """The layer objects."""

    def model_of(self, job: Job) -> Model:
        return job.net.build()


# -------------------------------------------------------------------------------------------- PyTorch


class TorchEager:
    """The emitted PyTorch module, run as it is."""

    channels_last = False

    def __init__(self, job: Job) -> None:
        import torch

        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)
        self.job, self.net, self.text = job, job.net, job.net.torch_source()

    def build(self, x: np.ndarray, y: np.ndarray) -> None:
        import torch

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
        from torch import from_numpy

        state = self.module.state_dict()
        counters = {name: value for name, value in state.items() if name.endswith("num_batches_tracked")}
        expected = {name: value.numpy() for name, value in state.items() if name not in counters}
        weights = {name: from_numpy(array) for name, array in read_weights(path, expected).items()}
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
        import torch

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
        import torch

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
        import torch

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
