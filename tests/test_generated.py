"""generated/ is what the compiler writes today, and every module in it is run."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL

from netdsl.pipeline import compile_file, run_module
from netdsl.targets.torch.running import torch_model
from netdsl.verify.batches import in_dtype, random_input

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "generated"
FAST = ("lenet", "bn_cnn", "resnet20", "mnist1d_cnn", "mnist1d_gru", "char_gpt")  # shown at -O2, too
FOR_CUPY = ("lenet", "resnet20")  # shown for CuPy, too


def test_the_numpy_module_is_current(spec, golden):
    golden(GENERATED / f"{spec.stem}_numpy.py", compile_file(spec).numpy_source())


@pytest.mark.parametrize("name", FAST)
def test_the_fast_numpy_module_is_current(name, golden):
    golden(GENERATED / f"{name}_numpy_O2.py", compile_file(ROOT / f"specs/{name}.net").numpy_source(2))


@pytest.mark.parametrize("name", FOR_CUPY)
def test_the_cupy_module_is_current(name, golden):
    golden(GENERATED / f"{name}_cupy.py", compile_file(ROOT / f"specs/{name}.net").text("cupy"))


def test_the_torch_module_is_current(spec, golden):
    golden(GENERATED / f"{spec.stem}_torch.py", compile_file(spec).torch_source())


def test_nothing_stale_is_in_generated():
    expected = {f"{s.stem}_{t}.py" for s in (ROOT / "specs").glob("*.net") for t in ("numpy", "torch")}
    expected |= {f"{name}_numpy_O2.py" for name in FAST} | {f"{name}_cupy.py" for name in FOR_CUPY}
    assert {p.name for p in GENERATED.glob("*.py")} == expected


ALONE = """
import sys
for name in list(sys.modules):
    assert not name.startswith(("netdsl", "torch")), name

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("netdsl", "torch", "lark", "jinja2"):
            raise ImportError(f"{name} is not to be had here")

sys.meta_path.insert(0, Refuse())
import runpy
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


ALONE_AND_SLOW = pytest.mark.slow("what is emitted at -O0, trained alone")
AT_LEVELS = [pytest.param(s, 0, marks=ALONE_AND_SLOW if s.stem in ("bn_cnn", "lenet") else ()) for s in SMALL]
AT_LEVELS += [(s, 2) for s in SMALL]


@pytest.mark.parametrize(("small_spec", "level"), AT_LEVELS, ids=lambda value: getattr(value, "stem", None))
def test_the_numpy_module_trains_in_an_interpreter_that_has_only_numpy(small_spec, tmp_path, level):
    module = tmp_path / "module.py"
    module.write_text(compile_file(small_spec).numpy_source(level))
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, module], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in done.stdout.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_the_torch_module_gives_what_the_numpy_module_gives(small_spec):
    torch = pytest.importorskip("torch")
    numpy_module = run_module((GENERATED / f"{small_spec.stem}_numpy.py").read_text(), "numpy_module")
    torch_module = run_module((GENERATED / f"{small_spec.stem}_torch.py").read_text(), "torch_module")
    model = numpy_module.Model(seed=3, dtype=np.float64)
    other = torch_module.Model().double().eval()
    weights = {**model.params, **model.buffers}
    other.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, strict=False)
    names = [name for name in other.state_dict() if not name.endswith("num_batches_tracked")]
    assert sorted(names) == sorted(weights)
    assert [name for name, _ in other.named_parameters()] == list(model.params)
    x = random_input(compile_file(small_spec).graph.input, 4, np.random.default_rng(0))
    x = in_dtype(x, "float64")
    with torch.no_grad():
        expected = other(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.forward(x), expected, rtol=1e-8, atol=1e-12)


def test_the_module_of_a_built_network_has_its_weights(small_spec):
    pytest.importorskip("torch")
    network = compile_file(small_spec).build(seed=1)
    state = torch_model(compile_file(small_spec), network).state_dict()
    assert all(np.array_equal(state[name].numpy(), array) for name, array in network.params.items())


def test_emitted_text_does_not_depend_on_hash_seed_directory_or_locale(tmp_path):
    texts = set()
    for number, (seed, locale) in enumerate([("0", "C"), ("1", "C.UTF-8"), ("77", "POSIX")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": f"UTC-{number}"}
        command = [sys.executable, "-m", "netdsl", "compile", ROOT / "specs/bn_cnn.net", "--target", "all", "-o", "."]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        fast = [*command[:5], "-O2", "-o", "fast.py"]
        subprocess.run(fast, cwd=folder, env=environment, check=True, capture_output=True)
        texts.add(b"".join(path.read_bytes() for path in sorted(folder.iterdir())))
    assert len(texts) == 1
