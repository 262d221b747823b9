"""Arrays of a `.npz` under the names people give them, and targets as they store them."""

import numpy as np
import pytest

from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 8, 8)).astype(np.uint8)
LABELS = np.arange(20) % 4
FLOATS = RNG.standard_normal((20, 5)).astype(np.float32)


@pytest.fixture
def load(tmp_path):
    """load(want, name=array, ...) -> the data set of a `.npz` with these arrays."""

    def load(want=None, **arrays):
        np.savez(tmp_path / "d.npz", **arrays)
        return load_dataset(str(tmp_path / "d.npz"), None, want=want)

    return load


def ordered(d):
    """All labels of samples whose one feature is their number, in that order."""
    x, y = np.concatenate([d.x_train, d.x_test]), np.concatenate([d.y_train, d.y_test])
    return y[np.argsort(x[:, 0], kind="stable")].tolist()


NUMBERED = np.arange(20, dtype=np.float32)[:, None]


# names


@pytest.mark.parametrize(
    "inputs, targets",
    [("x", "y"), ("X", "y"), ("X", "Y"), ("images", "labels"), ("data", "target"), ("features", "targets")]
    + [("inputs", "label"), ("x_train", "y_train"), ("train_images", "train_labels"), ("X_train", "y_train")]
    + [("trainX", "trainY"), ("xtrain", "ytrain"), ("arr_0", "arr_1")],
)
def test_arrays_are_found_by_the_names_that_people_use(load, inputs, targets):
    d = load(**{inputs: NUMBERED, targets: LABELS})
    assert ordered(d) == LABELS.tolist() and (len(d.x_train), len(d.x_test)) == (16, 4)


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev"])
def test_parts_are_found_by_their_names_and_the_validation_part_is_just_that(load, val):
    parts = {"train": slice(0, 12), val: slice(12, 16), "test": slice(16, 20)}
    d = load(**{f"x_{p}": NUMBERED[s] for p, s in parts.items()}, **{f"y_{p}": LABELS[s] for p, s in parts.items()})
    rows, val_rows = d.parts(0.3, 7)
    assert d.x_train[rows, 0].tolist() == [*range(12)] and d.x_train[val_rows, 0].tolist() == [12, 13, 14, 15]
    assert d.x_test[:, 0].tolist() == [16, 17, 18, 19] and len(d.parts(0, 7)[1]) == 0
    assert (d.mean, d.std) == ((5.5,), (np.arange(12).std(),))


def test_a_validation_part_without_a_test_part_leaves_a_fifth_of_the_training_samples_for_the_test(load):
    d = load(x_train=NUMBERED, y_train=LABELS, x_val=NUMBERED[:4] + 100, y_val=LABELS[:4])
    assert (len(d.x_train), d.held, len(d.x_test)) == (20, 4, 4) and d.x_test.max() < 100
    assert "no test part: 4 training samples" in d.notes[0]


def test_names_of_the_classes_are_taken_where_they_are_one_for_each(load):
    assert load(x=FLOATS, y=LABELS, class_names=np.array(list("abcd"))).classes == ("a", "b", "c", "d")
    assert load(x=FLOATS, y=LABELS, class_names=np.array(list("abc"))).classes == ("0", "1", "2", "3")


# samples


def test_a_channel_axis_that_is_missing_is_added_where_the_network_has_one(load):
    d = load(Wanted(from_sizes((1, 8, 8))), x=IMAGES / 255, y=LABELS)
    assert d.input_shape == (1, 8, 8) and "are 8x8: read as one channel, 1x8x8" in d.notes[0]
    assert load(x=IMAGES / 255, y=LABELS).input_shape == (8, 8)
    d = load(Wanted(from_sizes((1, 8, 8))), x=IMAGES, y=LABELS)
    assert d.input_shape == (1, 8, 8) and d.notes == ()
    assert load(Wanted(from_sizes((8, 8))), x=IMAGES, y=LABELS).input_shape == (8, 8)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("channels", [1, 3, 9])
