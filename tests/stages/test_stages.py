"""Stages compute what the textbook kernels of their layers compute: any shape, blocks, workers, outliers, NaN.

Each stage is the only one of a network that is made here, so that every algorithm meets every shape, not only those
that the compiler gives it. Tolerances are those of the largest value.
"""

import numpy as np
import pytest
from drawing import drawn_in_part
from hypothesis import strategies as st

from netdsl.graph.types import map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.losses import mse
from netdsl.layers.bn import bn_backward, bn_forward
from netdsl.layers.conv import conv_backward, conv_forward
from netdsl.layers.pool import pool_backward, pool_forward, pool_resolve, pool_stages
from netdsl.stages.batch_norm import BatchNorm
from netdsl.stages.bilinear import fourier_tiles, winograd
from netdsl.stages.bilinear_conv import BilinearConv
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.fourier_conv import FourierConv
from netdsl.stages.input import Input
from netdsl.stages.pair_pool import PairPool
from netdsl.stages.patch_conv import PatchConv
from netdsl.stages.point_conv import PointConv
from netdsl.stages.relu import Relu
from netdsl.stages.row_conv import RowConv
from netdsl.stages.stage import Stages
from netdsl.stages.winograd_rows import WinogradRows
from netdsl.targets.fast.network import FastNetwork
from netdsl.targets.fast.parts import WaitingNetwork

EXACT = 1e-10  # float64
FOURIER, WINOGRAD = 1e-6, 1e-5  # float32


class OneStage(FastNetwork):
    """A network of one stage on maps, and what it is made of; `dx` is what its last backward pass gave."""

    learning_rate, loss = 1.0, staticmethod(mse)

    def __new__(cls, *options, waits=False):
        return super().__new__(OneWaitingStage if waits else cls)

    def __init__(self, make, shape, out_shape, params, buffers, workers, block, dtype, waits=False):
        self.make, self.input_shape, self.logits_shape = make, shape, out_shape
        self.block, self.waits, self.dtype, self.gives_map = block, waits, np.dtype(dtype), len(out_shape) == 3
        self.first = params, buffers
        super().__init__(0, dtype, workers)

    def first_params(self, rng, dtype):
        return self.first[0]

    def first_buffers(self, dtype):
        return self.first[1]

    def train_stages(self, w):
        s = Stages()
        s.input = Input(w, self.input_shape)
        s.one = self.make(w)
        return s

    infer_stages = train_stages

    def infer_forward(self, s, x):
        return s.one.forward(s.input.forward(x))

    def train_forward(self, s, x):
        return s.one.forward(s.input.forward(x))

    def train_backward(self, s, dy):
        dx = s.one.backward(dy)
        if self.waits:
            return self.put_later(s, dx)
        self.put(s, dx)
        return None

    def put_later(self, s, dx):
        self.put(s, (yield from dx))

    def put(self, s, dx):
        w = s.one.w
        if dx is not None:
            self.dx[w.rows[w.block]] = dx.transpose(2, 3, 0, 1)

    def forward(self, x):
        return self.logits(x)

    def both_passes(self, x, dy):
        """-> y, dx, {param: gradient} in training."""
        self.dx = np.full(x.shape, 7.5, self.dtype)
        y = self.logits(x, training=True)
        _, grads = self.backward(dy)
        return y, self.dx, grads


class OneWaitingStage(OneStage, WaitingNetwork):
    """The same, where the stage waits for the whole batch."""


def assert_close(found, expected, tolerance, what, terms=0):
    """terms: how many products of ordinary size each number is a sum of; they may cancel, their rounding does not."""
    scale = max(float(np.abs(expected).max(initial=0.0)), terms**0.5, 1e-30)
    assert found.shape == expected.shape, what
    difference = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
    assert difference <= tolerance * scale, f"{what}: {difference / scale} of the largest value"


