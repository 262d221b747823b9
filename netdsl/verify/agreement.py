"""The proof, run on demand: layers, NumPy modules and PyTorch module compute the same, with right gradients.

PyTorch is used where it is installed; without it those checks are left out, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.analysis.batches import check_batch
from netdsl.graph.ir import Input
from netdsl.graph.recipe import LOSSES, OPTIMIZERS
from netdsl.ground.tables import table_lines
from netdsl.kernels.normalization import constant
from netdsl.layers import layer_of
from netdsl.pipeline import Net, run_module
from netdsl.targets.contract import Model
from netdsl.targets.live.interpreter import LayerNetwork
from netdsl.targets.torch.sharing import module_path, sharing
from netdsl.verify.gradients import gradient_check, network_to_check, without_zeros

if TYPE_CHECKING:
    import torch

STEPS = 5
TOLERANCES = {"float64": (1e-8, 1e-12), "float32": (1e-4, 1e-5)}  # rtol of the largest value, atol
WINOGRAD = 1e-3  # rtol in float32 of a module at -O2 in which it was chosen: its transforms cost two digits
ROUNDS, BATCHES = 8, 4  # see _compared and _on_a_good_batch
DRIVEN = 1e-8  # of the largest gradient: what is smaller is too near to rounding for an optimizer's steps to agree
FLIPS = 0.02  # of the norm of a gradient: what a few flips do to it in a deep network; a wrong one is off by more
ROUNDING, AMPLIFIED, LARGEST_TOLERANCE = 1e-15, 10, 1e-3  # see rounded_network
WORKERS = 2  # of the module at -O2, so that a batch is shared


@dataclass(frozen=True)
class Check:
    """One comparison. max_rel is the largest difference over the largest value; tolerance 0 means bit for bit.

    saw: False where everything compared is 0, so that a wrong factor would have passed.
    """

    name: str
    max_abs: float
    max_rel: float
    tolerance: float
    ok: bool
    saw: bool = True

    @property
    def verdict(self) -> str:
        if not self.ok:
            return "FAILED"
        return "ok" if self.saw else "0 = 0"


@dataclass(frozen=True)
class Report:
    """`ok` if every check passed; `notes` say what was left out."""

    name: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def as_dict(self) -> dict[str, object]:
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks], "notes": list(self.notes)}

    def __str__(self) -> str:
        rows = [("check", "max abs", "max rel", "tolerance", "")]
        for check in self.checks:
            tolerance = "bitwise" if check.tolerance == 0 else f"{check.tolerance:.0e}"
            rows.append((check.name, f"{check.max_abs:.1e}", f"{check.max_rel:.1e}", tolerance, check.verdict))
        lines = table_lines(rows, left=len(rows[0]))
        passed = sum(check.ok for check in self.checks)
        blind = sum(check.ok and not check.saw for check in self.checks)
        end = f"; {blind} of them compared 0 with 0, which proves nothing" if blind else ""
        return "\n".join([*lines, "", f"{self.name}: {passed} of {len(self.checks)} checks passed{end}"])


def verify(net: Net, batch: int = 3, seed: int = 0) -> Report:
    """Compare every back end of `net` on one random batch. Raises UserError where it is too small for the network."""
    check_batch(net.graph, batch)
    x, y = random_batch(net, batch, seed)
    checks = [*bitwise_checks(net, x, y, seed), *(bytes_checks(net, batch, seed) if net.graph.normalizes else ())]
    for dtype in TOLERANCES:
        checks += fast_checks(net, x, y, seed, dtype)
    checks += fast_steps(net, x, y, seed)
    notes = []
    try:
        import torch  # noqa: F401
    except ImportError:
        notes.append(
            "PyTorch is not installed, so nothing was compared with it; install it with `pip install 'netdsl[torch]'`"
        )
    else:
        for dtype in TOLERANCES:
            checks += torch_checks(net, x, y, seed, dtype)
        if net.graph.num_params:  # PyTorch's optimizers refuse to step over nothing
            checks += optimizer_steps(net, x, y, seed)
    x, y = random_batch(net, 4, seed + 1)  # batch norm of two vectors is a step, which no difference can follow
    found = gradient_check(net, in_dtype(x, "float64"), _in_dtype(y, "float64"), seed)
    error, relative, tolerance, saw = found.worst
    checks.append(Check(f"{found.title}, float64", error, relative, tolerance, found.ok, saw))
    if found.unseen:
        notes.append(f"the gradient check saw nothing of {_listed(found.unseen)}: the loss does not change with them")
    return Report(net.name, tuple(checks), tuple(notes))


def _listed(names: Sequence[str], most: int = 5) -> str:
    """`the input`, `conv1.weight` and 3 more"""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


Batch = np.ndarray | tuple[np.ndarray, ...]
"""x (N, *input), or one for each input where these have names."""


def each(x: Batch) -> tuple[np.ndarray, ...]:
    """The array of every input."""
    return x if isinstance(x, tuple) else (x,)


def in_dtype(x: Batch, dtype: str) -> Any:
    """The batch with every array in that dtype."""
    return tuple(array.astype(dtype) for array in x) if isinstance(x, tuple) else x.astype(dtype)


def random_batch(net: Net, batch: int, seed: int) -> tuple[Any, np.ndarray]:
    """Random x (batch, *input), a tuple where the inputs have names, and targets of the output that the loss reads:
    what the loss takes, with mixup a probability for each class."""
    rng = np.random.default_rng(seed)
    shape = net.graph.shape_of(net.graph.judged_value)
    xs = tuple(_random_input(given, batch, rng) for given in net.graph.inputs)
    x = xs if net.graph.takes_names else xs[0]
    if net.recipe.targets == "numbers":
        return x, rng.standard_normal((batch, *shape)).astype(np.float32)
    if net.recipe.targets == "truth":
        return x, rng.random((batch, *shape), np.float32)
    if net.recipe.takes_probabilities:
        mixed = rng.dirichlet(np.ones(shape[0]), (batch, *shape[1:]))
        return x, np.ascontiguousarray(np.moveaxis(mixed, -1, 1)).astype(np.float32)
    return x, rng.integers(0, shape[0], (batch, *shape[1:]))


def _random_input(given: Input, batch: int, rng: np.random.Generator) -> np.ndarray:
    """(batch, *shape), spread as the data are of which its mean and std are taken."""
    x = rng.standard_normal((batch, *given.type.sizes)).astype(np.float32)
    return x * constant(given.std, x.shape[1:]) + constant(given.mean, x.shape[1:]) if given.mean else x


def _in_dtype(y: np.ndarray, dtype: str) -> np.ndarray:
    return y if np.issubdtype(y.dtype, np.integer) else y.astype(dtype)


def _outputs(made: Any) -> Iterator[tuple[str, Any]]:
    """`output, evaluation`, and what `forward` gave; with its name, if it has one."""
    for name, array in made.items() if isinstance(made, dict) else [("", made)]:
        yield f"output {name}".rstrip() + ", evaluation", array


def input_gradients(dx: Any, names: Iterable[str]) -> dict[str, Any]:
    """`gradient of the input` -> the gradient; with names where there is one for each input."""
    if not isinstance(dx, tuple):
        return {"gradient of the input": dx}
    return {f"gradient of the input {name}": one for name, one in zip(names, dx, strict=True)}


def numpy_run(model: Model, x: Batch, y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Everything a NumPy network computes on one batch; buffers as training left them. -O2 has no dx of the input."""
    arrays = dict(_outputs(model.forward(*each(x))))
    model.rng = np.random.default_rng(seed)
    logits = model.logits(*each(x), training=True)
    loss, dlogits = model.loss(logits, y)
    dx, grads = model.backward(dlogits)
    arrays |= {"output, training": logits, "loss": np.asarray(loss)}
    arrays |= {} if dx is None else input_gradients(dx, model.input_names)
    arrays |= {f"gradient of {name}": grads[name] for name in model.params}
    return arrays | {f"buffer {name}": array for name, array in model.buffers.items()}