def test_channels_that_stand_last_are_moved_where_the_network_makes_it_certain(load, dtype, channels):
    x = RNG.integers(0, 256, (20, 8, 7, channels)).astype(dtype)
    d = load(Wanted(from_sizes((channels, 8, 7))), x=x, y=LABELS)
    found = np.concatenate([d.x_train, d.x_test])
    assert sorted(found.sum((1, 2, 3)).tolist()) == sorted(x.sum((1, 2, 3)).tolist())
    assert any(np.array_equal(found[0], image.transpose(2, 0, 1)) for image in x)
    assert f"are 8x7x{channels}, channels last: read as {channels}x8x7" in d.notes[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_channels_that_stand_last_are_explained_where_the_network_takes_another_size(load, dtype):
    with pytest.raises(UserError, match="are 8x8x3 .*, expected C x H x W") as caught:
        load(Wanted(from_sizes((3, 32, 32))), x=np.zeros((20, 8, 8, 3), dtype), y=LABELS)
    assert caught.value.help == "use x.transpose(0, 3, 1, 2), and begin the spec with `input 3x8x8`"


def test_pixels_in_a_line_are_an_image_of_one_channel_and_of_three_only_if_told_how(load):
    d = load(Wanted(from_sizes((1, 8, 8))), x=IMAGES.reshape(20, 64), y=LABELS)
    assert d.x_train.dtype == np.uint8 and any(np.array_equal(d.x_train[0, 0], image) for image in IMAGES)
    assert "are lines of 64 pixels: read as 1x8x8" in d.notes[0]
    with pytest.raises(UserError, match="has 48 numbers a sample, but the network takes 3x4x4") as caught:
        load(Wanted(from_sizes((3, 4, 4))), x=np.zeros((20, 48), np.uint8), y=LABELS)
    assert "x.reshape(-1, 3, 4, 4)" in caught.value.help and "x.reshape(-1, 4, 4, 3).transp" in caught.value.help


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int32, np.int64, np.float16])
def test_whole_numbers_become_floats_exactly(load, dtype):
    x = RNG.integers(0, 2 if dtype is bool else 100, (20, 3)).astype(dtype)
    d = load(x=x, y=LABELS)
    assert d.x_train.dtype == np.float32 and {*d.x_train.ravel().tolist()} <= {*x.astype(float).ravel().tolist()}


def test_without_targets_the_inputs_are_the_targets_from_0_to_1(load):
    d = load(x=IMAGES)
    assert d.classes == () and d.y_train.dtype == np.float32 and d.x_train.dtype == np.uint8
    assert np.array_equal(d.y_train, d.x_train.astype(np.float32) / np.float32(255)) and d.y_test.max() <= 1
    d = load(x_train=FLOATS[:15], x_test=FLOATS[15:])
    assert np.array_equal(d.y_train, FLOATS[:15]) and np.array_equal(d.y_test, d.x_test)


def test_a_loss_that_needs_labels_says_that_there_are_none(load):
    with pytest.raises(UserError, match="has no labels `y`, which the loss `ce` needs") as caught:
        load(Wanted(loss="ce"), x=IMAGES)
    assert "an autoencoder" in caught.value.help


# labels


def test_a_column_and_booleans_and_one_hot_rows_are_labels(load):
    assert ordered(load(x=NUMBERED, y=LABELS[:, None])) == LABELS.tolist()
    d = load(x=NUMBERED, y=LABELS % 2 == 1)
    assert ordered(d) == (LABELS % 2).tolist() and d.classes == ("0", "1") and d.y_train.dtype == np.int64
    for dtype in (np.uint8, np.int64, bool):
        d = load(x=NUMBERED, y=np.eye(4)[LABELS].astype(dtype))
        assert ordered(d) == LABELS.tolist() and len(d.classes) == 4 and "one-hot" in d.notes[0]
    d = load(Wanted(loss="ce"), x=NUMBERED, y=np.eye(4)[LABELS])
    assert ordered(d) == LABELS.tolist() and "stored as floats" in d.notes[0]


