"""The stages of recurrent layers compute what the textbook's kernels compute: all gradients, with any settings, however
many workers share the batch, and whatever panels the products are cut into."""

import numpy as np
import pytest
from fast_twins import KINDS, assert_twins, batch, near, near_all, twins

from netdsl.passes.make_plan import make_plan
from netdsl.passes.tile_batch import block_size
from netdsl.pipeline import compile_text
from netdsl.stages.recurrent import Cell, panel_width
from netdsl.targets.fast.emitter import WORTH_SPLITTING

KINDS_OF_CELLS = ["lstm", "gru", "rnn", "rnn relu"]
SETTINGS = ["", "nobias", "layers=2", "layers=3 nobias", "bi", "bi layers=2 dropout=0.4", "layers=3 dropout=0.25"]


def line(cell, hidden, settings):
    op, *word = cell.split()
    return " ".join([op, str(hidden), *word, settings])


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_recurrent_layers_agree_with_the_textbook(cell, settings):
    for workers, block, samples in (1, 16, 5), (1, 2, 5), (2, 16, 5), (3, 1, 4), (2, 16, 1):
        text = f"input 7x5\n{line(cell, 6, settings)} -> take -1 -> linear 3"
        assert_twins(text, samples=samples, workers=workers, block=block)


@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_one_token_and_gradients_of_all_tokens_and_of_the_input(cell):
    assert_twins(f"input 1x3\nlinear 4 -> {line(cell, 5, 'bi layers=2 dropout=0.5')} -> linear 2")
    assert_twins(
        f"input 6x3\nlinear 4 -> {line(cell, 5, 'bi')} -> {line(cell, 4, '')} -> res {{ {line(cell, 4, '')} }}"
    )
    assert_twins(f"input 2x9 map\nconv 4 k3 -> tokens -> {line(cell, 5, 'layers=2')} -> relu -> flatten -> linear 2")


def assert_twins_with(text, **settings):
    """The same where the cells of the module at -O2 have other numbers than their classes say."""
    net = compile_text(text)
    slow, fast = twins(net, workers=1, block=16)
    for name, value in settings.items():
        assert hasattr(Cell, name)
        setattr(fast.train_stages.__globals__["Cell"], name, value)  # the text of its own module
    x, y = batch(net, 4)
    near(fast.forward(x), slow.forward(x), 1e-10, "inference")
    (loss, grads), (computed, others) = (model.loss_and_gradients(x, y) for model in (slow, fast))
    near(computed, loss, 1e-10, "loss")
    near_all(others, grads, 1e-10, "gradient of")
    fast.close()


@pytest.mark.parametrize("most", [1, 8192, 1 << 30])
@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_products_may_be_cut_into_panels(cell, most):
    assert_twins_with(f"input 5x4\n{line(cell, 64, 'layers=2 bi')} -> flatten -> linear 3", most=most)


@pytest.mark.parametrize("piece", [1, 40, 100])
@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_factors_may_be_made_for_any_number_of_steps(cell, piece):
    assert_twins_with(f"input 7x4\n{line(cell, 5, 'bi')} -> flatten -> linear 3", piece=piece)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_workers_of_both_kinds_train_to_the_same_params(cell, kind):
    text = f"input 6x4\n{line(cell, 5, 'layers=2 dropout=0.3')} -> take -1 -> linear 3\ntrain {{ opt adamw lr=0.01 }}"
    slow, fast = twins(compile_text(text), workers=2, block=2, kind=kind)
    slow.rng, fast.rng = (np.random.default_rng(1) for _ in range(2))
    for step in range(3):
        x, y = batch(compile_text(text), 5, step)
        near(fast.train_step(x, y), slow.train_step(x, y), 1e-8, "loss")
    near_all(fast.params, slow.params, 1e-7, "param")
    fast.close()