def bitwise_checks(
    net: Net, x: Batch, y: np.ndarray, seed: int, dtypes: Iterable[str] = tuple(TOLERANCES)
) -> Iterator[Check]:
    """Layer objects and module at -O0: the same kernels on the same numbers give the same bytes."""
    for dtype in dtypes:
        models = network_to_check(net, seed, dtype), without_zeros(net.numpy_model(seed, dtype), seed)
        interpreted, emitted = (numpy_run(model, in_dtype(x, dtype), _in_dtype(y, dtype), seed) for model in models)
        for name, array in interpreted.items():
            difference, relative = _difference(emitted[name], array)
            yield Check(
                f"module = layers, {dtype}: {name}",
                difference,
                relative,
                0.0,
                array.tobytes() == emitted[name].tobytes(),
                _is_seen(name, array, emitted[name]),
            )


def bytes_checks(net: Net, batch: int, seed: int) -> Iterator[Check]:
    """A network that normalises what it is given takes bytes and the same as floats, 0..1, everywhere alike."""
    rng = np.random.default_rng(seed)
    xs = [
        rng.integers(0, 256, (batch, *given.type.sizes), np.uint8) if given.mean else _random_input(given, batch, rng)
        for given in net.graph.inputs
    ]
    floats = [(x / 255).astype(np.float32) if x.dtype == np.uint8 else x for x in xs]
    network = network_to_check(net, seed, "float32")
    expected = dict(_outputs(network.forward(*floats)))
    made = {"layers": network.forward(*xs)}
    made["module"] = without_zeros(net.numpy_model(seed, "float32"), seed).forward(*xs)
    with closing(net.numpy_model(seed, "float32", level=2, workers=WORKERS)) as model:
        made["module at -O2"] = without_zeros(model, seed).forward(*xs)
    with suppress(ImportError):
        import torch

        with torch.no_grad():
            made["PyTorch"] = torch_model(net, network).eval()(*map(torch.from_numpy, xs))
    for name, outputs in made.items():
        for what, array in _outputs(outputs):
            title = f"{name}, bytes = floats, float32: {what.removesuffix(', evaluation')}"
            rtol = WINOGRAD if "O2" in name else None
            yield _close(title, np.asarray(array), expected[what], "float32", rtol=rtol)