@pytest.mark.parametrize("dtype", ["U", "S", "U30"])
def test_words_are_classes_in_the_order_of_the_alphabet(load, dtype):
    words = np.array(["dog", "cat", "emu", "ant"])[LABELS].astype(dtype)
    d = load(x=NUMBERED, y=words)
    assert d.classes == ("ant", "cat", "dog", "emu") and ordered(d) == [(2, 1, 3, 0)[k] for k in LABELS]


HOSTILE = {
    "not a character": (np.array([0x110000] * 20, np.uint32).view("U1"), "is damaged"),
    "a lone surrogate": (np.array([0xD800, 65] * 10, np.uint32).view("U1"), ("A", "\\ud800")),
    "stray bytes": (np.array([b"a\xff", b"b"] * 10), ("a\\xff", "b")),
    "control characters": (np.array(["a\nb", "c\x1b[31m"] * 10), ("a\\x0ab", "c\\x1b[31m")),
    "a word too few": (np.array(["a", " "] * 10), "a label without a letter"),
    "the largest number": (np.array([2**63 - 1, 0] * 10), "has the label 9223372036854775807"),
    "the smallest number": (np.array([-(2**63), 0] * 10), "has the label -9223372036854775808"),
    "no number": (np.array([np.nan, 0] * 10), "10 of 20 values of `y`"),
    "infinity": (np.array([np.inf, 0] * 10), "10 of 20 values of `y`"),
    "a float beyond whole numbers": (np.array([1e300, 0] * 10), "10 of 20 values of `y`"),
    "complex": (np.array([1j, 0] * 10), "dtype complex128"),
    "dates": (np.array(["2020-01-01"] * 20, "M8[D]"), r"dtype datetime64\[D\]"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_labels_that_nobody_means_are_named_or_refused(load, case):
    y, expected = HOSTILE[case]
    if isinstance(expected, tuple):
        assert load(Wanted(loss="ce"), x=NUMBERED, y=y).classes == expected
        return
    with pytest.raises(UserError, match=expected):
        load(Wanted(loss="ce"), x=NUMBERED, y=y)


def test_words_that_look_alike_are_one_class(load):
    d = load(x=NUMBERED, y=np.array(["caf\u00e9", "cafe\u0301", "tea", "tea "])[LABELS])
    assert d.classes == ("caf\u00e9", "tea")


def test_labels_from_one_on_are_no_class_too_many(load):
    d = load(x=NUMBERED, y=LABELS + 1)
    assert d.classes == ("1", "2", "3", "4") and ordered(d) == LABELS.tolist()
    assert "are 1, 2, 3, 4: in this order they are the 4 classes, counted from 0" in d.notes[0]
    five = load(Wanted(classes=5), x=NUMBERED, y=LABELS + 1)  # the network has an output for 0
    assert ordered(five) == (LABELS + 1).tolist() and len(five.classes) == 5 and five.notes == ()


def test_labels_of_a_support_vector_machine_are_two_classes(load):
    d = load(x=NUMBERED, y=np.where(LABELS % 2, 1, -1))
    assert d.classes == ("-1", "1") and ordered(d) == (LABELS % 2).tolist()


def test_numbers_with_gaps_are_renumbered_only_for_a_network_with_so_many_outputs(load):
    y = np.array([3, 7])[LABELS % 2]
    assert ordered(load(Wanted(classes=2), x=NUMBERED, y=y)) == (LABELS % 2).tolist()
    assert ordered(load(Wanted(classes=8), x=NUMBERED, y=y)) == y.tolist() == ordered(load(x=NUMBERED, y=y))


def test_a_trained_network_knows_labels_by_their_names(load):
    d = load(Wanted(classes=3, names=("1", "2", "3")), x=NUMBERED, y=np.full(20, 2))
    assert d.classes == ("1", "2", "3") and set(ordered(d)) == {1}


def test_whole_floats_are_labels_where_the_loss_takes_nothing_else(load):
    y = LABELS.astype(np.float64)
    assert ordered(load(Wanted(loss="ce"), x=NUMBERED, y=y)) == LABELS.tolist()
    assert ordered(load(Wanted(loss="nll"), x=NUMBERED, y=y[:, None])) == LABELS.tolist()
    assert load(Wanted(loss="mse"), x=NUMBERED, y=y).y_train.dtype == np.float32
    assert load(Wanted(loss="ce"), x=NUMBERED, y=y + 0.5).classes == ()
    two = Wanted(loss="bce", classes=2, outputs=1)
    assert ordered(load(two, x=NUMBERED, y=np.eye(2)[LABELS % 2])) == (LABELS % 2).tolist()
    assert ordered(load(two, x=NUMBERED, y=np.eye(2, dtype=int)[LABELS % 2])) == (LABELS % 2).tolist()
    pair = load(Wanted(loss="bce", classes=2, outputs=2), x=NUMBERED, y=np.eye(2)[LABELS % 2])
    assert pair.y_train.shape == (16, 2) and pair.y_train.dtype == np.float32 and pair.notes == ()
    assert ordered(load(two, x=NUMBERED, y=y % 2)) == (LABELS % 2).tolist()
    assert load(two, x=NUMBERED, y=y / 4).classes == ()


def test_whole_numbers_are_targets_of_a_network_that_gives_one_number(load):
    d = load(Wanted(loss="mse", classes=0), x=NUMBERED, y=LABELS * 1000)
    assert d.classes == () and d.y_train.shape == (16, 1) and d.y_train.dtype == np.float32
    assert "taken as numbers, since the loss is `mse`" in d.notes[0]
    several = (LABELS[:, None] >> np.arange(3)) & 1
    assert load(Wanted(loss="bce", classes=3), x=NUMBERED, y=several).y_train.shape == (16, 3)


# masks


def test_masks_are_read_with_or_without_a_channel_axis_and_as_one_hot(load):
    masks = (IMAGES > 128).astype(np.int64)
    for y in (masks, masks[:, None], masks[..., None], masks == 1, np.stack([1 - masks, masks], 1)):
        d = load(x=IMAGES, y=y)
        assert d.y_train.dtype == np.int64 and d.y_train.shape == (16, 8, 8) and len(d.classes) == 2
        assert np.array_equal(d.y_train, d.x_train[:, 0] > 128)
    d = load(Wanted(loss="ce"), x=IMAGES, y=masks.astype(np.float32))
    assert np.array_equal(d.y_test, d.x_test[:, 0] > 128)


def test_masks_of_0_and_255_are_two_classes_and_gaps_of_indices_stay(load):
    d = load(x=IMAGES, y=np.where(IMAGES > 128, 255, 0).astype(np.uint8))
    assert d.classes == ("0", "255") and np.array_equal(d.y_train, d.x_train[:, 0] > 128)
    assert "values of the masks of" in d.notes[0] and "are 0, 255" in d.notes[0]
    d = load(x=IMAGES, y=np.array([0, 1, 2, 5])[IMAGES // 64])
    assert len(d.classes) == 6 and d.notes == ()


def test_the_border_of_masks_that_does_not_count_is_named(load):
    y = np.array([0, 1, 2, 255])[IMAGES // 64]
    d = load(Wanted(from_sizes((1, 8, 8)), 3, "ce"), x=IMAGES, y=y)
    assert len(d.classes) == 4 and "255 may mark what does not count" in d.notes[-1]


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_images_in_arrays_are_fitted_with_their_masks_or_refused(load, fit):
    x = np.kron(RNG.integers(0, 2, (20, 4, 4)) * 255, np.ones((4, 4))).astype(np.uint8)
    want = Wanted(from_sizes((3, 8, 8)), 2, "ce", fit=fit)
    d = load(want, x=x, y=x > 128)
    assert d.input_shape == (3, 8, 8) and d.y_train.shape == (16, 8, 8)
    assert ((d.x_train[:, 0] > 128) == d.y_train).mean() > 0.9  # an edge blends
    assert f"are 1x16x16: brought to 3x8x8 (`fit {fit}`)" in d.notes[-1]
    with pytest.raises(UserError, match=f"`fit {fit}` is for images of bytes, but .* are 1x16x16 float32"):
        load(want, x=x[:, None] / 255, y=LABELS)


def test_built_in_images_are_fitted():
    d = load_dataset("mnist-mini", None, 20, want=Wanted(from_sizes((1, 32, 32)), 10, "ce", fit="pad"))
    plain = load_dataset("mnist-mini", None, 20)
    assert d.input_shape == (1, 32, 32) and d.x_train[:, :, :2].max() == 0 and "brought to 1x32x32" in d.notes[0]
    assert np.array_equal(d.y_train, plain.y_train) and d.mean == plain.mean


# splits


def test_the_test_and_the_validation_part_have_each_class_in_its_share(load):
    y = np.repeat([0, 1, 2], [200, 40, 10])
    d = load(x=np.arange(250.0)[:, None], y=y)
    assert np.bincount(d.y_test).tolist() == [40, 8, 2]
    for fraction in (0.1, 0.25):
        rows, val = d.parts(fraction, 3)
        counts = np.bincount(d.y_train[val], minlength=3)
        assert len(val) == round(200 * fraction) and np.abs(counts - fraction * np.array([160, 32, 8])).max() < 1
        assert sorted([*rows, *val]) == [*range(200)]


def test_a_class_of_one_sample_is_learned_from_and_built_in_data_are_split_as_ever():
    from netdsl.training.data.splits import split_rows, stratified

    stay, go = stratified(np.array([0] * 5 + [1]), 3, np.random.default_rng(0), least=1)
    assert 5 in stay and len(go) == 3
    data = load_dataset("spiral", None)
    assert all(np.array_equal(a, b) for a, b in zip(data.parts(0.1, 4), split_rows(1500, 0.1, 4), strict=True))


def test_many_classes_are_split_in_the_time_of_sorting():
    from netdsl.training.data.splits import stratified

    labels = RNG.integers(0, 5000, 200_000)
    stay, go = stratified(labels, 20_000, np.random.default_rng(0))
    assert np.array_equal(np.sort([*stay, *go]), np.arange(200_000)) and len(go) == 20_000
    shares = np.bincount(labels[go], minlength=5000) - np.bincount(labels, minlength=5000) / 10
    assert np.abs(shares).max() < 1


def test_statistics_are_those_of_the_samples_that_are_learned_from(load):
    x, y, test = RNG.standard_normal((100, 2)), RNG.integers(0, 3, 100), {"x_test": FLOATS[:, :2], "y_test": LABELS}
    want = Wanted(val=0.3, seed=5)
    before = load(want, x=x, y=y, **test)
    rows, val = before.parts(0.3, 5)
    x[val] = 1e6
    after = load(want, x=x, y=y, **test)
    assert (after.mean, after.std) == (before.mean, before.std) != load(x=x, y=y, **test).mean
    np.testing.assert_allclose(after.mean, x[rows].mean(0), rtol=1e-6)  # float32 samples


def test_balanced_weights_count_the_samples_that_are_learned_from(load):
    from netdsl.pipeline import compile_text
    from netdsl.training.scores.evaluation import fitted

    net = compile_text("input 2\nlinear 3\ntrain { loss ce balanced, val 0.3, seed 5 }\n")
    y = np.array([0] * 50 + [1] * 30 + [2] * 20)
    d = load(Wanted(val=0.3, seed=5), x=RNG.standard_normal((100, 2)), y=y, x_test=FLOATS[:, :2], y_test=LABELS % 3)
    rows, _ = d.parts(0.3, 5)
    weights = fitted(net, d).recipe.loss_options["weights"]
    np.testing.assert_allclose(weights, 70 / (3 * np.bincount(y[rows])), rtol=1e-12)  # one division
