"""The bench: contestants compute the same, what goes wrong is named, nothing outlives it. No times are judged."""

import json
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_contestants import planted

from netdsl.bench import match, worker
from netdsl.bench.contestants import ENTRIES, Interpreter, Job, NumpyModule, write_module
from netdsl.bench.match import Disagreement, Options, bench, difference, share
from netdsl.bench.report import Report, Result
from netdsl.bench.torch_contestants import TorchChannelsLast, TorchEager
from netdsl.ground.diagnostics import UserError
from netdsl.ground.system.processes import descendants
from netdsl.pipeline import compile_text
from netdsl.targets.contract import Device
from netdsl.verify.batches import random_batch

TINY = "input 1x6x6\nconv 3 k3 -> bn -> relu\nflatten -> linear 4\n"
OPTIONS = Options(batch=4, threads=1, level=0, steps=2)
OWN = [entry for entry in ENTRIES if not entry.needs]
HAS_PROC = Path("/proc/self/smaps_rollup").exists()


@pytest.fixture(scope="module")
def report():
    pytest.importorskip("torch")
    return bench(compile_text(TINY, "tiny"), OPTIONS, [entry for entry in ENTRIES if not entry.is_extra])


def test_the_object_has_every_key(report):
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(found) == {
        *("name", "batch", "threads", "level", "machine", "contestants", "numpy_ms", "train", "inference"),
        *("notes", "failures", "peak_mb", "network_mb"),
    }
    assert (found["name"], found["batch"], found["threads"]) == ("tiny", 4, 1) and not found["failures"]
    assert list(found["contestants"]) == ["numpy", "interpreter", "torch", "torch_channels_last"]
    for result in found["contestants"].values():
        assert result["train_steps"] == result["inference_steps"] == 2
        for kind in ("train", "inference"):
            assert result[f"{kind}_ms"] >= result[f"{kind}_min_ms"] > 0 <= result[f"{kind}_iqr_ms"]
        assert result["agreement"] < 1e-5 and result["loss_agreement"] < 1e-4
        assert not HAS_PROC or result["peak_mb"] >= result["base_mb"] > 10
    faster = min(found["contestants"][name]["train_ms"] for name in ("torch", "torch_channels_last"))
    assert found["train"] == {"numpy_ms": found["numpy_ms"], "torch_ms": faster, "ratio": found["train"]["ratio"]}
    assert found["train"]["ratio"] == pytest.approx(found["numpy_ms"] / faster, rel=1e-2)
    assert found["contestants"]["numpy"]["train_ms"] == found["numpy_ms"]
    assert {"cpu", "cores", "blas", "numpy", "torch"} <= set(found["machine"])


def test_the_table_has_a_row_for_each_and_ends_with_the_ratios(report):
    lines = str(report).splitlines()
    assert lines[0] == "tiny: batch 4, 1 thread, NumPy module at -O0"
    assert f"numpy {np.__version__} with " in lines[1] and ", torch 2" in lines[1]
    rows = [line.split() for line in lines[5:9]]
    assert [row[0] for row in rows] == list(report.results) and {len(row) for row in rows} == {8}
    assert len({len(line) for line in lines[3:9]}) == 1
    assert lines[-1].startswith("numpy / faster PyTorch format: train ") and ", inference " in lines[-1]


def test_ratios_need_both_and_take_the_faster_format():
    def report_of(**seconds):
        results = {name: Result({"train": [s, s, 9.0], "inference": [s]}) for name, s in seconds.items()}
        return Report("net", 8, 1, 0, {"cpu": "abacus", "cores": 1, "numpy": "2", "blas": "x", "torch": None}, results)

    found = report_of(numpy=2.0, torch=5.0, torch_channels_last=4.0, torch_compile=1.0)
    assert found.ratio("train") == found.ratio("inference") == 0.5
    alone = report_of(numpy=2.0)
    assert alone.ratio("train") is None and alone.as_dict()["train"]["ratio"] is None
    assert str(alone).endswith("numpy / faster PyTorch format: train -, inference -")
    assert alone.as_dict()["contestants"]["numpy"]["train_samples_per_s"] == 4.0