def _is_seen(name: str, found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether there is a gradient to compare; an output or a buffer may well be 0."""
    return not name.startswith("gradient") or bool(found.any() or expected.any())


def _difference(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """The largest absolute difference, and that over the largest expected value."""
    if found.shape != expected.shape:
        return float("inf"), float("inf")
    if not expected.size:
        return 0.0, 0.0
    largest = float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max())
    scale = float(np.abs(expected).max())
    return largest, largest / scale if scale else largest


def _close(
    name: str,
    found: np.ndarray,
    expected: np.ndarray,
    dtype: str,
    atol: float | None = None,
    own: float = 0.0,
    rtol: float | None = None,
) -> Check:
    """Within rtol of the largest expected value, plus atol (by default those of the dtype).

    own: how far rounding alone moves it; where the network amplifies that beyond rtol, the tolerance is its multiple,
    but never so much that a wrong result could pass.
    """
    rtol = TOLERANCES[dtype][0] if rtol is None else rtol
    atol = TOLERANCES[dtype][1] if atol is None else atol
    largest, relative = _difference(found, expected)
    scale = float(np.abs(expected).max()) if expected.size else 0.0
    if AMPLIFIED * own > rtol * scale > 0:
        rtol = max(rtol, min(AMPLIFIED * own / scale, LARGEST_TOLERANCE))
    return Check(name, largest, relative, rtol, bool(largest <= atol + rtol * scale))


Arrays = dict[str, np.ndarray]


def _compared(
    title: str,
    found: Arrays,
    expected: Arrays,
    ours: Arrays,
    other: Callable[[], Arrays],
    dtype: str,
    flips: float = 0.0,
    **rtol: float,
) -> Iterator[Check]:
    """Each expected array with the one found.

    In float64 the tolerance grows with what a rounding error on every weight moves: `other` has one, `ours` has not.
    In float32 a deep network goes its own way wherever rounding flips a relu. There the result in float64, `other`, is
    the judge: what is found may be as far from it as ROUNDS times what is expected is, or a gradient by this share of
    its norm, `flips`.
    """
    largest = largest_gradient(expected) if dtype == "float64" else 1.0
    for name, array in expected.items():
        what, atol = f"{title}, {dtype}: {name}", TOLERANCES[dtype][1]
        if name.startswith("gradient"):
            atol *= largest
        check = _close(what, found[name], array, dtype, atol, **rtol)
        if not check.ok and dtype == "float64":
            check = _close(what, found[name], array, dtype, atol, _difference(other()[name], ours[name])[0])
        elif not check.ok:
            judge = other()[name]
            is_near = _difference(found[name], judge)[0] <= ROUNDS * _difference(array, judge)[0]
            is_flipped = np.linalg.norm(found[name] - judge) <= flips * np.linalg.norm(judge)
            check = replace(check, ok=bool(is_near or (is_flipped and name.startswith("gradient"))))
        yield replace(check, saw=_is_seen(name, found[name], array))


def _on_a_good_batch(checks: Callable, net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str) -> list[Check]:
    """In float32, of a few batches the checks of the first where all hold: a flip spoils one, a wrong gradient all.

    A network so deep that every batch has flips is judged on the last one by the norms of its gradients; in float64,
    where nothing flips, the same code is compared number by number.
    """
    done = list(checks(net, x, y, seed, dtype, 0.0))
    for attempt in range(1, BATCHES if dtype == "float32" else 1):
        if all(check.ok for check in done):
            break
        flips = FLIPS if attempt == BATCHES - 1 else 0.0
        done = list(checks(net, *random_batch(net, len(y), seed + attempt), seed + attempt, dtype, flips))
    return done


def fast_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str) -> list[Check]:
    """The module at -O2 against the layer objects: other algorithms, other orders of summation."""
    return _on_a_good_batch(_fast_checks, net, x, y, seed, dtype)


def _fast_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str, flips: float) -> Iterator[Check]:
    x, y = in_dtype(x, dtype), _in_dtype(y, dtype)
    network = network_to_check(net, seed, dtype)
    with closing(net.numpy_model(seed, dtype, level=2, workers=WORKERS)) as model:
        found = numpy_run(without_zeros(model, seed), x, y, seed)
    expected = {name: array for name, array in numpy_run(network, x, y, seed).items() if name in found}
    other = _other(net, network, x, y, seed)
    with_winograd = dtype == "float32" and "\ndef toom_cook(" in net.numpy_source(2)
    rtol = {"rtol": WINOGRAD} if with_winograd else {}
    yield from _compared("module at -O2", found, expected, expected, other, dtype, flips, **rtol)


def fast_steps(net: Net, x: Batch, y: np.ndarray, seed: int) -> Iterator[Check]:
    """The losses of five steps of the spec's optimizer at -O2, and every param after them, in float64."""
    x, y = in_dtype(x, "float64"), _in_dtype(y, "float64")
    with closing(net.numpy_model(seed, "float64", level=2, workers=WORKERS)) as model:
        found = _after_steps(without_zeros(model, seed), x, y, seed)
    expected = _after_steps(network_to_check(net, seed, "float64"), x, y, seed)
    followed = _driven(network_to_check(net, seed, "float64"), x, y)
    title = f"module at -O2, {STEPS} steps of {net.recipe.optimizer}"
    yield from _steps_compared(title, found, expected, expected, _other_steps(net, x, y, seed), followed)


def _steps_compared(
    title: str, found: Arrays, expected: Arrays, ours: Arrays, other: Callable[[], Arrays], followed: Arrays
) -> Iterator[Check]:
    """The losses, and of every param the numbers that are `followed`, where there are some."""
    for name in expected:
        numbers = followed.get(name, np.array(name == "losses")) & np.ones(expected[name].shape, bool)
        if not numbers.any():
            continue
        what = f"{title}, float64: {name}"
        check = _close(what, found[name][numbers], expected[name][numbers], "float64", 1e-8)
        if not check.ok:
            own = _difference(other()[name][numbers], ours[name][numbers])[0]
            check = _close(what, found[name][numbers], expected[name][numbers], "float64", 1e-8, own)
        yield check


def _after_steps(network: Model, x: Batch, y: np.ndarray, seed: int) -> Arrays:
    """The losses of five steps, and the params after them."""
    network.rng = np.random.default_rng(seed)
    losses = [network.train_step(x, y) for _ in range(STEPS)]
    return {"losses": np.array(losses), **network.params}


def _other_steps(net: Net, x: Batch, y: np.ndarray, seed: int) -> Callable[[], Arrays]:
    """The same with rounding errors on the weights; computed only where it is asked for."""
    return cache(lambda: _after_steps(rounded_network(net, seed), x, y, seed))


def _other(net: Net, network: LayerNetwork, x: Batch, y: np.ndarray, seed: int) -> Callable[[], Arrays]:
    """What `_compared` looks at beside: of float32 the result in float64, of float64 that with rounding errors."""

    @cache
    def other() -> Arrays:
        judge = _before_training(net, network, "float64") if network.dtype == np.float32 else rounded_network(net, seed)
        return numpy_run(judge, in_dtype(x, "float64"), _in_dtype(y, "float64"), seed)

    return other


def rounded_network(net: Net, seed: int) -> LayerNetwork:
    """The network of that seed in float64, with a rounding error on each weight, as another order of summation makes.

    Some deep networks amplify those a million times: there two right programs differ by that much.
    """
    network = network_to_check(net, seed, "float64")
    rng = np.random.default_rng(seed)
    for array in network.params.values():
        scale = float(np.abs(array).max(initial=0.0)) or 1.0  # zeros too: a relu of exactly zero has two gradients
        array += scale * ROUNDING * rng.standard_normal(array.shape)
    return network


# -------------------------------------------------------------------------------------------- PyTorch


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

    shared, drawn = sharing(network.graph), {}
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


def torch_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str) -> list[Check]:
    """NumPy against PyTorch."""
    return _on_a_good_batch(_torch_checks, net, x, y, seed, dtype)


