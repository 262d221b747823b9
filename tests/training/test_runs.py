"""Run folders: made once, complete, and read back with a clear word about whatever is wrong."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.datasets import load_dataset
from netdsl.training.runs.config import config_of, write_setup
from netdsl.training.runs.engine import Engine
from netdsl.training.runs.folder import load_run, new_run, read_run

SPEC = "input 2\nlinear 4 -> relu\nlinear 3\ntrain {\n  data spiral\n  opt adam lr=1e-2 betas=(0.8, 0.9)\n}\n"
ENGINE = Engine("numpy", 2, "threads", 1)


@pytest.fixture
def run(tmp_path):
    net = compile_text(SPEC, "tiny")
    path = new_run("tiny", tmp_path / "run")
    write_setup(path, SPEC, config_of(net, load_dataset("spiral", None), ENGINE, 100))
    return path


def damage(run, **changes):
    values = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**values, **changes}))


def test_runs_are_numbered_by_the_first_free_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "lenet-2").mkdir(parents=True)
    assert [str(new_run("lenet", None)) for _ in range(3)] == ["runs/lenet-1", "runs/lenet-3", "runs/lenet-4"]


def test_runs_that_start_at_once_get_different_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: new_run("a", None), range(40)))) == 40


def test_an_explicit_folder_must_be_new_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_run("a", tmp_path / "empty") == tmp_path / "empty"
    assert (new_run("a", tmp_path / "deep" / "new") / "checkpoints").is_dir()
    with pytest.raises(UserError, match="is not empty"):
        new_run("a", tmp_path / "empty")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        new_run("a", tmp_path / "file")


def test_the_config_comes_back_as_it_was(run):
    found, net = read_run(run), compile_text(SPEC, "tiny")
    assert found.config == config_of(net, load_dataset("spiral", None), ENGINE, 100)
    assert found.config.engine == ENGINE
    assert found.config.recipe == net.recipe and found.data == "spiral"
    assert (run / "model.net").read_text() == SPEC


def test_the_environment_is_kept(run):
    env = json.loads((run / "env.json").read_text())
    assert {"python", "numpy", "blas", "platform", "cpus"} <= env.keys()


def test_data_in_a_file_is_kept_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = compile_text(SPEC.replace("data spiral", 'data "my.npz"'), "tiny")
    config = config_of(net, load_dataset("spiral", None), Engine(), None)
    assert config.data_path == str(tmp_path / "my.npz")


def test_what_is_no_run_folder_is_refused(tmp_path, run):
    with pytest.raises(UserError, match="not a folder"):
        read_run(tmp_path / "nothing")
    with pytest.raises(UserError, match="has no `config.json`"):
        read_run(tmp_path)
    (run / "model.net").unlink()
    with pytest.raises(UserError, match="has no `model.net`"):
        read_run(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '{"spec": "a"}', "\x00", '"x"', "[" * 100_000])
def test_a_damaged_config_is_one_line(run, text):
    (run / "config.json").write_text(text)
    with pytest.raises(UserError, match="config.json` is damaged") as caught:
        read_run(run)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {}},
        {"recipe": None},
        {"recipe": {"options": 3}},
        {"backend": "x"},
        {"mean": []},
        {"mean": "ab"},
        {"input_shape": None},
        {"classes": 3},
        {"std": [1, 2]},
        {"std": ["x"]},
        {"level": 3},
        {"workers": "x"},
        {"choices": []},
        {"threads": 0},
        {"threads": "x"},
    ],
    ids=str,
)
def test_wrong_values_in_the_config_are_one_line(run, changes):
    damage(run, **changes)
    with pytest.raises(UserError, match="is damaged"):
        read_run(run)


def test_a_run_from_before_the_fast_module_is_one_of_the_textbook(run):
    values = json.loads((run / "config.json").read_text())
    del values["level"], values["workers"], values["choices"]
    (run / "config.json").write_text(json.dumps(values))
    assert read_run(run).config.engine == Engine("numpy", 0, "auto", 1)


@pytest.mark.parametrize(
    "change", [{"loss": "x"}, {"optimizer": 3}, {"seed": -1}, {"more": 1}, {"options": {}}], ids=str
)
def test_wrong_values_in_the_recipe_are_one_line(run, change):
    damage(run, recipe={**json.loads((run / "config.json").read_text())["recipe"], **change})
    with pytest.raises(UserError, match="is damaged"):
        read_run(run)


def test_a_run_without_checkpoints_says_so(run):
    with pytest.raises(UserError, match="no checkpoint `last`") as caught:
        load_run(read_run(run))
    assert caught.value.help == "no epoch was finished"
    with pytest.raises(UserError, match="no checkpoint `best`"):
        load_run(read_run(run), "best")
