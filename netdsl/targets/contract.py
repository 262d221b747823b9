"""What a target says about itself, `Target`, and what a network that learns can be asked for, `Model`.

A target lives in one folder, whose `target.py` ends in `TARGET = Target(...)` (targets/registry.py finds it there).
Of every op it has one entry in a table of its own, `rules`: what its emitter needs to know of the op, or `Declined`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from netdsl.ground.ranks import ALONE as NO_OTHERS
from netdsl.ground.ranks import Ranks

if TYPE_CHECKING:
    import numpy as np

    from netdsl.graph.ir import Graph, Node
    from netdsl.graph.recipe import Recipe
    from netdsl.targets.dialect import Dialect

    Arrays = Mapping[str, np.ndarray]
    Batch = np.ndarray | tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Declined:
    """The entry of an op that a target cannot take. why: `a list has no windows`."""

    why: str


Rules = Mapping[str, object]
"""op -> what a target knows of it, of a type of the target's own, or Declined. An op without an entry is declined."""


@dataclass(frozen=True)
class Device:
    """Where PyTorch computes, and how; other targets do not ask.

    name: "cpu", "cuda", "cuda:1", "mps", or "auto", the fastest there is. amp: "bfloat16" or "float16" where layers
    compute in it as autocast chooses, None: all in float32. is_compiled: through torch.compile. is_channels_last:
    images lie as (N, H, W, C), volumes as (N, D, H, W, C). Where several processes share a batch: is_synced, batch norm
    has the statistics of all of it; is_sharded, each process keeps only its part of params, gradients and what the
    optimizer keeps.
    """

    name: str = "auto"
    amp: str | None = None
    is_compiled: bool = False
    is_channels_last: bool = False
    is_synced: bool = False
    is_sharded: bool = False

    @property
    def alone(self) -> Device:
        """The same for one process, which has nobody to share with."""
        return replace(self, is_synced=False, is_sharded=False)

    @property
    def described(self) -> list[str]:
        """How it computes, in words."""
        flags = {
            "compiled": self.is_compiled,
            "channels last": self.is_channels_last,
            "batch norm of the whole batch": self.is_synced,
            "sharded": self.is_sharded,
        }
        return [*([self.amp] if self.amp else []), *(word for word, is_so in flags.items() if is_so)]


@dataclass(frozen=True)
class Workers:
    """Who computes a batch. count: how many share it (None: one for each core); kind: "threads", "processes" or "auto";
    device: where PyTorch does; ranks: the processes that were started to train one network together."""

    count: int | None = None
    kind: str = "auto"
    device: Device = Device()
    ranks: Ranks = NO_OTHERS


ALONE = Workers(None, "threads")
"""Threads, one for each core: what a model works with unless somebody says so."""


class Compiled(Protocol):
    """A checked spec as a target sees it (`pipeline.Net`). choices: which algorithms were measured to be fastest.
    samples: how many of a batch one worker is thought to have, for which algorithms are chosen. workers: what those of
    a fast module are, "threads" or "processes"."""

    @property
    def name(self) -> str: ...
    @property
    def graph(self) -> Graph: ...
    @property
    def recipe(self) -> Recipe: ...
    @property
    def choices(self) -> Mapping[str, str]: ...
    @property
    def samples(self) -> int: ...

    @property
    def workers(self) -> str: ...

    def with_workers(self, kind: str) -> Compiled:
        """The same, with workers of that kind."""
        ...

    def module(self, target: str, level: int = 0) -> types.ModuleType:
        """The emitted text of a target, run."""
        ...


@dataclass(frozen=True)
class Target:
    """What a network can become: a text, a model that learns, or both.

    name: what `--target` and `--backend` call it; several targets of one name share its levels among them.
    describe: what comes out, with its article: `the NumPy module`.
    rules() -> the table of ops; it is asked for each time, since layers may be registered at any time.
    emit(net, level) -> the text of the file `<spec>_<name><suffix>`; None where nothing is written. Its first 1000
    bytes say "Written by `netdsl compile", which allows netdsl to write over the file.
    model(net, level, seed, dtype, workers) -> the net with its first weights; None where nothing is run.
    levels: level -> what `-O` means by it.
    reserved_names: what no label of a spec may be -> why.
    has_workers: its models share a batch among workers, else they compute on BLAS's threads.
    has_devices: its models compute on a `Device`; check(device) -> what does that here, "2.13.0 on cpu"; it raises
    UserError where nothing can. needs: packages that they are computed with, beside NumPy.
    tuned: the levels at which the net's `choices` decide something.
    dialect() -> what its text is made of, where that is Python, which passes the gate and may be run.
    is_variant: it writes what another target writes, for another machine, so that `--target all` leaves it out.
    """

    name: str
    describe: str
    rules: Callable[[], Rules]
    emit: Callable[[Compiled, int], str] | None = None
    model: Callable[[Compiled, int, int, Any, Workers], Model] | None = None
    suffix: str = ".py"
    levels: Mapping[int, str] = field(default_factory=lambda: {0: ""})
    reserved_names: Mapping[str, str] = field(default_factory=dict)
    has_workers: bool = False
    has_devices: bool = False
    check: Callable[[Device], str] | None = None
    needs: tuple[str, ...] = ()
    tuned: tuple[int, ...] = ()
    dialect: Callable[[], Dialect] | None = None
    is_variant: bool = False

    def declines(self, graph: Graph) -> list[tuple[Node, str]]:
        """The nodes that the target cannot take, each with the reason."""
        rules = self.rules()
        missing = Declined(f"{self.describe} has no rule for it")
        entries = [(node, rules.get(node.op, missing)) for node in graph.nodes]
        return [(node, entry.why) for node, entry in entries if isinstance(entry, Declined)]