def _torch_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str, flips: float) -> Iterator[Check]:
    x, y = in_dtype(x, dtype), _in_dtype(y, dtype)
    network = network_to_check(net, seed, dtype)
    found, expected = numpy_run(network, x, y, seed), torch_run(net, network, x, y, seed)
    yield from _compared("PyTorch", found, expected, found, _other(net, network, x, y, seed), dtype, flips)


def largest_gradient(arrays: dict[str, np.ndarray]) -> float:
    """The scale of rounding in gradients: one that is zero but for rounding, out of large ones, is not quite zero."""
    gradients = (array for name, array in arrays.items() if name.startswith("gradient") and array.size)
    return max([1.0, *(float(np.abs(gradient).max()) for gradient in gradients)])


def _before_training(net: Net, network: LayerNetwork, dtype: str) -> LayerNetwork:
    """A network with the same weights, and the buffers as they were before training moved them."""
    fresh = net.build(0, dtype)
    for name, array in network.params.items():
        fresh.params[name][...] = array
    return fresh


def torch_run(net: Net, network: LayerNetwork, x: Batch, y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """What the emitted PyTorch module computes, with the weights of `network` and the draws it made last."""
    import torch

    module = torch_model(net, _before_training(net, network, network.dtype.name))
    with torch.no_grad():
        tensors = dict(_outputs(module.eval()(*map(torch.from_numpy, each(x)))))
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


def optimizer_steps(net: Net, x: Batch, y: np.ndarray, seed: int) -> Iterator[Check]:
    """The losses of five steps of the spec's optimizer, and every param after them, in float64."""
    import torch

    x, y = in_dtype(x, "float64"), _in_dtype(y, "float64")
    network = network_to_check(net, seed, "float64")
    module = torch_model(net, network).train()
    optimizer = getattr(torch.optim, OPTIMIZERS[net.recipe.optimizer].torch)(module.parameters(), **net.recipe.options)
    network.rng = np.random.default_rng(seed)
    followed = _driven(network_to_check(net, seed, "float64"), x, y)
    losses: list[tuple[float, float]] = []
    for _ in range(STEPS):
        own = network.train_step(x, y)
        same_draws(module, network)
        optimizer.zero_grad()
        logits = torch_logits(net, module, [torch.from_numpy(array) for array in each(x)])
        loss = torch_loss(net, logits, y)
        loss.backward()
        torch_clip(net, module)
        optimizer.step()
        losses.append((own, loss.item()))
    own, theirs = np.array(losses).T
    found = {"losses": own, **network.params}
    expected = {"losses": theirs} | {name: param.detach().numpy() for name, param in module.named_parameters()}
    title, other = f"{STEPS} steps of {net.recipe.optimizer}", _other_steps(net, x, y, seed)
    yield from _steps_compared(title, found, expected, found, other, followed)


def _driven(network: LayerNetwork, x: Batch, y: np.ndarray) -> dict[str, np.ndarray]:
    """Of every param which numbers have a gradient. That of a bias before a batch norm is zero but for rounding, out of
    which adam makes full steps: no two programs agree on those, and they change nothing."""
    _, grads = network.loss_and_gradients(x, y)
    largest = max((float(np.abs(grad).max()) for grad in grads.values()), default=0.0)
    return {name: np.abs(grad) > DRIVEN * largest for name, grad in grads.items()}
