"""`verify` passes for every example network, and its report says what was compared."""

import json
import sys
from contextlib import closing
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from netdsl.cli import run
from netdsl.pipeline import compile_file, compile_text
from netdsl.verify.agreement import on_good_batches, verify
from netdsl.verify.batches import random_batch
from netdsl.verify.checks import Check, close
from netdsl.verify.fast_steps import fast_steps
from netdsl.verify.gradients import gradient_check, network_to_check, without_zeros


def test_every_check_passes(small_spec):
    pytest.importorskip("torch")
    report = verify(compile_file(small_spec))
    assert report.ok, str(report)
    names = " ".join(check.name for check in report.checks)
    names += " gradient of the input" if compile_file(small_spec).graph.input_type.is_ids else ""  # which have none
    for part in (
        "module = layers, float32",
        "module at -O2, float32: gradient of",
        "module at -O2, 5 steps",
        "PyTorch, float64: output, evaluation",
        "gradient of the input",
        "5 steps",
        "central",
    ):
        assert part in names


@pytest.mark.parametrize(
    "train",
    [
        "loss nll",
        "loss bce",
        "loss mse, opt sgd lr=0.1 momentum=0.9 nesterov wd=1e-3",
        "opt adamw wd=0.1",
        "opt rmsprop momentum=0.5",
        "opt adam betas=(0.8, 0.9) wd=0.01",
        "opt adagrad wd=0.01",
        "loss ce smooth=0.1 weights=(1, 2, 0.5, 3, 4), clip 0.01",
        "loss ce weights=(1, 2, 0.5, 3, 4), augment mixup=0.2, clip 10",
        "loss ce, augment mixup=0.2, opt sgd lr=0.1, clip 0.1",
        "loss nll weights=(1, 2, 0.5, 3, 4)",
        "loss mse, augment mixup=0.2, clip 0.1",
        "init torch",
        "init xavier",
        "init gpt, opt adamw wd=0.3 decay=matrices, clip 0.1",
        "opt rmsprop wd=0.3 momentum=0.5 decay=matrices",
    ],
)
def test_every_loss_optimizer_and_start_passes(train):
    pytest.importorskip("torch")
    end = "-> logsoftmax" if "nll" in train else ""
    report = verify(
        compile_text(
            f"input 3x8x8\nconv 4 k3 -> bn -> relu -> dropout -> flatten -> linear 5 {end}\ntrain {{ {train} }}"
        )
    )
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "right, wrong",
    [
        ("class_weights = (1.0, 2.0, 3.0)", "class_weights = (1.0, 2.0, 2.9)"),
        ("smooth=0.1", "smooth=0.11"),
        ("clip_factor(norm, 0.01)", "clip_factor(norm, 0.02)"),
        (" / (self.weight_of(y) or 1.0)", " / w.n"),
    ],
)
def test_a_fast_module_with_other_options_is_found(right, wrong):
    net = compile_text("input 4\nlinear 3\ntrain { loss ce smooth=0.1 weights=(1, 2, 3), clip 0.01, opt sgd lr=0.1 }")
    text = net.numpy_source(2)
    assert right in text
    net._texts["numpy", 2] = text.replace(right, wrong)
    failed = [check.name for check in verify(net).checks if not check.ok]
    assert failed and all(name.startswith("module at -O2") for name in failed)


def test_a_sigmoid_that_bce_contains_is_applied_once():
    pytest.importorskip("torch")
    net = compile_text("input 3x4x4\nconv 4 -> relu -> gap -> linear 1 -> sigmoid\ntrain { loss bce }")
    model = net.build()
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(model.forward(x), 1 / (1 + np.exp(-model.logits(x))), rtol=1e-6)  # float32
    report = verify(net)
    assert report.ok, str(report)


def test_labelled_groups_and_repetition_pass():
    pytest.importorskip("torch")
    report = verify(
        compile_text(
            "input 3x8x8\nstem: 2 * { conv 4 k3 nobias -> bn -> act: relu }\n".replace("act: ", "")
            + "gap -> head: linear 5"
        )
    )
    assert report.ok, str(report)