@pytest.mark.parametrize(
    "text",
    [
        TINY,
        "input 5\nlinear 4 -> tanh -> linear 2\ntrain { loss mse, opt sgd momentum=0.9 }\n",
        "input 5\nlinear 3 -> sigmoid\ntrain { loss bce, opt rmsprop }\n",
        "input 2x4x4\nconv 3 k3 p1 -> softmax\n",
        "input 2x4x4\nconv 3 k3 p1 -> logsoftmax\ntrain { loss nll, opt adamw }\n",
        "input 3x8x8\nconv 4 k4 s4 -> tokens -> mha 2 -> ln -> take 0 -> linear 3\n",
        "input 6 of 9\nembed 4 -> lstm 5 -> linear 9\ntrain { clip 0.01, opt sgd lr=1 }\n",
    ],
    ids=["ce", "mse", "bce", "segmentation", "nll", "tokens", "clipped"],
)
def test_every_loss_and_shape_is_computed_alike(text, tmp_path):
    pytest.importorskip("torch")
    net = compile_text(text, "net")
    kinds = [NumpyModule, Interpreter, TorchEager] + [TorchChannelsLast] * (len(net.graph.input_shape) == 3)
    outputs, losses = [], []
    for kind in kinds:
        own = worker.Worker(Job(net, f"{kind.__module__}:{kind.__name__}", 4, 1, 0, "auto"))
        own.base()
        own.build()
        if kind is NumpyModule:
            for array in own.contestant.model.params.values():
                array *= 0.9
            own.contestant.model.save(str(tmp_path / "w.safetensors"))
        own.load(str(tmp_path / "w.safetensors"))
        outputs.append(own.output())
        losses.append(np.array(own.losses(3)))
    for output, loss in zip(outputs, losses, strict=True):
        assert difference(output, outputs[0]) < 1e-5 and difference(loss, losses[0]) < 1e-4


def test_pytorch_steps_with_its_fused_optimizer():
    pytest.importorskip("torch")
    own = TorchEager(Job(compile_text(TINY + "train { opt adamw decay=matrices }"), "", 4, 1, 0, "auto"))
    own.build()
    assert own.optimizer.defaults["fused"] and [group["weight_decay"] for group in own.optimizer.param_groups][1] == 0


@pytest.mark.parametrize(("level", "workers"), [(0, "auto"), (2, "threads"), (2, "auto")])
def test_the_process_of_the_module_does_not_write_it(level, workers, monkeypatch):
    net = compile_text(TINY)
    write_module(net, level, workers)
    sent = pickle.loads(pickle.dumps(net))
    for emitter in ("numpy.emitter.emit_numpy", "fast.emitter.emit_fast"):
        monkeypatch.setattr(f"netdsl.targets.{emitter}", lambda *given: pytest.fail("written again"))
    own = worker.Worker(Job(sent, f"{NumpyModule.__module__}:NumpyModule", 4, 1, level, workers))
    own.base()
    own.build()
    assert own.output().shape == (4, 4)
    own.contestant.model.close()


def test_a_contestant_with_wrong_gradients_is_not_measured(monkeypatch):
    monkeypatch.setattr(match._Match, "measure", lambda self: pytest.fail("measured"))
    message = "`WrongGradients` and `interpreter` do not compute the same: the losses before and after a step differ"
    with pytest.raises(Disagreement, match=message):
        bench(compile_text(TINY), OPTIONS, [OWN[1], planted("WrongGradients")])


def test_losses_are_compared_only_without_random_layers():
    net = compile_text(TINY.replace("relu", "relu -> dropout 0.5"))
    assert {r.loss_agreement for r in bench(net, OPTIONS, OWN).results.values()} == {None}


def test_failed_contestants_are_named_and_the_others_go_on():
    reasons = {
        "Raises": "ValueError: the moon is full\nTraceback",
        "Leaves": "its process ended with exit code 7\ngood bye",
        "Killed": "its process ended with exit code -9 (SIGKILL)",
    }
    found = bench(compile_text(TINY), OPTIONS, [*map(planted, reasons), *OWN])
    assert list(found.failures) == ["Killed", "Raises", "Leaves"]
    assert all(found.failures[name].startswith(reason) for name, reason in reasons.items())
    assert {name: len(result.times["train"]) for name, result in found.results.items()} == {
        "numpy": 2,
        "interpreter": 2,
    }


def test_pytorch_can_be_measured_alone():
    pytest.importorskip("torch")
    found = bench(compile_text(TINY), OPTIONS, [ENTRIES[2]])
    assert not found.failures and found.results["torch"].agreement == 0


def test_nobody_left_is_an_error():
    with pytest.raises(UserError, match="every contestant failed; Raises: ValueError: the moon is full"):
        bench(compile_text(TINY), OPTIONS, [planted("Raises")])


