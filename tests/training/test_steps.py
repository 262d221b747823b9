"""Runs that are counted in steps: cut into rows wherever the spec says, they learn what a run of epochs learns."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_runs import DATA, ENGINES, changed_net, kept, stop_after

from netdsl.cli import run as netdsl
from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import SpecError, TrainingFailed, UserError
from netdsl.language.train_block import with_entries
from netdsl.pipeline import compile_text
from netdsl.training.loop.epochs import train
from netdsl.training.loop.session import with_settings
from netdsl.training.loop.watch import Interrupted, Progress, Watch
from netdsl.training.runs.checkpoint import checkpoint_path, read_checkpoint, save_checkpoint
from netdsl.training.runs.course import Course, course_of
from netdsl.training.runs.folder import new_run
from netdsl.training.runs.history import Epoch, read_history
from netdsl.training.runs.state import read_state

NET = "input 3x8x8\ngap -> linear 3\n"
SPEC = "input 2\nlinear 8 -> relu -> linear 3\ntrain { data spiral, steps 20 every=8, batch 32, opt adam lr=0.01 }\n"


def net_of(**changes):
    return changed_net("adam", schedule="cosine", patience=None, **changes)


def weights(run, which="last"):
    return load_file(checkpoint_path(run, which))


def same(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("engine", ["interp", "fast", "torch"])
@pytest.mark.parametrize("every", [4, 5, 12])
def test_steps_of_three_epochs_are_three_epochs_wherever_the_rows_are(tmp_path, engine, every):
    runs = []
    for name, changes in (("epochs", {"epochs": 3}), ("steps", {"steps": 12, "every": every})):
        runs.append(new_run("tiny", tmp_path / name))
        train(net_of(**changes), DATA, ENGINES[engine], runs[-1])
    same(weights(runs[0]), weights(runs[1]))
    rows = read_history(runs[1])
    assert rows.column("step") == [*range(every, 12, every), 12]
    if every == 4:
        for one, other in zip(read_history(runs[0]), rows, strict=True):
            assert replace(one, seconds=0, samples_per_second=0) == replace(
                other, seconds=0, samples_per_second=0, step=None
            )


@pytest.mark.parametrize("engine", ["interp", "fast", "torch", "processes"])
def test_a_run_resumed_in_the_middle_of_a_row_has_the_bytes_of_one_never_stopped(tmp_path, engine):
    net = net_of(steps=11, every=3)
    whole = new_run("tiny", tmp_path / "whole")
    result = train(net, DATA, ENGINES[engine], whole)
    for step in (1, 3, 5, 8, 10):
        run = new_run("tiny", tmp_path / str(step))
        with pytest.raises(Interrupted, match=f"^stopped after step {step} of 11$"):
            train(net, DATA, ENGINES[engine], run, stop_after(step))
        again = train(net, DATA, ENGINES[engine], run, resume=True)
        assert kept(run) == kept(whole), step
        assert (again.test_loss, again.used.place) == (result.test_loss, result.used.place)


def test_a_run_goes_through_the_data_in_the_order_of_its_epochs_and_counts_its_samples(tmp_path):
    events = []
    train(net_of(steps=7, every=3), DATA, ENGINES["interp"], new_run("tiny", tmp_path / "run"), Watch(events.append))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.steps for event in steps] == [(step, 7) for step in range(1, 8)]
    assert [event.samples for event in steps] == [16, 32, 48, 15, 31, 47, 16]  # of 63 samples the fourth step has 15
    assert [event.samples_in_all for event in steps] == [48] * 3 + [47] * 3 + [16]
    assert {(event.epoch, event.epochs) for event in steps} == {(1, 3), (2, 3), (3, 3)}
    assert [event.step for event in events if isinstance(event, Epoch)] == [3, 6, 7]


def test_the_course_of_a_run():
    course = Course(steps=25, every=10, an_epoch=7, in_steps=True)
    assert [course.next_row(done) for done in (0, 9, 10, 20, 24)] == [10, 10, 20, 25, 25]
    assert [course.place(done) for done in (0, 6, 7, 24)] == [(1, 1), (1, 7), (2, 1), (4, 4)]
    assert course.stretches(3, 16) == [(1, 3, 7), (2, 0, 7), (3, 0, 2)]
    assert course.stretches(16, 16) == []
    assert course_of(Recipe(epochs=2), 7) == Course(14, 7, 7, False)
    assert [course_of(Recipe(steps=steps), 7).every for steps in (1, 9, 10, 2000, 2001)] == [1, 1, 1, 200, 201]


def test_patience_counts_rows(tmp_path):
    net = changed_net("sgd", patience=2, steps=40, every=2, schedule="const")
    net = net.with_recipe(replace(net.recipe, options={"lr": 1e-12}))
    result = train(net, DATA, ENGINES["interp"], new_run("tiny", tmp_path / "run"))
    assert result.history[-1].step < 40 and len(result.history) == result.used.epoch + 2


def test_what_fails_is_told_by_its_step(tmp_path):
    data = replace(DATA, x_train=DATA.x_train.astype(np.float32))
    data.x_train[:] = np.nan
    run = new_run("tiny", tmp_path / "run")
    with pytest.raises(TrainingFailed, match="training failed in step 1: the loss is not a finite number"):
        train(net_of(steps=6, augment={}), data, ENGINES["interp"], run)
    assert json.loads((run / "failure.json").read_text())["epoch"] == 1
    net = changed_net("sgd", steps=9, every=4, augment={}, ema=None, clip=None)
    net = net.with_recipe(replace(net.recipe, options={"lr": 1e30}))
    with pytest.raises(TrainingFailed, match="training failed (in|after) step [1-4]"):
        train(net, DATA, ENGINES["interp"], new_run("tiny", tmp_path / "other"))


# ---------------------------------------------------------------------------------------------- what is written


@pytest.mark.parametrize(
    "entry, steps, every",
    [
        ("steps 2000", 2000, None),
        ("steps 2000 every=250", 2000, 250),
        ("steps 5steps", 5, None),
        ("steps 7 every=7", 7, 7),
    ],
)
def test_the_entry(entry, steps, every):
    recipe = compile_text(f"{NET}train {{ {entry} }}").recipe
    assert (recipe.steps, recipe.every) == (steps, every)
    assert with_entries(Recipe(), {"steps": entry.removeprefix("steps ")}) == recipe


@pytest.mark.parametrize(
    "block, message, help",
    [
        ("steps 10, epochs 2", "`epochs` and `steps` both say how long the run is", "leave one of the two out"),
        ("epochs 2\nsteps 10", "`steps` and `epochs` both say how long the run is", "leave one of the two out"),
        ("steps", "`steps` takes how many there are", "write `steps 2000`"),
        ("steps 0", "`steps` must be a whole number of at least 1, not `0`", ""),
        ("steps 1e3", "`steps` must be a whole number of at least 1, not `1000.0`", "write `1000`"),
        ("steps 10 every=0", "`every` must be a whole number of at least 1, not `0`", ""),
        ("steps 10 every=11", "`every=11` is more than all of the 10 steps", "use `every=10` or less"),
        ("steps 10 eval_interval=5", "`steps` has no option `eval_interval`", "did you mean `every`?"),
        ("max_steps 10", "unknown entry `max_steps` in the train block", "did you mean `steps`?"),
        ("max_iters 10", "unknown entry `max_iters` in the train block", "did you mean `steps`?"),
        ("num_epochs 10", "unknown entry `num_epochs` in the train block", "did you mean `epochs`?"),
        ("eval_interval 5", "unknown entry `eval_interval` in the train block", "`steps 2000 every=5`"),
    ],
)
def test_wrong_entries_are_told(block, message, help):
    with pytest.raises(SpecError) as caught:
        compile_text(f"{NET}train {{\n{block}\n}}")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == message
    assert help in " ".join(diagnostic.help)


def test_settings_of_either_kind_win_over_the_spec():
    recipe = compile_text(f"{NET}train {{ steps 2000 every=250 }}").recipe
    assert with_settings(recipe, {"epochs": 3}) == replace(recipe, epochs=3, steps=None, every=None)
    assert with_settings(recipe, {"steps": 100}) == replace(recipe, steps=100, every=None)
    assert with_settings(Recipe(), {"steps": "100 every=20"}) == Recipe(steps=100, every=20)
    with pytest.raises(UserError, match="`epochs` and `steps` both say"):
        with_settings(recipe, {"epochs": 3, "steps": 9})


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.net").write_text(SPEC)
    return tmp_path


def test_the_command_line_tells_steps(here, capsys):
    assert netdsl(["train", "tiny.net", "--no-plots", "--limit", "200", "--out", "r"]) == 0
    out, err = capsys.readouterr()
    assert "step  8/20  loss" in err and "step 20/20  loss" in err and "weights of step " in err
    assert json.loads(out)["steps"] == 20 and "epochs" not in json.loads(out)
    assert (here / "r/metrics.csv").read_text().splitlines()[0].startswith("epoch,step,train_loss,")
    assert netdsl(["train", "--resume", "r"]) == 2
    assert "the run `r` is over after 20 steps\nhelp: `--steps 40` makes it longer" in capsys.readouterr().err
    assert netdsl(["train", "--resume", "r", "--epochs", "3"]) == 2
    assert "is counted in steps, not in epochs" in capsys.readouterr().err
    assert netdsl(["train", "--resume", "r", "--steps", "3"]) == 2
    assert "has 20 steps behind it, more than 3" in capsys.readouterr().err
    assert netdsl(["train", "--resume", "r", "--steps", "x"]) == 2
    assert "'x' is not a whole number" in capsys.readouterr().err
    assert netdsl(["train", "--resume", "r", "--steps", "27", "-q"]) == 0
    assert read_history(here / "r").column("step") == [8, 16, 20, 24, 27]
    config = json.loads((here / "r/config.json").read_text())["recipe"]
    assert (config["steps"], config["every"]) == (27, 8)
    report = (here / "r/report.html").read_text()
    told = dict(re.findall(r"<t[hd][^>]*>(\w[\w ]*)</t[hd]>\s*<td[^>]*>([^<]*)</td>", report))
    assert (told["steps"], told["every"]) == ("27", "8") and "epochs" not in told and "accumulate" not in told
    assert "of the best step" in report
    assert "--steps 54" in report and "twice as many steps" in report and ">Steps<" in report
    for command in (["eval", "r"], ["plot", "r", "curves"]):
        assert netdsl(command) == 0


def test_steps_and_epochs_on_the_command_line(here, capsys):
    assert netdsl(["train", "tiny.net", "-q", "--no-plots", "--limit", "200", "--steps", "5", "--out", "s"]) == 0
    assert read_history(here / "s").column("step") == [1, 2, 3, 4, 5]
    assert netdsl(["train", "tiny.net", "-q", "--no-plots", "--limit", "200", "--epochs", "2", "--out", "e"]) == 0
    assert read_history(here / "e").column("step") == [None, None]
    assert netdsl(["train", "--resume", "e", "--steps", "50"]) == 2
    assert "is counted in epochs, not in steps" in capsys.readouterr().err
    assert netdsl(["train", "tiny.net", "--epochs", "2", "--steps", "5"]) == 2
    assert netdsl(["train", "tiny.net", "--steps", "5 every=6"]) == 2
    assert "--steps: `every=6` is more than all of the 5 steps" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["0", "-3", "2.5", "x"])
def test_a_history_with_other_steps_is_damaged(here, capsys, step):
    assert netdsl(["train", "tiny.net", "-q", "--no-plots", "--limit", "200", "--out", "r"]) == 0
    file = here / "r/metrics.csv"
    file.write_text(file.read_text().replace("\n2,16,", f"\n2,{step},"))
    capsys.readouterr()
    assert netdsl(["plot", "r", "curves"]) == 2
    assert "`step` of epoch 2 is" in capsys.readouterr().err


@pytest.mark.parametrize("step", [0, -3, 2.5, "x", True])
def test_a_checkpoint_with_other_steps_is_damaged(tmp_path, step):
    run, net = new_run("tiny", tmp_path / "run"), net_of(steps=6, every=2)
    with pytest.raises(Interrupted):
        train(net, DATA, ENGINES["interp"], run, stop_after(3))
    last = checkpoint_path(run, "last")
    arrays = load_file(last)
    _, info = read_checkpoint(last, arrays, True)
    info["history"][0]["step"] = step
    save_checkpoint(last, arrays, info)
    with pytest.raises(UserError, match="holds weights, but not where training stood"):
        read_state(run, "last", arrays)
