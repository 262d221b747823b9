"""What the entries of a train block become, in a spec and as text from the command line."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.graph.recipe import Recipe, resolved_weights
from netdsl.graph.schedules import Steps
from netdsl.ground.diagnostics import SpecError, UserError
from netdsl.ground.source import Source
from netdsl.language.syntax.printer import format_source
from netdsl.language.train_block import ENTRIES, with_data, with_entries
from netdsl.pipeline import compile_text
from netdsl.training.runs.recipe_values import recipe_of

NET = "input 3x8x8\ngap -> linear 3\n"

MADE = [
    ("loss ce smooth=0.1 weights=(1, 2, 1)", "loss_options", {"smooth": 0.1, "weights": (1.0, 2.0, 1.0)}),
    ("loss nll balanced", "loss_options", {"balanced": True}),
    ("opt adagrad", "options", {"lr": 1e-2}),
    ("opt adagrad lr=0.1 wd=1e-4 eps=1e-8", "options", {"lr": 0.1, "weight_decay": 1e-4, "eps": 1e-8}),
    ("opt adamw wd=0.1 decay=matrices", "decay", "matrices"),
    ("opt adamw decay=matrices", "options", {"lr": 1e-3, "weight_decay": 1e-2}),
    ("opt sgd wd=0.1 decay=all", "decay", "all"),
    ("schedule step every=10", "schedule_options", {"every": 10.0}),
    (
        "schedule step at=(30, 60) gamma=0.2 warmup=0.5",
        "schedule_options",
        {"at": (30, 60), "gamma": 0.2, "warmup": 0.5},
    ),
    ("schedule step at=3", "schedule_options", {"at": (3.0,)}),
    ("schedule cosine end=0.01 warmup=2", "schedule_options", {"end": 0.01, "warmup": 2.0}),
    ("schedule cosine warmup=100steps end=0.1", "schedule_options", {"warmup": Steps(100), "end": 0.1}),
    ("schedule step every=1_000steps", "schedule_options", {"every": Steps(1000)}),
    ("schedule step at=(10steps, 2000steps)", "schedule_options", {"at": (Steps(10), Steps(2000))}),
    ("schedule onecycle up=0.3 div=25 final=1e4", "schedule_options", {"up": 0.3, "div": 25.0, "final": 1e4}),
    (
        "augment shift=2 rotate=10 flip crop=4 cutout=7 mixup=0.2",
        "augment",
        {"shift": 2, "rotate": 10.0, "flip": True, "crop": 4, "cutout": 7, "mixup": 0.2},
    ),
    (
        "augment zoom=0.1 shear=10 resizedcrop=0.25 vflip brightness=0.2 contrast=0.2 saturation=0.2 hue=0.1 grey=0.1 "
        "blur=1 erase=0.25 cutmix=1",
        "augment",
        {
            "zoom": 0.1,
            "shear": 10.0,
            "resizedcrop": 0.25,
            "vflip": True,
            "brightness": 0.2,
            "contrast": 0.2,
            "saturation": 0.2,
            "hue": 0.1,
            "grey": 0.1,
            "blur": 1.0,
            "erase": 0.25,
            "cutmix": 1.0,
        },
    ),
    ("clip 1", "clip", 1.0),
    ("ema 0.999", "ema", 0.999),
    ("stop patience=5", "patience", 5),
    ("fit crop", "fit", "crop"),
    ("monitor val_accuracy", "monitor", "val_accuracy"),
]


@pytest.mark.parametrize("entry, name, value", MADE, ids=lambda value: value if isinstance(value, str) else "")
def test_an_entry_is_the_same_in_a_spec_and_as_text(entry, name, value):
    recipe = compile_text(f"{NET}train {{ {entry} }}").recipe
    assert getattr(recipe, name) == value
    key, _, text = entry.partition(" ")
    assert with_entries(Recipe(), {key: text}) == recipe


def test_a_train_block_with_everything_is_printed_in_canonical_form():
    chosen = {entry.partition(" ")[0]: entry for entry, *_ in reversed(MADE)}
    chosen |= {"steps": "steps 2000 every=250", "schedule": "schedule step at=(100steps, 2_000steps) warmup=50steps"}
    entries = "".join(f"  {entry}\n" for entry in chosen.values())
    canonical = f"{NET}train {{\n{entries}}}\n"
    untidy = canonical.replace("=", " = ").replace(", ", " ,").replace("(", "( ").replace("  ", " ")
    assert format_source(Source("a.net", untidy)) == canonical
    assert compile_text(untidy).recipe == compile_text(canonical).recipe


def test_a_text_replaces_the_whole_entry_and_leaves_the_others():
    recipe = compile_text(f"{NET}train {{ opt sgd lr=0.3 momentum=0.9, loss ce smooth=0.1, epochs 7 }}").recipe
    changed = with_entries(recipe, {"opt": "sgd momentum=0.5", "loss": "ce"})
    assert (changed.options, changed.loss_options, changed.epochs) == ({"lr": 1e-2, "momentum": 0.5}, {}, 7)
    assert with_entries(recipe, {"opt": "adam"}).options == {"lr": 1e-3}
    assert with_entries(recipe, {"opt": "sgd"}) == with_entries(recipe, {}) == recipe


def test_none_switches_off():
    recipe = compile_text(f"{NET}train {{ augment flip, clip 1, ema 0.9, stop patience=3, fit pad }}").recipe
    assert with_entries(recipe, dict.fromkeys(("augment", "clip", "ema", "stop", "fit"), "none")) == Recipe()


@pytest.mark.parametrize(
    "key, text, message, help",
    [
        ("opt", "sdg lr=0.1", "--opt: unknown optimizer `sdg`", "did you mean `sgd`?"),
        ("opt", "", "--opt: `opt` takes the name of an optimizer", 'write `--opt "adam lr=1e-3"`'),
        ("opt", "sgd lr=", "--opt: the line ends too early", "a value must follow `=`"),
        ("opt", "adam, epochs 3", "--opt: a comma begins another entry, `epochs`", "its own option"),
        ("opt", "adamw decay=0.1", "--opt: `decay` takes `all` or `matrices`, not `0.1`", "`wd=0.1`"),
        ("opt", "adamw decay=matrixes", "--opt: unknown params to decay `matrixes`", "did you mean `matrices`?"),
        ("opt", "sgd decay=matrices", "--opt: `decay=matrices` needs a weight decay above 0", "wd=0.1 decay=matrices"),
        ("opt", "none", "--opt: unknown optimizer `none`", "known"),
        ("clip", "-1", "--clip: unexpected `-`", ""),
        ("clip", "0", "--clip: `clip` must be above 0, not 0", ""),
        ("loss", "ce weights=(1, x)", "--loss: unexpected `x`", ""),
        ("schedule", "step", "--schedule: `step` needs `every` or `at`", "every=10"),
        ("schedule", "const warmup=100 steps", "--schedule: so many steps are one word", "write `warmup=100steps`"),
        ("schedule", "step at=(1, 2) steps", "--schedule: so many steps are one word", "`at=(1steps, 2steps)`"),
        ("schedule", "const warmup=0steps", "--schedule: `warmup` must be above 0, not 0steps", ""),
        ("schedule", "const warmup=1.5steps", "--schedule: unexpected `1", ""),
        ("schedule", "step at=(1, 20steps)", "--schedule: `at` takes epochs or steps, not both", ""),
        ("schedule", "step at=(2steps, 1steps)", "--schedule: `at` takes epochs above 0 that rise", "3000steps"),
        ("schedule", "cosine warmup_steps=100", "--schedule: `cosine` has no option `warmup_steps`", "`warmup`"),
        ("opt", "adam lr=10steps", "--opt: `lr` takes a number, not `10steps`", ""),
        ("batch", "10steps", "--batch: `batch` must be a whole number of at least 1, not `10steps`", ""),
        ("augment", "mixup=0.2 mixup=0.3", "--augment: `mixup` is given twice", ""),
        ("monitor", "val_acuracy", "--monitor: unknown measure `val_acuracy`", "did you mean `val_accuracy`?"),
        ("stop", "5", "--stop: `stop` takes `patience`", "write `--patience 5`"),
        ("epochs", "1 }\ninput 4\nlinear 2\ntrain {", "--epochs: expected one line", ""),
        ("opt", "adam # }", "--opt: expected one line", ""),
        ("opt", "adam\x1b[2J", "--opt: the character U+001B is not allowed", "remove it"),
        ("opt", "a" * 20_000, "--opt: expected one line of at most 10000 characters", ""),
        ("data", '"x', "--data: unexpected", ""),
    ],
)
def test_a_wrong_text_is_refused_in_one_line_that_names_the_flag(key, text, message, help):
    with pytest.raises(UserError) as caught:
        with_entries(Recipe(), {key: text})
    assert caught.value.message.startswith(message)
    assert help in caught.value.help
    assert "\n" not in caught.value.message + caught.value.help


FIELDS = {"opt": "optimizer", "stop": "patience", "steps": "every"}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*ENTRIES]), st.text(max_size=25) | st.text("ce sgd lr=1,({}#\"'\n\\x", max_size=25))
def test_any_text_is_a_recipe_or_refused(key, text):
    try:
        changed = with_entries(Recipe(), {key: text})
    except UserError as error:
        assert error.message.startswith(f"--{key}: ") and error.message.isprintable()
    else:
        names = {name for name, value in vars(Recipe()).items() if getattr(changed, name) != value}
        assert names <= {key, FIELDS.get(key), f"{key}_options", *(("options", "decay") if key == "opt" else ())}


def test_texts_that_do_not_fit_each_other_are_refused():
    recipe = compile_text("input 3x8x8\ngap -> linear 3 -> logsoftmax\ntrain { loss nll }").recipe
    with pytest.raises(UserError, match="--augment: `mixup` mixes targets"):
        with_entries(recipe, {"augment": "mixup=0.2"})
    with pytest.raises(UserError, match="--loss: `mixup` mixes targets"):
        with_entries(with_entries(Recipe(), {"augment": "mixup=0.2"}), {"opt": "sgd", "loss": "nll"})
    assert with_entries(recipe, {"augment": "mixup=0.2", "loss": "mse"}).loss == "mse"


def test_a_recipe_that_does_not_fit_the_network_is_refused():
    net = compile_text(NET)
    for entry, text in (("augment", "crop=8"), ("loss", "ce weights=(1, 2)")):
        with pytest.raises(UserError, match="does not fit an image of 8x8|has 2 weights"):
            net.with_recipe(with_entries(net.recipe, {entry: text}))


def test_balanced_weights_are_those_of_scikit_learn():
    compute_class_weight = pytest.importorskip("sklearn.utils.class_weight").compute_class_weight
    recipe = with_entries(Recipe(), {"loss": "ce balanced smooth=0.1"})
    for shape in ((50,), (5, 4, 4)):
        labels = np.random.default_rng(0).choice(4, shape, p=[0.1, 0.2, 0.3, 0.4])
        found = resolved_weights(recipe, labels, 4)
        expected = compute_class_weight("balanced", classes=np.arange(4), y=labels.ravel())
        np.testing.assert_allclose(found.loss_options["weights"], expected, rtol=1e-15)
        assert found.loss_options.keys() == {"smooth", "weights"}
    assert resolved_weights(Recipe(), labels, 4) == Recipe()
    with pytest.raises(UserError, match="no training sample of class 4"):
        resolved_weights(recipe, labels, 5)


@pytest.mark.parametrize(
    "text",
    ["sgd", "sgd momentum=0.9", "adam", "adamw", "rmsprop", "rmsprop momentum=0.5", "adagrad"],
)
def test_the_optimizers_state_has_pytorchs_names(text):
    torch = pytest.importorskip("torch")
    from netdsl.graph.recipe import OPTIMIZERS

    recipe = with_entries(Recipe(), {"opt": text})
    param = torch.zeros(2, requires_grad=True)
    optimizer = getattr(torch.optim, OPTIMIZERS[recipe.optimizer].torch)([param], **recipe.options)
    param.sum().backward()
    optimizer.step()
    arrays = [name for name, value in optimizer.state[param].items() if name != "step" and value is not None]
    assert sorted(recipe.state_names) == sorted(arrays)


@pytest.mark.parametrize("entry", [entry for entry, *_ in MADE])
def test_a_config_reads_what_an_entry_made(entry):
    recipe = compile_text(f"{NET}train {{ {entry} }}").recipe
    assert recipe_of(json.loads(json.dumps(asdict(recipe)))) == recipe


SIGNAL = "input 3x16 map\nconv 4 k3 -> flatten -> linear 2\n"


def test_data_have_options_in_a_spec_and_behind_a_path_on_the_command_line():
    spec = f'{SIGNAL}train {{ data "my har.csv" stride=8 label="what it is" group=who window=16 rate=50 }}'
    recipe = compile_text(spec).recipe
    options = {"stride": 8, "label": "what it is", "group": "who", "window": 16, "rate": 50}
    assert recipe.data == "my har.csv" and recipe.data_options == options
    text = 'my har.csv stride=8 label="what it is" group=who window=16 rate=50'
    assert with_data(Recipe(), text) == replace(Recipe(), data="my har.csv", data_options=options)
    assert recipe_of(json.loads(json.dumps(asdict(recipe)))) == recipe
    assert with_data(recipe, "a b=c.csv") == replace(recipe, data="a b=c.csv", data_options={})
    assert with_data(recipe, "mnist").data_options == {}


@pytest.mark.parametrize(
    "entry, message",
    [
        ('data "d.csv" stride=0', "`stride` must be a whole number of at least 1, not `0`"),
        ('data "d.csv" strid=8', "`data` has no option `strid`"),
        ('data "d.csv" label=3', "`label` takes a name, not `3`"),
        ('data "d.csv" stride', "`data` takes one name or path, and options as `stride=64`"),
        ("data mnist stride=4", "`mnist` has no options: they are for files of your own"),
        ('data "d.csv" window=8', "`window=8` does not fit the input 3x16, which takes 16 steps"),
    ],
)
def test_options_of_data_that_are_wrong_are_refused(entry, message):
    with pytest.raises(SpecError) as error:
        compile_text(f"{SIGNAL}train {{ {entry} }}")
    assert message in str(error.value)


def test_options_of_signals_are_refused_for_an_image_but_not_a_label_column():
    with pytest.raises(SpecError, match="`stride` is for data of signals, but the input is 1x8x8"):
        compile_text('input 1x8x8\nflatten -> linear 2\ntrain { data "d.csv" stride=4 }')
    assert compile_text('input 4\nlinear 2\ntrain { data "d.csv" label=kind }').recipe.data_options == {"label": "kind"}
    with pytest.raises(UserError, match="--data: `stride` must be a whole number of at least 1"):
        with_data(Recipe(), "d.csv stride=0")
    with pytest.raises(UserError, match="--data: `mnist` has no options"):
        with_data(Recipe(), "mnist stride=3")
