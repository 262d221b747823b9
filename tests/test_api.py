"""The public face: what a user of Python or a notebook calls."""

import gc
import inspect
import linecache

import numpy as np
import pytest

import netdsl

SPEC = "input 2\nlinear 16 -> relu\nlinear 3\ntrain {\n  data spiral\n  epochs 3\n  opt adam lr=1e-2\n}\n"


def test_a_net_is_trained_and_looked_into_from_python(tmp_path):
    net = netdsl.compile_text(SPEC, "tiny")
    result = netdsl.train(net, tmp_path / "run", limit=300, epochs=2, opt="sgd lr=0.1 momentum=0.9", stop="patience=1")
    assert result.run == tmp_path / "run" and len(result.history) <= 2
    assert (
        "<svg" in result.history._repr_html_() and netdsl.read_history(tmp_path / "run").epochs == result.history.epochs
    )
    with netdsl.open_run(tmp_path / "run") as view:
        found = view.model.predict(view.dataset.normalized(view.dataset.x_test))
        assert np.mean(found == view.dataset.y_test) == result.test_accuracy
        assert view.net.recipe.options == {"lr": 0.1, "momentum": 0.9} and view.net.recipe.patience == 1


def test_the_emitted_modules_are_at_hand_with_their_kernels_and_lines():
    net = netdsl.compile_text(SPEC, "tiny")
    module = net.numpy_module()
    loss, dlogits = module.cross_entropy(np.zeros((2, 3)), np.array([0, 1]))
    np.testing.assert_allclose(loss, np.log(3))
    assert inspect.getsource(module.linear_forward) in net.numpy_source()
    file, model = module.linear_forward.__code__.co_filename, module.Model(seed=0)
    torch = pytest.importorskip("torch")
    assert isinstance(net.torch_model(), torch.nn.Module)
    assert model.params.keys() == dict(net.torch_model().named_parameters()).keys()
    assert file in linecache.cache
    del module, model, dlogits
    gc.collect()
    assert file not in linecache.cache, "the lines go with the module"


def test_a_data_set_is_loaded_by_its_name():
    data = netdsl.load_data("spiral")
    assert data.x_train.shape[1:] == (2,) and len(data.classes) == 3


def test_a_wrong_setting_is_a_user_error_and_makes_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = netdsl.compile_text(SPEC, "tiny")
    for settings in ({"opt": "sdg"}, {"augment": "shift=1"}, {"data": "nothing"}, {"ema": 2}):
        with pytest.raises(netdsl.UserError):
            netdsl.train(net, **settings)
    assert not list(tmp_path.iterdir())
