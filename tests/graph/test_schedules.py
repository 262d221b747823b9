"""The learning rate of every step is PyTorch's."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netdsl.graph.recipe import Recipe
from netdsl.language.train_block import with_entries

LR = 0.3


def in_steps(length, an_epoch):
    """Those of `100steps`, or of so many epochs."""
    return int(length.removesuffix("steps")) if isinstance(length, str) else round(length * an_epoch)


def pytorch(schedule, options, epochs, an_epoch):
    """Every step's rate, from the schedulers that grammars/README.md names."""
    torch = pytest.importorskip("torch")
    from torch.optim import lr_scheduler as lr

    warm, steps = in_steps(options.get("warmup", 0), an_epoch), epochs * an_epoch
    rest = max(1, steps - warm)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    if schedule == "const":
        made = lr.ConstantLR(optimizer, factor=1.0)
    elif schedule == "cosine":
        made = lr.CosineAnnealingLR(optimizer, rest, eta_min=LR * options.get("end", 0.0))
    elif schedule == "onecycle":
        cycle = {"pct_start": options["up"], "div_factor": options["div"], "final_div_factor": options["final"]}
        made = lr.OneCycleLR(optimizer, LR, total_steps=steps, cycle_momentum=False, **cycle)
    elif "every" in options:
        made = lr.StepLR(optimizer, max(1, in_steps(options["every"], an_epoch)), options["gamma"])
    else:
        made = lr.MultiStepLR(optimizer, [in_steps(length, an_epoch) for length in options["at"]], options["gamma"])
    if warm:
        rise = lr.LinearLR(optimizer, start_factor=0.01, total_iters=warm)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SequentialLR calls step(epoch), which PyTorch itself deprecates
            made = lr.SequentialLR(optimizer, [rise, made], milestones=[warm])
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.step()


def text_of(schedule, options):
    written = [
        f"{key}=({', '.join(map(str, v))})" if isinstance(v, tuple) else f"{key}={v}" for key, v in options.items()
    ]
    return " ".join([schedule, *written])


def check(schedule, options, epochs, an_epoch):
    recipe = with_entries(Recipe(epochs=epochs, options={"lr": LR}), {"schedule": text_of(schedule, options)})
    expected = list(pytorch(schedule, options, epochs, an_epoch))
    found = [recipe.learning_rate(step, an_epoch) for step in range(epochs * an_epoch)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)  # PyTorch's own recursion rounds each step


@pytest.mark.parametrize(
    "schedule, options",
    [
        ("const", {}),
        ("const", {"warmup": 2}),
        ("step", {"every": 3, "gamma": 0.1}),
        ("step", {"every": 0.5, "gamma": 0.9, "warmup": 1.25}),
        ("step", {"at": (3, 6, 9), "gamma": 0.1}),
        ("step", {"at": (5,), "gamma": 0.5, "warmup": 0.5}),
        ("cosine", {}),
        ("cosine", {"end": 0.1, "warmup": 2}),
        ("cosine", {"end": 0.1, "warmup": "130steps"}),
        ("const", {"warmup": "1steps"}),
        ("step", {"every": "250steps", "gamma": 0.5, "warmup": "77steps"}),
        ("step", {"at": ("100steps", "101steps", "9000steps"), "gamma": 0.1}),
        ("onecycle", {"up": 0.3, "div": 25.0, "final": 10000.0}),
        ("onecycle", {"up": 0.0, "div": 2.0, "final": 1.0}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_a_thousand_steps_are_pytorchs(schedule, options):
    check(schedule, options, epochs=10, an_epoch=100)


ANY = {
    "warmup": st.sampled_from([None, 0.3, 1, 2.5, "3steps", "40steps"]),
    "const": st.fixed_dictionaries({}),
    "cosine": st.fixed_dictionaries({"end": st.floats(0, 0.99).map(lambda v: round(v, 3))}),
    "step": st.fixed_dictionaries({"every": st.sampled_from([0.1, 0.7, 1, 2]), "gamma": st.sampled_from([0.1, 0.5])})
    | st.fixed_dictionaries(
        {
            "at": st.sets(st.sampled_from([0.5, 1, 1.5, 2, 40]), min_size=1).map(lambda v: tuple(sorted(v))),
            "gamma": st.sampled_from([0.1, 0.9]),
        }
    ),
    "onecycle": st.fixed_dictionaries(
        {"up": st.sampled_from([0.0, 0.25, 0.37, 0.99]), "div": st.sampled_from([1.0, 25.0]), "final": st.just(100.0)}
    ),
}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["const", "cosine", "step", "onecycle"]), st.integers(1, 4), st.integers(1, 17))
def test_any_settings_give_pytorchs_rates(data, schedule, epochs, an_epoch):
    options = data.draw(ANY[schedule])
    warmup = data.draw(ANY["warmup"]) if schedule != "onecycle" else None
    if schedule == "onecycle" and options["up"] * epochs * an_epoch == 1:
        return  # PyTorch divides by zero there
    check(schedule, options | ({"warmup": warmup} if warmup else {}), epochs, an_epoch)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["const warmup=1e300", "step every=1e308", "step at=(1e-9, 1e300)", "cosine warmup=2"])
    | st.sampled_from(["onecycle up=0.1", "onecycle up=0.5 div=1e300 final=1e300"]),
    st.integers(0, 100),
)
@example("onecycle up=0.1", 0)
@example("onecycle up=0.5 div=1e300 final=1e300", 10)
def test_no_setting_gives_a_rate_that_is_none(text, step):
    recipe = with_entries(Recipe(epochs=1), {"schedule": text})
    assert 0 <= recipe.learning_rate(step, 10) <= recipe.options["lr"]


def test_after_the_last_step_the_rate_stays():
    for text in ("cosine", "cosine end=0.5 warmup=1", "onecycle"):
        recipe = with_entries(Recipe(epochs=3), {"schedule": text})
        assert recipe.learning_rate(40, 10) == recipe.learning_rate(30, 10) <= recipe.learning_rate(29, 10)