def test_json_has_one_object_with_ok_and_checks(small_spec, capsys):
    pytest.importorskip("torch")
    assert run(["verify", str(small_spec), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert set(report["checks"][0]) == {"name", "max_abs", "max_rel", "tolerance", "ok", "saw"}


def test_without_pytorch_the_rest_is_checked_and_the_report_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    report = verify(compile_text("input 4\nlinear 3\n"))
    assert report.ok
    assert "not installed" in report.notes[0]
    assert not any("PyTorch" in check.name for check in report.checks)
    assert any("module at -O2" in check.name for check in report.checks)


def test_a_fast_module_that_learns_otherwise_is_found():
    net = compile_text("input 4\nlinear 3 -> relu -> linear 2\n")
    right = net.numpy_source(2)
    net._texts["numpy", 2] = right.replace(
        "adam_step(params, grads, state, lr)", "adam_step(params, grads, state, 2 * lr)"
    )
    assert net._texts["numpy", 2] != right
    failed = [check.name for check in verify(net).checks if not check.ok]
    assert failed == [
        f"module at -O2, 5 steps of adam, float64: {name}"
        for name in (f"linear{i}.{p}" for i in (1, 2) for p in ("weight", "bias"))
    ]


def test_a_fast_module_whose_moments_are_wrong_is_found_at_a_later_step():
    net = compile_text("input 4\nlinear 3 -> relu -> linear 2\n")
    right = net.numpy_source(2)
    net._texts["numpy", 2] = right.replace("0.999", "0.998")
    assert net._texts["numpy", 2] != right
    failed = {check.name for check in verify(net).checks if not check.ok}
    assert failed and all(name.startswith("module at -O2, 5 steps of adam") for name in failed)


def test_steps_out_of_rounding_do_not_make_right_programs_differ():
    """A unit that is 0 for every sample has a gradient of exactly 0, and of 1e-17 by an algorithm that mixes numbers:
    there adam takes it a full step up, and after two it is no longer 0."""
    net = compile_text("input 4\nlinear 8 -> relu -> linear 2\ntrain { opt adam lr=0.1 eps=1e-20 }")
    x, y = random_batch(net, 3, 0)
    right = net.numpy_source(2)
    net._texts["numpy", 2] = right.replace("g = grads[name]", "g = grads[name] - 1e-17")
    assert net._texts["numpy", 2] != right
    network = network_to_check(net, 0, "float64")
    checks = list(fast_steps(net, x / 1000, y, 0))
    assert len(checks) == 5 and all(check.ok for check in checks)
    losses = [network.train_step(x / 1000, y) for _ in range(5)]
    with closing(without_zeros(net.numpy_model(0, "float64", level=2, workers=1), 0)) as model:
        assert abs(model.train_step(x / 1000, y) - losses[0]) < 1e-12  # the first step starts alike
        assert abs([model.train_step(x / 1000, y) for _ in range(4)][-1] - losses[4]) > 1e-3


def test_dropout_is_drawn_alike_in_the_fast_module():
    report = verify(
        compile_text("input 3x8x8\nconv 4 k3 -> dropout2d 0.3 -> droppath 0.2 -> dropout 0.5\ngap -> linear 3\n")
    )
    assert report.ok, str(report)


def test_a_flip_in_every_batch_is_no_failure_and_a_wrong_gradient_in_every_batch_is():
    net = compile_text("input 4\nlinear 3")

    def checks(spoilt):
        seeds = []

        def of_batch(net, x, y, seed, dtype, flips):
            seeds.append(seed)
            yield from (Check(name, 0.0, 0.0, 1e-4, name not in spoilt[len(seeds) - 1]) for name in "abc")

        done = on_good_batches(of_batch, net, *random_batch(net, 2, 5), 5, "float32")
        return [check.ok for check in done], seeds

    assert checks(["", "", "", ""]) == ([True, True, True], [5])
    assert checks(["ab", "bc", "a", ""]) == ([True, True, True], [5, 6, 7])
    assert checks(["ab", "b", "bc", "ab"]) == ([True, False, True], [5, 6, 7, 8])


def test_no_amount_of_rounding_lets_a_wrong_result_pass():
    right, wrong = np.ones(4), np.array([1.0, 1.0, 1.0, 1.01])
    assert close("a chaotic network", right * (1 + 1e-6), right, "float64", own=1e-6).ok
    assert not close("a chaotic network", wrong, right, "float64", own=5.0).ok


@pytest.mark.parametrize(
    "text",
    [
        "input 1x10x10\nconvt 1 k3 s2 p1 op1",
        "input 5\nlinear 1",
        "input 2x5x5\nconv 3 k3 -> prelu -> gap -> linear 1",
        "input 4x3x3\nscale 0.5 -> bn noaffine -> conv 1 -> prelu",
    ],
)
def test_a_param_of_one_number_is_checked(text):
    """Along one number a random direction may be just the opposite of the gradient's: together they gave 0 / 0."""
    net = compile_text(text + "\ntrain { loss mse }")
    for seed in range(6):
        x, y = random_batch(net, 4, seed)
        found = gradient_check(net, x.astype(np.float64), y.astype(np.float64), seed)
        assert found.ok and not found.unseen, (seed, found)


def test_a_check_that_sees_nothing_says_so(tmp_path, capsys):
    """Of one class the softmax is 1 and `ce`, the loss where none is written, 0 whatever the network computes."""
    pytest.importorskip("torch")
    (tmp_path / "one.net").write_text("input 1x6x6\nconv 1 k3 p1\n")
    assert run(["verify", str(tmp_path / "one.net")]) == 0
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.startswith("gradient check")]
    assert line.endswith("0 = 0")
    assert "17 of them compared 0 with 0, which proves nothing" in out
    assert "note: the gradient check saw nothing of `the input`, `conv1.weight`, `conv1.bias`" in err
    assert not any(line.endswith(" ok") for line in out.splitlines() if "gradient" in line)


def test_what_a_dead_relu_hides_is_said():
    """The other params are checked as always."""
    net = compile_text("input 3\nlinear 4 -> relu -> linear 2\ntrain { loss mse }")
    network = network_to_check(net, 0, "float64")
    network.params["linear1.bias"][...] = -100
    x, y = random_batch(net, 4, 0)
    found = gradient_check(net, x.astype(np.float64), y.astype(np.float64), 0, network)
    assert found.ok and found.worst.saw
    assert found.unseen == ("the input", "linear1.weight", "linear1.bias", "linear2.weight")


@pytest.mark.parametrize("emitter", ["numpy", "fast", "torch"])
def test_a_module_that_normalises_by_other_numbers_is_found(monkeypatch, emitter):
    pytest.importorskip("torch")
    net = compile_text("input 3x4x4 mean (0.4, 0.5, 0.6) std (0.2, 0.3, 0.4)\nconv 2 -> relu -> flatten -> linear 3")
    assert verify(net).ok
    emit = import_module(f"netdsl.targets.{emitter}.emitter").emit

    def wrong(template, **values):
        return emit(template, **values).replace("0.4, 0.5, 0.6", "0.4, 0.6, 0.5")

    monkeypatch.setattr(f"netdsl.targets.{emitter}.emitter.emit", wrong)
    report = verify(replace(net))  # another one, with no text yet
    assert not report.ok
    failed = " ".join(check.name for check in report.checks if not check.ok)
    assert "output" in failed and "bytes = floats" in failed


@pytest.mark.parametrize("layers", ["pool 2 s1 same -> gmp", "crop 2 -> upsample 2 bilinear align_corners"])
def test_a_network_without_params_is_verified(layers):
    report = verify(compile_text(f"input 2x5x4\n{layers}\ntrain {{ loss mse }}"))
    assert report.ok, str(report)


def test_a_direction_is_not_the_batch_itself():
    """A norm forgets the size of its input, so along x nothing of a wrong gradient by x is seen."""
    net = compile_text("input 6x7x2\n3 * { inorm } -> conv 1 -> prelu\ntrain { loss mse }")
    for seed in range(4):
        network = network_to_check(net, seed, "float64")
        right = network.layers[0].backward
        network.layers[0].backward = lambda dy, right=right: (np.concatenate([right(dy)[0][:2], 0 * dy[2:]]),)
        x, y = random_batch(net, 4, seed)
        assert not gradient_check(net, x.astype(np.float64), y.astype(np.float64), seed, network).ok


@pytest.mark.parametrize("count, saw", [(12, True), (20, False)])
def test_gradients_below_the_rounding_of_the_loss_are_no_false_alarm(count, saw):
    """Each softmax leaves a seventh: after 12, 1e-11, which a difference of a loss of 1 sees in its first digits; after
    20 nothing can be told."""
    net = compile_text(f"input 7\n{count} * {{ softmax }} -> prelu\ntrain {{ loss mse }}")
    for seed in range(4):
        x, y = random_batch(net, 4, seed)
        found = gradient_check(net, x.astype(np.float64), y.astype(np.float64), seed)
        assert found.ok and found.worst.saw == saw, found