@dataclass(frozen=True)
class Step:
    """What a step of training came to: the mean loss, what the loss read, and whether loss and gradients are finite.

    Where they are not, params stay as they were.
    """

    loss: float
    logits: np.ndarray
    is_finite: bool


@dataclass(frozen=True)
class Share:
    """What a process computes of a batch: the samples `rows` of `count`. tell(logits of those) -> numbers that go with
    the step; is_whole: all of them, as every process does."""

    rows: slice
    count: int
    tell: Callable[[np.ndarray], Sequence[float]]

    @property
    def is_whole(self) -> bool:
        return self.rows == slice(0, self.count)


class ModelEnded(RuntimeError):
    """What computes a model has died, so that params and buffers may be half updated. why: which part, and how."""

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class Model(Protocol):
    """A network that learns: all that training, `verify` and `bench` know of one.

    Where the inputs have names, forward and logits take an array for each, x is a tuple of them, and backward gives a
    tuple of dx; where the outputs have names, forward gives a dict.

    params and buffers: name -> array, with PyTorch's names, shapes and order; write into them, do not replace them, and
    ask for them again once the model has computed.
    rng: what dropout draws from. input_names: `x` where one has none. overflows_sooner: where its numbers may leave
    their range and those of layer objects do not, that in words, and what helps; else nothing. Every method may raise
    ModelEnded.
    """

    dtype: np.dtype
    rng: np.random.Generator

    @property
    def params(self) -> dict[str, np.ndarray]: ...
    @property
    def buffers(self) -> dict[str, np.ndarray]: ...
    @property
    def input_shape(self) -> tuple[int, ...]: ...
    @property
    def input_names(self) -> tuple[str, ...]: ...
    @property
    def overflows_sooner(self) -> str: ...

    def forward(self, *x: Any, **training: Any) -> Any:
        """x (N, *input_shape) -> what the network gives, (N, *output_shape)."""
        ...

    def logits(self, *x: Any, **training: Any) -> np.ndarray:
        """x (N, *input_shape) -> what the loss reads, (N, ...)."""
        ...

    def loss(self, logits: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        """What the loss reads, (N, ...), and targets (N, ...) -> mean loss, the gradient by the logits."""
        ...

    def backward(self, dlogits: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
        """The gradient by the logits of the last batch in training -> that by the input (None: it is not computed),
        {param name: gradient}."""
        ...

    def loss_and_gradients(self, x: Batch, y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """x (N, *input_shape), targets y (N, ...) -> mean loss, {param name: gradient}, in training mode."""
        ...

    def train_step(self, x: Batch, y: np.ndarray, lr: float | None = None) -> float:
        """Forward, loss, backward and a step of the optimizer, in place -> the mean loss. lr: None is the recipe's."""
        ...

    def learn(self, x: Batch, y: np.ndarray, lr: float) -> Step:
        """As train_step, but where a number is not finite nothing is changed."""
        ...

    def gather(self, x: Batch, y: np.ndarray, share: float, is_first: bool) -> Step:
        """Forward, loss and backward of some of the samples of a step, whose gradients count by `share`; nothing else
        is changed. is_first: of the step's batches. The step is finite where the loss is."""
        ...

    def apply(self, lr: float, factor: float) -> bool:
        """A step of the optimizer by the sum of what was gathered, times the factor -> whether all gradients are
        finite; where one is not, nothing is changed."""
        ...

    def prepare(self, n: int, y: np.ndarray | None = None) -> None:
        """Have room for n samples with targets like y (N, ...), and have all workers started."""
        ...

    def state(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """What the optimizer keeps, `conv1.weight.exp_avg` -> array of the param's shape. names: PyTorch's, in the
        order in which the optimizer keeps them (`Recipe.state_names`). A model may keep more, under names of one part,
        which `load_state` does without where another model has none of it."""
        ...

    def load_state(self, names: tuple[str, ...], arrays: Arrays, steps: int) -> None:
        """Take over what `state` gave after so many steps."""
        ...

    def save(self, path: str) -> None:
        """Write params and buffers to a `.safetensors` or `.npz` file."""
        ...

    def load(self, path: str) -> None:
        """Read what `save` wrote. Raises ValueError and changes nothing unless all of it is right."""
        ...

    def close(self) -> None:
        """End the workers, where there are some."""
        ...


class Means(Protocol):
    """Means of a model's params and buffers. arrays: by their names, to be read and written into until they change."""

    @property
    def arrays(self) -> dict[str, np.ndarray]: ...

    def take_in(self, share: float) -> None:
        """mean += share * (weights - mean)."""
        ...


@runtime_checkable
class KeepsMeans(Protocol):
    """What a Model may have beside: means of its params and buffers where those are, which may be far from here."""

    def means(self) -> Means:
        """Means that start with what params and buffers are now."""
        ...


class SharedModel(Model, Protocol):
    """A Model that several processes hold alike, each of which computes a part of each batch.

    What it has and does is the same in all of them, and all of them ask for it in the same order.
    """

    def learn_share(self, x: Batch, y: np.ndarray, lr: float, share: Share) -> tuple[Step, list[float]]:
        """As `learn` from the samples of all processes, of which x and y are this one's -> the step with the mean loss
        of the batch and the logits of these samples, and the sums over all processes of what `tell` gave."""
        ...

    def gather_share(
        self, x: Batch, y: np.ndarray, weight: float, is_first: bool, share: Share
    ) -> tuple[Step, list[float]]:
        """As `gather` from the samples of all processes, which count by `weight` -> as `learn_share`."""
        ...