@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_all_memory_is_asked_for_before_the_first_batch(cell, monkeypatch):
    """What is asked for later has no place of its own."""
    net = compile_text(f"input 5x4\nlinear 4 -> {line(cell, 6, 'layers=2 bi dropout=0.3')} -> flatten -> linear 3")
    fast = net.numpy_model(dtype="float64", level=2, workers=1)
    x, y = batch(net, 4)
    fast.train_step(x, y)
    fast.forward(x)
    buffers = fast.train_stages.__globals__["Buffers"]
    monkeypatch.setattr(buffers, "array", lambda *_: pytest.fail("memory is asked for while it computes"))
    fast.train_step(x, y)
    fast.forward(x)
    fast.close()


@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_share_the_layers_of_one_sample_agree(kind):
    """More than 1e8 multiplications a sample: with fewer samples than workers these share products."""
    net = compile_text("input 40x64\nlinear 64 -> lstm 512 layers=2 -> gru 64 bi -> take -1 -> linear 3")
    assert net.graph.num_macs > WORTH_SPLITTING
    slow, fast = twins(net, workers=2, block=16, kind=kind)
    x, y = batch(net, 1)
    near(fast.forward(x), slow.forward(x), 1e-10, "inference")
    (loss, grads), (computed, others) = (model.loss_and_gradients(x, y) for model in (slow, fast))
    near(computed, loss, 1e-10, "loss")
    near_all(others, grads, 1e-10, "gradient of")
    fast.close()


def test_a_layer_that_is_used_twice_has_one_gradient():
    for cell in KINDS_OF_CELLS:
        assert_twins(f"input 5x4\n{line(cell, 4, '')} -> {line(cell, 4, '')}\ncat {{ id | linear 4 }} -> linear 2")


@pytest.mark.parametrize(
    "n, hidden, width", [(50, 128, 64), (25, 256, 64), (50, 256, 32), (16, 512, 64), (64, 512, 512)]
)
def test_products_are_as_small_as_openblas_takes_without_laying_the_weight(n, hidden, width):
    assert panel_width(n, hidden, Cell.most) == width


@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_a_worker_takes_more_samples_at_a_time_where_layers_go_step_by_step(cell):
    size = lambda body: block_size(compile_text(f"input {body}").graph)  # noqa: E731
    assert size(f"7x5\n{line(cell, 6, '')}") == 128 and size("7x5\nlinear 6") == 32
    assert size(f"4096x5\n{line(cell, 512, '')}") == 8  # 64 MiB of the largest value


def test_panels_divide_any_size():
    for hidden in range(1, 200):
        assert all(hidden % panel_width(n, hidden, Cell.most) == 0 for n in (1, 32, 128))


@pytest.mark.parametrize("training", [True, False])
def test_no_recurrent_layer_is_left_to_the_textbook(training):
    for cell in KINDS_OF_CELLS:
        net = compile_text(f"input 5x4\n{line(cell, 4, 'bi layers=2')} -> take -1 -> linear 3")
        plan = make_plan(net.graph, net.graph.output, len(net.graph.nodes), training)
        assert [stage.node.name for stage in plan.stages if stage.call is None] == []


def test_what_is_not_finite_stays_in_its_own_sample():
    net = compile_text("input 4x3\nlstm 4 -> gru 4 -> rnn 4 -> take -1 -> linear 2")
    slow, fast = twins(net, workers=1, block=16)
    x, _ = batch(net, 4)
    x[2, 1, 1] = np.nan
    with np.errstate(all="ignore"):
        right, made = slow.forward(x), fast.forward(x)
    assert np.isnan(made[2]).all()
    near(made[[0, 1, 3]], right[[0, 1, 3]], 1e-10, "the other samples")
    fast.close()


@pytest.mark.parametrize("cell", KINDS_OF_CELLS)
def test_large_numbers_saturate_and_none_overflows(cell):
    net = compile_text(f"input 6x4\n{line(cell, 5, '')} -> take -1 -> linear 3")
    x, y = batch(net, 4, dtype="float32")
    slow, fast = twins(net, "float32")
    scale = 1e4 if cell != "rnn relu" else 10
    near(fast.forward(scale * x), slow.forward(scale * x), 1e-5, "inference")
    (loss, grads), (computed, others) = (model.loss_and_gradients(scale * x, y) for model in (slow, fast))
    near(computed, loss, 1e-5, "loss")
    near_all(others, grads, 1e-4, "gradient of")
    fast.close()