def test_missing_packages_leave_contestants_out(monkeypatch):
    monkeypatch.setattr(match, "installed_version", lambda package: None)
    usable, notes = match.available(ENTRIES, compile_text(TINY).graph)
    assert usable == OWN
    assert notes[0] == "torch is left out, not installed: torch (`pip install 'netdsl[torch]'`)"
    hint = "(`pip install 'netdsl[bench]'`)"
    assert notes[-2] == f"onnxruntime is left out, not installed: torch, onnx, onnxscript, onnxruntime {hint}"
    assert notes[-1] == f"jax is left out, not installed: jax, jaxlib {hint}"


@pytest.mark.parametrize("spec", ["input 4\nlinear 2\n", "input 2x9 map\nconv 2 k3\n"], ids=["vector", "signal"])
def test_channels_last_needs_images_or_volumes(spec):
    pytest.importorskip("torch")
    usable, notes = match.available(ENTRIES[:4], compile_text(spec).graph)
    assert [entry.name for entry in usable] == ["numpy", "interpreter", "torch"]
    assert notes == ["torch_channels_last is left out: the input is no image and no volume"]


@pytest.mark.parametrize("shape, other", [("2x12 map", 2), ("1x4x6x6", 3)], ids=["signal", "volume, channels last"])
def test_signals_and_volumes_are_measured(shape, other):
    pytest.importorskip("torch")
    text = f"input {shape}\nconv 4 k3 p1 -> relu -> pool 2 -> flatten -> linear 3\n"
    report = bench(compile_text(text), Options(batch=4, threads=1, level=2, steps=1), [ENTRIES[0], ENTRIES[other]])
    assert len(report.results) == 2 and not report.failures
    assert all(result.agreement <= 1e-3 for result in report.results.values())


def test_what_a_contestant_prints_is_no_answer():
    assert not bench(compile_text(TINY), OPTIONS, [planted("Talks")]).failures


def test_every_library_is_told_the_number_of_threads(monkeypatch):
    seen = []
    monkeypatch.setattr(match, "difference", lambda found, expected: seen.append(found.tolist()) or 0.0)
    bench(compile_text(TINY), Options(batch=2, threads=3, level=0, steps=1), [planted("Environment")])
    assert seen[0] == [3.0] * 5


@pytest.mark.skipif(not HAS_PROC, reason="reads /proc")
def test_memory_counts_what_children_hold_for_themselves():
    result = bench(compile_text(TINY), OPTIONS, [planted("Hoards")]).results["Hoards"]
    assert 100e6 <= result.peak - result.base < 150e6


@pytest.mark.skipif(not HAS_PROC, reason="reads /proc")
def test_memory_that_is_shared_counts_once_and_what_was_before_the_network_does_not():
    result = bench(compile_text(TINY), OPTIONS, [planted("Shares")]).results["Shares"]
    assert result.base < 100e6 and 50e6 <= result.peak - result.base < 75e6


def test_who_uses_a_processor_while_it_waits_is_named():
    notes = bench(compile_text(TINY), Options(4, 1, 0, steps=1), [planted("Spins"), OWN[1]]).notes
    assert "Spins used a processor while it waited, which disturbed the others" in notes
    assert not any(note.startswith("interpreter") for note in notes)


def test_nothing_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = descendants(os.getpid())
    with pytest.raises(KeyboardInterrupt):
        bench(compile_text(TINY), OPTIONS, OWN, on_progress=interrupt)
    assert not list(tmp_path.iterdir()) and descendants(os.getpid()) == before


def interrupt(event):
    if event.total:
        raise KeyboardInterrupt


def test_each_contestant_goes_first_in_turn():
    order = []
    bench(
        compile_text(TINY),
        Options(4, 1, 0, steps=8),
        OWN,
        lambda event: order.append((event.what.partition(":")[0], event.done)) if event.total else None,
    )
    assert order[-4:] == [("numpy", 0), ("interpreter", 1), ("interpreter", 2), ("numpy", 3)]


def test_every_step_of_the_preparations_is_counted_and_a_wait_is_told():
    events = []
    bench(compile_text(TINY), Options(4, 1, 0, steps=5), [planted("Dawdles"), OWN[1]], events.append)
    steps = [event for event in events if event.steps and not event.seconds]
    assert [event.step for event in steps] == [*range(1, 15)] and {event.steps for event in steps} == {14}
    waits = [event for event in events if event.seconds]
    assert {event.what for event in waits} >= {"Dawdles: making its network"} and not any(e.total for e in waits)
    turns = [event for event in events if event.total]
    assert turns[0].left is None and turns[-1].left > 0


