"""What is measured. A contestant is made and used in a process of its own, and holds one network.

`ENTRIES` lists them all. Importing this module imports no contestant's library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from netdsl.bench.report import OURS, TORCH_FORMATS
from netdsl.pipeline import Net
from netdsl.targets.contract import Device, Model


@dataclass(frozen=True)
class Job:
    """What a contestant is told. factory: `module:attribute`, called with the job; device: where PyTorch's compute;
    trains: whether it is asked for steps of training; tokens: how many it writes in a step of inference, where that is
    what it does."""

    net: Net
    factory: str
    batch: int
    threads: int
    level: int
    workers: str
    seed: int = 0
    device: Device = Device("cpu")
    trains: bool = True
    tokens: int = 0


@dataclass(frozen=True)
class Entry:
    """A contestant before it starts. needs: packages; takes_axes: takes maps of so many axes of space only; is_extra:
    runs on demand. words: what it does when it is asked something, where that is more than the others do
    (child.PHASES)."""

    name: str
    factory: str
    needs: tuple[str, ...] = ()
    takes_axes: tuple[int, ...] = ()
    is_extra: bool = False
    words: Mapping[str, str] = field(default_factory=dict)


_COMPILES = {
    "output": "compiling inference",
    "losses": "compiling a step of training",
    "warm_up": "compiling what is left and warming up",
}
ENTRIES = (
    Entry(OURS, "netdsl.bench.contestants:NumpyModule"),
    Entry("interpreter", "netdsl.bench.contestants:Interpreter"),
    Entry(TORCH_FORMATS[0], "netdsl.bench.torch_contestants:TorchEager", ("torch",)),
    Entry(TORCH_FORMATS[1], "netdsl.bench.torch_contestants:TorchChannelsLast", ("torch",), takes_axes=(2, 3)),
    Entry("torch_compile", "netdsl.bench.torch_contestants:TorchCompiled", ("torch",), is_extra=True, words=_COMPILES),
    Entry(
        "onnxruntime",
        "netdsl.bench.torch_contestants:OnnxRuntime",
        ("torch", "onnx", "onnxscript", "onnxruntime"),
        is_extra=True,
        words={"load": "exporting to ONNX"},
    ),
    Entry("jax", "netdsl.bench.jax_contestant:Jax", ("jax", "jaxlib"), is_extra=True, words=_COMPILES),
)


class LeftOut(Exception):
    """Raised by a contestant that cannot take this network. The text says why: "it has no `lrn`"."""


def installed_version(package: str) -> str | None:
    """The version of an installed package, known without importing it."""
    if find_spec(package) is None:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


Show = Callable[[str, np.ndarray], None]
"""Is told of what kind an array is, and the array."""


class Contestant(Protocol):
    """`__init__(job)` imports and writes code; `build` makes the network. placed(x) is x (N, *input) as the steps take
    it.

    training and inference give a function that makes one step, of x and targets y (N, ...) or of x; training is None
    where it cannot be done. The step of training returns the loss. as_array makes an array of what the step of
    inference returns. show_numbers tells show(kind, array) what a step of training leaves, where one can be made:
    `params`, `gradients`, `moments` (what the optimizer keeps), and what else can be seen.
    """

    def build(self) -> None: ...
    def placed(self, x: np.ndarray) -> Any: ...
    def load(self, path: str) -> None: ...
    def training(self) -> Callable[[Any, np.ndarray], float] | None: ...
    def inference(self) -> Callable[[Any], Any]: ...
    def as_array(self, output: Any) -> np.ndarray: ...
    def show_numbers(self, x: Any, y: np.ndarray, show: Show) -> None: ...


class _Learning:
    """A contestant that is a `Model`."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def model_of(self, job: Job) -> Model:
        """The network; each subclass has its own."""
        raise NotImplementedError

    def build(self) -> None:
        self.model = self.model_of(self.job)

    def placed(self, x: np.ndarray) -> np.ndarray:
        return x

    def load(self, path: str) -> None:
        self.model.load(path)

    def training(self) -> Callable[[Any, np.ndarray], float]:
        return self.model.train_step

    def inference(self) -> Callable[[Any], Any]:
        return self.model.forward

    def as_array(self, output: Any) -> np.ndarray:
        return np.array(output)

    def show_numbers(self, x: Any, y: np.ndarray, show: Show) -> None:
        gradients = self.model.loss_and_gradients(x, y)[1]
        moments = self.model.state(self.job.net.recipe.state_names)
        for kind, arrays in (("params", self.model.params), ("gradients", gradients), ("moments", moments)):
            for array in arrays.values():
                show(kind, array)


class NumpyModule(_Learning):
    """The emitted NumPy module. At level 0 the threads are those of BLAS, which the environment sets."""

    def model_of(self, job: Job) -> Model:
        model: Model = job.net.numpy_model(level=job.level, workers=job.threads, kind=job.workers)
        return model


def write_module(net: Net, level: int, workers: str) -> None:
    """Write the text of the NumPy module, which goes with the net to the process that runs it: the syntax trees that
    writing it leaves, 60 MB, are none of what the module takes. Raises UserError where there is none."""
    from netdsl.stages.forks import auto_kind

    kind = auto_kind() if workers == "auto" else workers
    (net.with_workers(kind) if level else net).numpy_source(level)


class Interpreter(_Learning):
    """The layer objects, which also have outputs and the gradients by them."""

    def model_of(self, job: Job) -> Model:
        return job.net.build()

    def show_numbers(self, x: Any, y: np.ndarray, show: Show) -> None:
        layers: Any = getattr(self.model, "layers")  # noqa: B009 - a Model need have none
        for layer in layers:
            vars(layer)["backward"] = partial(self._backward, layer.backward, show)
        super().show_numbers(x, y, show)
        for layer in layers:
            del vars(layer)["backward"]
            if layer.output is not None:
                show("outputs", layer.output)

    @staticmethod
    def _backward(backward: Callable[[np.ndarray], Any], show: Show, dy: np.ndarray) -> Any:
        show("gradients by outputs", dy)
        return backward(dy)