@st.composite
def axes(draw, kernel=None, stride=1, dilation=1):
    """One axis of a convolution: (size, kernel_size, (before, after), stride, dilation), of which a window fits."""
    k = draw(st.integers(1, 7)) if kernel is None else kernel
    s, d = draw(st.integers(1, stride)), draw(st.integers(1, dilation))
    before, after = draw(st.integers(0, k)), draw(st.integers(0, k))
    least = max(1, d * (k - 1) + 1 - before - after)
    return draw(st.integers(least, max(17, least))), k, (before, after), s, d


ANY = st.tuples(axes(stride=3, dilation=3), axes(stride=3, dilation=3))
STRIDED = st.tuples(axes(stride=3), axes(stride=3))
POINT = st.tuples(axes(kernel=1, stride=3), axes(kernel=1, stride=3))
DENSE = st.tuples(axes(), axes())
SQUARE = st.integers(2, 4).flatmap(lambda k: st.tuples(axes(kernel=k), axes(kernel=k)))
ENDINGS = [({}, (-np.inf, np.inf)), ({"relu": True}, (0, np.inf)), ({"clip": (-1, 0.5)}, (-1, 0.5))]  # and the bounds
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))  # C, F, N
TEAMS = st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, 16]))  # workers, block


def examples(count, *strategies):
    return drawn_in_part(count // 5, count, "every drawn shape of a stage", *strategies)


def conv_case(plane, sizes, has_bias, seed, dtype):
    """-> the attrs of a convolution, its params, x and dy."""
    (h, kh, ph, sh, dh), (w, kw, pw, sw, dw) = plane
    c, f, n = sizes
    rng = np.random.default_rng(seed)
    attrs = {"stride": (sh, sw), "padding": (ph, pw), "dilation": (dh, dw)}
    params = {"one.weight": rng.standard_normal((f, c, kh, kw)).astype(dtype)}
    if has_bias:
        params["one.bias"] = rng.standard_normal(f).astype(dtype)
    return attrs, params, rng.standard_normal((n, c, h, w)).astype(dtype), rng


def conv_stage(kind, attrs, params, shape, **options):
    """-> what makes the stage. kind: a class, or (winograd or fourier_tiles, tile)."""
    f, _, *kernel_size = params["one.weight"].shape
    geometry = ConvGeometry(shape, f, tuple(kernel_size), **attrs)
    dx = {"dx": options.pop("dx")} if "dx" in options else {}
    given = {"epilogue": Epilogue(**options), **dx}
    if kind in (PointConv, RowConv, PatchConv, FourierConv):
        return lambda w: kind(w, "one", geometry, **given)
    if kind[0] is WinogradRows:
        return lambda w: WinogradRows(w, "one", geometry, kind[1], **given)
    return lambda w: BilinearConv(w, "one", geometry, *kind, **given)


def conv_model(kind, case, team, out_shape, **options):
    attrs, params, x, _ = case
    shape = x.shape[1:]
    return OneStage(conv_stage(kind, attrs, params, shape, **options), shape, out_shape, params, {}, *team, x.dtype)


def check_conv(kind, plane, sizes, team, has_bias, seed, dtype="float64", tolerance=EXACT, **options):
    case = attrs, params, x, rng = conv_case(plane, sizes, has_bias, seed, dtype)
    exact = {name: array.astype(np.float64) for name, array in params.items()}
    given = exact["one.weight"], exact.get("one.bias")
    expected, saved = conv_forward(x.astype(np.float64), *given, **attrs)
    dy = rng.standard_normal(expected.shape).astype(dtype)
    ending, (low, high) = ENDINGS[seed % 3]
    alive = (expected > low) & (expected < high)
    if dtype == "float32":
        dy[np.minimum(np.abs(expected - low), np.abs(expected - high)) < 1e-3] = 0  # where rounding may flip the relu
    expected = np.clip(expected, low, high)
    expected_dx, expected_grads = conv_backward(dy.astype(np.float64) * alive, saved)
    model = conv_model(kind, case, team, expected.shape[1:], **ending, **options)
    y, dx, grads = model.both_passes(x, dy)
    filters, _, *taps = params["one.weight"].shape
    assert_close(y, expected, tolerance, "y", params["one.weight"][0].size)
    if options.get("dx", True):
        assert_close(dx, expected_dx, tolerance, "dx", filters * taps[0] * taps[1])
    assert_close(grads["one.weight"], expected_grads["weight"], tolerance, "dweight", dy[:, 0].size)
    if has_bias:
        assert_close(grads["one.bias"], expected_grads["bias"], tolerance, "dbias", dy[:, 0].size)
    assert_close(model.forward(x), expected, tolerance, "y at inference", params["one.weight"][0].size)
    assert np.array_equal(model.both_passes(x, dy)[1], dx), "the second pass differs from the first"
    model.close()


@examples(60, ANY, SIZES, TEAMS, st.booleans(), st.integers(0, 99), st.integers(6, 18))
def test_patches_give_any_convolution(plane, sizes, team, has_bias, seed, bits):
    before = PatchConv.band_bytes
    PatchConv.band_bytes = 1 << bits  # bands of one row, of some, of all
    try:
        check_conv(PatchConv, plane, sizes, team, has_bias, seed)
    finally:
        PatchConv.band_bytes = before


@examples(60, STRIDED, SIZES, TEAMS, st.booleans(), st.integers(0, 99))
def test_rows_give_any_convolution_without_dilation(plane, sizes, team, has_bias, seed):
    check_conv(RowConv, plane, sizes, team, has_bias, seed)


@examples(30, POINT, SIZES, TEAMS, st.booleans(), st.integers(0, 99))
def test_one_product_gives_any_1x1_convolution(plane, sizes, team, has_bias, seed):
    check_conv(PointConv, plane, sizes, team, has_bias, seed)


@examples(150, STRIDED, SIZES, TEAMS, st.booleans(), st.integers(0, 99), st.integers(1, 8), st.integers(4, 14))
def test_winograd_along_h_gives_any_convolution_without_dilation(plane, sizes, team, has_bias, seed, tile, bits):
    tile = min(tile, 11 - plane[0][1])  # ten points
    before = WinogradRows.strip_numbers
    WinogradRows.strip_numbers = 1 << bits  # strips of one column, of some, of all
    try:
        check_conv((WinogradRows, tile), plane, sizes, team, has_bias, seed)
    finally:
        WinogradRows.strip_numbers = before


@examples(150, DENSE, SIZES, TEAMS, st.booleans(), st.integers(0, 99), st.sampled_from([0, 0, 1, 2, 5, 7, 14]))
def test_fourier_gives_any_convolution_of_stride_1(plane, sizes, team, has_bias, seed, tile):
    least = max(plane[0][1], plane[1][1]) - 1
    check_conv((fourier_tiles, max(tile, least)) if tile else FourierConv, plane, sizes, team, has_bias, seed)


@examples(150, SQUARE, SIZES, TEAMS, st.booleans(), st.integers(0, 99), st.sampled_from([2, 4, 6]))
def test_winograd_gives_any_convolution_of_stride_1_with_a_square_kernel(plane, sizes, team, has_bias, seed, tile):
    kernel = plane[0][1]
    check_conv((winograd, max(kernel - 1, min(tile, 9 - kernel))), plane, sizes, team, has_bias, seed)


@examples(50, DENSE, SIZES, TEAMS, st.integers(0, 99), st.sampled_from([0, 6, 14]))
def test_fourier_in_float32_stays_at_rounding(plane, sizes, team, seed, tile):
    check_conv((fourier_tiles, tile) if tile else FourierConv, plane, sizes, team, True, seed, "float32", FOURIER)


@examples(50, st.tuples(axes(kernel=3), axes(kernel=3)), SIZES, TEAMS, st.integers(0, 99), st.sampled_from([2, 4]))
def test_winograd_in_float32_loses_one_digit(plane, sizes, team, seed, tile):
    check_conv((winograd, tile), plane, sizes, team, True, seed, "float32", WINOGRAD)


@examples(80, STRIDED, SIZES, TEAMS, st.integers(0, 99), st.integers(2, 9))
def test_winograd_along_h_in_float32_loses_one_digit(plane, sizes, team, seed, tile):
    (_, taps, _, stride, _), _ = plane
    tile = max(1, min(tile, 11 - -(-taps // stride)))  # ten points at most, as the compiler gives it
    check_conv((WinogradRows, tile), plane, sizes, team, True, seed, "float32", WINOGRAD)


def named(value):
    """The kind of a stage in the name of a test, without the address that a function's own text has."""
    return "-".join(getattr(part, "__name__", str(part)) for part in (value if isinstance(value, tuple) else (value,)))


KINDS = [
    PatchConv,
    RowConv,
    FourierConv,
    (fourier_tiles, 6),
    (winograd, 2),
    (winograd, 4),
    (WinogradRows, 4),
    (WinogradRows, 8),
]


@pytest.mark.parametrize("kind", [*KINDS, PointConv], ids=named)
def test_the_gradient_by_the_input_can_be_left_out(kind):
    k = 1 if kind is PointConv else 3
    plane = ((9, k, (1, 1), 1, 1), (7, k, (0, 1), 1, 1))
    check_conv(kind, plane, (3, 4, 5), (2, 2), True, 0, dx=False)


@pytest.mark.parametrize("size", [64, 57])
@pytest.mark.parametrize("kind", [PatchConv, (fourier_tiles, 14), (winograd, 4), (WinogradRows, 8)], ids=named)
def test_large_planes_with_many_channels_agree(kind, size):
    plane = ((size, 3, (1, 1), 1, 1), (size - 3, 3, (1, 1), 1, 1))
    check_conv(kind, plane, (40, 24, 3), (2, 16), True, 0)
    check_conv(kind, plane, (40, 24, 3), (1, 2), True, 0, "float32", WINOGRAD)


@pytest.mark.parametrize("kind", [*KINDS, PointConv], ids=named)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_does_not_disappear(kind, value):
    """Where the direct kernel gives a number that is not finite, so does every stage: NaN may stand for infinity, and
    may spread over the tile; samples other than that one keep their numbers."""
    k = 1 if kind is PointConv else 3
    plane = ((11, k, (k // 2, k // 2), 1, 1), (9, k, (k // 2, k // 2), 1, 1))
    case = attrs, params, x, rng = conv_case(plane, (3, 4, 5), True, 0, "float64")
    x[2, 1, 4, 5] = value
    with np.errstate(all="ignore"):
        expected, saved = conv_forward(x, params["one.weight"], params["one.bias"], **attrs)
        dy = rng.standard_normal(expected.shape)
        dy[3, 0, 7, 7] = value
        dx, grads = conv_backward(dy, saved)
        model = conv_model(kind, case, (2, 2), expected.shape[1:])
        y, found_dx, found_grads = model.both_passes(x, dy)
    pairs = [(y, expected), (found_dx, dx), *((found_grads[f"one.{name}"], grad) for name, grad in grads.items())]
    for found, right in pairs:
        assert not np.isfinite(found[~np.isfinite(right)]).any()
    assert_close(y[[0, 1, 3, 4]], expected[[0, 1, 3, 4]], EXACT, "the other samples")
    assert_close(found_dx[[0, 1, 2, 4]], dx[[0, 1, 2, 4]], EXACT, "dx of the other samples")
    x[2, 1, 4, 5] = dy[3, 0, 7, 7] = 1.0
    y, found_dx, found_grads = model.both_passes(x, dy)
    assert all(np.isfinite(array).all() for array in (y, found_dx, *found_grads.values()))  # nothing of it is kept


OUTLIER = [(FourierConv, FOURIER), ((winograd, 4), WINOGRAD), ((WinogradRows, 8), WINOGRAD)]
OUTLIER += [(PatchConv, FOURIER), (RowConv, FOURIER)]


@pytest.mark.parametrize("kind, tolerance", OUTLIER, ids=named)
def test_an_outlier_costs_its_own_sample_no_more_than_rounding_of_it(kind, tolerance):
    plane = ((13, 3, (1, 1), 1, 1), (13, 3, (1, 1), 1, 1))
    case = attrs, params, x, _ = conv_case(plane, (8, 8, 4), True, 0, "float32")
    x[2, 1, 6, 6] = 1e4
    exact = [params[name].astype(np.float64) for name in params]
    expected, _ = conv_forward(x.astype(np.float64), *exact, **attrs)
    model = conv_model(kind, case, (2, 2), expected.shape[1:])
    y = model.forward(x)
    assert_close(y[2], expected[2], tolerance, "its own sample")  # of the largest value, which is 1e4
    assert_close(y[[0, 1, 3]], expected[[0, 1, 3]], tolerance, "the others")


# ------------------------------------------------------------------------------------------------ pooling and norms


POOLED = st.tuples(st.integers(1, 5), st.integers(1, 9)), TEAMS, st.integers(0, 99), st.booleans()


@examples(100, ANY, st.sampled_from(["even", "ceil", "same", "sides"]), *POOLED)
def test_maximum_pooling_gives_the_same_numbers(plane, kind, sizes, team, seed, ties):
    (h, kh, ph, sh, dh), (w, kw, pw, sw, dw) = plane
    attrs = {"kernel_size": (kh, kw), "stride": (sh, sw), "dilation": (dh, dw)}
    attrs |= {"ceil": kind == "ceil", "same": kind == "same"}
    even = tuple((min(before, k // 2),) * 2 for (before, _), k in ((ph, kh), (pw, kw)))
    attrs["padding"] = (ph, pw) if kind == "sides" else ((0, 0), (0, 0)) if kind == "same" else even
    c, n = sizes
    try:
        attrs = pool_resolve(attrs, map_of(c, h, w))
    except SpecProblem:
        return  # no window fits, or one sees only padding
    check_pool(attrs, (n, c, h, w), team, seed, ties)


@pytest.mark.parametrize("height", [2, 3, 8, 9])
@pytest.mark.parametrize("width", [2, 5, 6])
@pytest.mark.parametrize("ties", [False, True])
def test_maximum_pooling_of_pairs_gives_the_same_numbers(height, width, ties):
    attrs = {"kernel_size": (2, 2), "stride": (2, 2), "dilation": (1, 1), "padding": ((0, 0), (0, 0))}
    check_pool(attrs, (5, 3, height, width), (2, 2), 0, ties, PairPool)
    check_pool(attrs, (5, 3, height, width), (3, 16), 1, ties, PairPool)


def test_windows_of_more_places_than_a_byte_counts_give_the_same_numbers():
    attrs = {"kernel_size": (17, 16), "stride": (1, 2), "dilation": (1, 1), "padding": ((1, 0), (0, 2))}
    check_pool(attrs, (2, 3, 18, 17), (2, 16), 0, False)


def check_pool(attrs, shape, team, seed, ties, kernel=None):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(np.float64) if ties else rng.standard_normal(shape)
    given = [attrs[name] for name in ("kernel_size", "stride", "padding", "dilation")]
    expected, saved = pool_forward(x, *given)
    dy = rng.standard_normal(expected.shape)
    expected_dx, _ = pool_backward(dy, saved)
    (call,) = pool_stages(attrs, map_of(*shape[1:]))
    assert call.kernel is (kernel or call.kernel)
    model = OneStage(lambda w: call.kernel(w, *call.arguments), shape[1:], expected.shape[1:], {}, {}, *team, "float64")
    for _ in range(2):
        y, dx, _ = model.both_passes(x, dy)
        assert np.array_equal(y, expected)
        assert_close(dx, expected_dx, EXACT, "dx")
    assert np.array_equal(model.forward(x), expected)
    x[0, 0, 0, 0] = np.nan
    with np.errstate(all="ignore"):
        assert np.array_equal(model.forward(x), pool_forward(x, *given)[0], equal_nan=True)
    model.close()


@examples(
    40,
    st.tuples(st.integers(2, 9), st.integers(1, 7), st.integers(1, 6), st.integers(1, 6)),
    TEAMS,
    st.integers(0, 99),
    st.sampled_from(ENDINGS),
    st.booleans(),
)
def test_batch_norm_sees_the_whole_batch(shape, team, seed, end, affine):
    rng = np.random.default_rng(seed)
    x, dy, c = rng.standard_normal(shape) + 2, rng.standard_normal(shape), shape[1]
    params = {"one.weight": rng.standard_normal(c), "one.bias": rng.standard_normal(c)} if affine else {}
    buffers = {"one.running_mean": rng.standard_normal(c), "one.running_var": rng.random(c) + 0.5}
    moved = {name: array.copy() for name, array in buffers.items()}
    given = params.get("one.weight"), params.get("one.bias"), *moved.values()
    expected, saved = bn_forward(x, *given, training=True)
    ending, (low, high) = end
    alive = (expected > low) & (expected < high)
    expected_dx, grads = bn_backward(dy * alive, saved)
    make = lambda w: BatchNorm(w, "one", shape[1:], **ending)  # noqa: E731
    model = OneStage(make, shape[1:], shape[1:], params, buffers, *team, "float64", waits=True)
    y, dx, found = model.both_passes(x, dy)
    assert_close(y, np.clip(expected, low, high), EXACT, "y")
    assert_close(dx, expected_dx, 1e-8, "dx")  # of two samples almost nothing is left: a difference of large numbers
    for name, array in moved.items():
        assert_close(model.buffers[name], array, EXACT, name)
    for name, grad in grads.items():
        assert_close(found[f"one.{name}"], grad, 1e-9, name)
    model.close()


def test_batch_norm_in_float32_is_as_exact_as_the_textbook_beside_a_large_mean():
    """With the sums of this processor; in the worst order: test_exactness."""
    rng, shape = np.random.default_rng(0), (4, 8, 8)
    for mean in (0, 10, 100, 1000, 10_000):
        x = (rng.standard_normal((32, *shape)) + mean).astype(np.float32)
        buffers = {"one.running_mean": np.zeros(4), "one.running_var": np.ones(4)}
        model = OneStage(lambda w: BatchNorm(w, "one", shape), shape, shape, {}, buffers, 2, 4, "float32", waits=True)
        expected, _ = bn_forward(x.astype(np.float64), None, None, *buffers.values(), training=True)
        textbook, _ = bn_forward(x, None, None, *(b.astype(np.float32) for b in buffers.values()), training=True)
        error = np.abs(model.logits(x, training=True) - expected).max()
        assert error < 2 * np.abs(textbook - expected).max()
        model.close()


def test_relu_stops_what_is_not_positive():
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 2))
    x[1, 1] = 0
    x[2, 0, 0, 0] = np.nan
    model = OneStage(lambda w: Relu(w, (3, 4, 2)), (3, 4, 2), (3, 4, 2), {}, {}, 2, 2, "float64")
    dy = np.random.default_rng(1).standard_normal(x.shape)
    y, dx, _ = model.both_passes(x, dy)
    assert np.array_equal(y, np.maximum(x, 0), equal_nan=True)
    assert np.array_equal(dx, dy * (x > 0))


def test_nothing_more_is_shared_or_derived_after_the_first_batch():
    case = conv_case(((9, 3, (1, 1), 1, 1), (9, 3, (1, 1), 1, 1)), (8, 8, 7), True, 0, "float32")
    x, model = case[2], conv_model(FourierConv, case, (2, 2), (8, 9, 9))
    model.both_passes(x, x)
    known = list(model.shared_arrays), list(model.known_constants)
    for size in (7, 5, 1):
        model.both_passes(x[:size], x[:size])
    assert known == (list(model.shared_arrays), list(model.known_constants))