def test_long_steps_are_made_less_often():
    assert [match.num_steps(None, seconds, 5) for seconds in (0, 1e-3, 4.0, 60)] == [20, 20, 7, 5]
    assert match.num_steps(7, 60, 2) == 7


@pytest.mark.parametrize("total, rounds", [(20, 5), (7, 3), (5, 5), (2, 1)])
def test_steps_are_spread_evenly_over_the_rounds(total, rounds):
    shares = [share(total, index, rounds) for index in range(rounds)]
    assert sum(shares) == total and max(shares) - min(shares) <= 1


def test_difference_is_relative_to_the_largest_and_infinite_for_what_is_no_number():
    nan, inf = float("nan"), float("inf")
    assert difference(np.array([1.0, 3.9]), np.array([1.0, 4.0])) == pytest.approx(0.025)
    assert difference(np.array([nan, inf, 1]), np.array([nan, inf, 1])) == 0
    assert difference(np.array([0.5]), np.array([0.0])) == 0.5
    for found, expected in (([nan], [1.0]), ([1.0], [nan]), ([inf], [-inf]), ([1.0, 2.0], [1.0])):
        assert difference(np.array(found), np.array(expected)) == inf


def test_warm_up_ends_when_two_steps_take_as_long(monkeypatch):
    for lengths, expected in (([9, 5, 5.1, 1], 5.1), ([9, 5, 1, 1], 1), ([1, 2] * 9, 2)):
        steps = iter(lengths)
        monkeypatch.setattr(worker, "timed", lambda ready, count, steps=steps: [next(steps) for _ in range(count)])
        assert worker.warm_up(lambda: None) == expected


def test_the_first_of_quick_steps_in_a_turn_is_not_counted():
    made = []
    assert len(worker.turn(lambda: lambda: made.append(0), 3)) == 3 and len(made) > 4


def test_drawing_samples_is_not_timed():
    now = [0.0]

    def ready():
        now[0] += 100
        return step

    def step():
        now[0] += 1

    assert worker.timed(ready, 3, clock=lambda: now[0]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "how", [Device("cpu", "bfloat16"), Device("cpu", is_channels_last=True), Device("cpu", "float16", False, True)]
)
def test_pytorch_computes_where_and_how_the_job_says_and_about_the_same(how):
    net = compile_text("input 2x6x6\nconv 3 k3 -> relu\nflatten -> linear 4\n", "tiny")
    x, y = random_batch(net, 6, 0)
    made, weights = [], None
    for device in (Device("cpu"), how):
        one = TorchEager(Job(net, "", 6, 1, 0, "auto", device=device))
        one.build()
        placed = one.placed(x)
        weights = weights or one.module.state_dict()
        one.module.load_state_dict(weights)
        weights = {name: value.clone() for name, value in weights.items()}
        made.append((one.as_array(one.inference()(placed)), one.training()(placed, y)))
        one.settings.close()
    assert placed.is_contiguous(memory_format=torch.channels_last) == how.is_channels_last
    assert made[1][0].dtype == np.float32
    np.testing.assert_allclose(made[1][0], made[0][0], rtol=0.1, atol=0.1 if how.amp else 1e-5)
    np.testing.assert_allclose(made[1][1], made[0][1], rtol=0.1 if how.amp else 1e-5)


def test_the_report_says_where_pytorch_computes_where_somebody_chose():
    net = compile_text(TINY, "tiny")
    assert match.described(Device("cpu"), net.graph) is None
    named = match.described(Device("cpu", "bfloat16", is_channels_last=True), net.graph)
    assert named == f"{torch.__version__.split('+')[0]} on cpu, bfloat16, channels last"
    known = {"cpu": "a processor", "cores": 2, "numpy": "2", "blas": "some", "torch": "2"}
    plain, told = (Report("tiny", 6, 1, 2, known, {"numpy": Result({"train": [1.0]})}, device=d) for d in (None, named))
    assert f"PyTorch {named}; NumPy on the processor" in str(told) and "on the processor" not in str(plain)
    assert told.as_dict()["device"] == named and "device" not in plain.as_dict()


def test_a_device_that_is_not_there_or_does_not_fit_is_refused_before_anything_starts():
    net = compile_text("input 4\nlinear 2\n", "tiny")
    for device in (Device("cuda:77"), Device("cpu", is_channels_last=True)):
        with pytest.raises(UserError, match="no device `cuda:77` here|is for images and volumes"):
            match.bench(net, match.Options(6, 1, 0, device=device))
