"""The proof, run on demand: layers, NumPy modules and PyTorch module compute the same, with right gradients.

PyTorch is used where it is installed; without it those checks are left out, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress

import numpy as np

from netdsl.analysis.batches import check_batch
from netdsl.graph.recipe import OPTIMIZERS
from netdsl.passes.choose_algorithms import chosen
from netdsl.passes.make_plan import make_plans
from netdsl.pipeline import Net
from netdsl.verify.batches import Batch, each, in_dtype, labels_in_dtype, random_batch, random_input
from netdsl.verify.checks import TOLERANCES, Check, Report, close, compared, difference, is_seen, steps_compared
from netdsl.verify.fast_steps import WORKERS, fast_steps
from netdsl.verify.gradients import gradient_check, network_to_check, without_zeros
from netdsl.verify.runs import STEPS, driven_numbers, numpy_run, other_result, other_steps, outputs_of

WINOGRAD = 1e-3  # rtol in float32 of a module at -O2 that mixes the numbers of tiles, which costs two digits
FLIPS = 0.02  # of the norm of a gradient: what a few flips do to it in a deep network; a wrong one is off by more
BATCHES = 4  # see on_good_batches


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
    gradients = gradient_check(net, in_dtype(x, "float64"), labels_in_dtype(y, "float64"), seed)
    error, relative, tolerance, saw = gradients.worst
    checks.append(Check(f"{gradients.title}, float64", error, relative, tolerance, gradients.ok, saw))
    if gradients.unseen:
        notes.append(
            f"the gradient check saw nothing of {_listed(gradients.unseen)}: the loss does not change with them"
        )
    return Report(net.name, tuple(checks), tuple(notes))


def _listed(names: Sequence[str], most: int = 5) -> str:
    """`the input`, `conv1.weight` and 3 more"""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def bitwise_checks(
    net: Net, x: Batch, y: np.ndarray, seed: int, dtypes: Iterable[str] = tuple(TOLERANCES)
) -> Iterator[Check]:
    """Layer objects and module at -O0: the same kernels on the same numbers give the same bytes."""
    for dtype in dtypes:
        models = network_to_check(net, seed, dtype), without_zeros(net.numpy_model(seed, dtype), seed)
        interpreted, emitted = (
            numpy_run(model, in_dtype(x, dtype), labels_in_dtype(y, dtype), seed) for model in models
        )
        for name, array in interpreted.items():
            largest, relative = difference(emitted[name], array)
            yield Check(
                f"module = layers, {dtype}: {name}",
                largest,
                relative,
                0.0,
                array.tobytes() == emitted[name].tobytes(),
                is_seen(name, array, emitted[name]),
            )


def bytes_checks(net: Net, batch: int, seed: int) -> Iterator[Check]:
    """A network that normalises what it is given takes bytes and the same as floats, 0..1, everywhere alike."""
    rng = np.random.default_rng(seed)
    xs = [
        rng.integers(0, 256, (batch, *given.type.sizes), np.uint8) if given.mean else random_input(given, batch, rng)
        for given in net.graph.inputs
    ]
    floats = [(x / 255).astype(np.float32) if x.dtype == np.uint8 else x for x in xs]
    network = network_to_check(net, seed, "float32")
    expected = dict(outputs_of(network.forward(*floats)))
    made = {"layers": network.forward(*xs)}
    made["module"] = without_zeros(net.numpy_model(seed, "float32"), seed).forward(*xs)
    with closing(net.numpy_model(seed, "float32", level=2, workers=WORKERS)) as model:
        made["module at -O2"] = without_zeros(model, seed).forward(*xs)
    with suppress(ImportError):
        import torch

        from netdsl.targets.torch.running import torch_model

        with torch.no_grad():
            made["PyTorch"] = torch_model(net, network).eval()(*map(torch.from_numpy, xs))
    for name, outputs in made.items():
        for what, array in outputs_of(outputs):
            title = f"{name}, bytes = floats, float32: {what.removesuffix(', evaluation')}"
            rtol = WINOGRAD if "O2" in name else None
            yield close(title, np.asarray(array), expected[what], "float32", rtol=rtol)


def on_good_batches(
    checks: Callable[..., Iterator[Check]], net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str
) -> list[Check]:
    """In float32, each check on the first of a few batches where it holds: a flip spoils some gradients of a batch, and
    a wrong gradient is wrong on every one.

    In a network so deep that every batch has flips, the last one is judged by the norms of its gradients; in float64,
    where nothing flips, the same code is compared number by number.
    """
    done = list(checks(net, x, y, seed, dtype, 0.0))
    for attempt in range(1, BATCHES if dtype == "float32" else 1):
        if all(check.ok for check in done):
            break
        flips = FLIPS if attempt == BATCHES - 1 else 0.0
        again = checks(net, *random_batch(net, len(y), seed + attempt), seed + attempt, dtype, flips)
        done = [known if known.ok else check for known, check in zip(done, again, strict=True)]
    return done


def fast_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str) -> list[Check]:
    """The module at -O2 against the layer objects: other algorithms, other orders of summation."""
    return on_good_batches(_fast_checks, net, x, y, seed, dtype)


def _fast_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str, flips: float) -> Iterator[Check]:
    x, y = in_dtype(x, dtype), labels_in_dtype(y, dtype)
    network = network_to_check(net, seed, dtype)
    with closing(net.numpy_model(seed, dtype, level=2, workers=WORKERS)) as model:
        computed = numpy_run(without_zeros(model, seed), x, y, seed)
    expected = {name: array for name, array in numpy_run(network, x, y, seed).items() if name in computed}
    other = other_result(net, network, x, y, seed)
    rtol = {"rtol": WINOGRAD} if dtype == "float32" and mixes_numbers(net) else {}
    yield from compared("module at -O2", computed, expected, expected, other, dtype, flips, **rtol)


def mixes_numbers(net: Net) -> bool:
    """Whether a stage of the module at -O2 computes more than a window at a time, by an algorithm that mixes those."""
    plans = make_plans(net.graph, net.recipe, chosen(net.choices, net.samples))
    return not all(stage.can.is_local for plan in plans for stage in plan.stages)


def torch_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str) -> list[Check]:
    """NumPy against PyTorch."""
    return on_good_batches(_torch_checks, net, x, y, seed, dtype)


def _torch_checks(net: Net, x: Batch, y: np.ndarray, seed: int, dtype: str, flips: float) -> Iterator[Check]:
    from netdsl.verify.torch_runs import torch_run

    x, y = in_dtype(x, dtype), labels_in_dtype(y, dtype)
    network = network_to_check(net, seed, dtype)
    computed, expected = numpy_run(network, x, y, seed), torch_run(net, network, x, y, seed)
    yield from compared("PyTorch", computed, expected, computed, other_result(net, network, x, y, seed), dtype, flips)


def optimizer_steps(net: Net, x: Batch, y: np.ndarray, seed: int) -> Iterator[Check]:
    """The losses of five steps of the spec's optimizer, and every param after them, in float64."""
    import torch

    from netdsl.targets.torch.running import param_groups, torch_clip, torch_logits, torch_loss, torch_model
    from netdsl.verify.torch_runs import same_draws

    x, y = in_dtype(x, "float64"), labels_in_dtype(y, "float64")
    network = network_to_check(net, seed, "float64")
    module = torch_model(net, network).train()
    made = getattr(torch.optim, OPTIMIZERS[net.recipe.optimizer].torch)
    optimizer = made(param_groups(net.recipe, module), **net.recipe.options)
    network.rng = np.random.default_rng(seed)
    followed = driven_numbers(network_to_check(net, seed, "float64").loss_and_gradients(x, y)[1])
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
    computed = {"losses": own, **network.params}
    expected = {"losses": theirs} | {name: param.detach().numpy() for name, param in module.named_parameters()}
    title, other = f"{STEPS} steps of {net.recipe.optimizer}", other_steps(net, x, y, seed)
    yield from steps_compared(title, computed, expected, computed, other, followed)
