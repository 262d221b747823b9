"""Labels that would break an emitted module are refused; file names become identifiers."""

import keyword

import pytest

from netdsl.ground.names import class_name, identifier, reserved
from netdsl.targets.registry import reserved_names


def test_every_public_attribute_of_a_pytorch_module_is_reserved():
    torch = pytest.importorskip("torch")
    public = [name for name in dir(torch.nn.Module()) if not name.startswith("_") and name != "T_destination"]
    assert [name for name in public if not reserved(name, reserved_names())] == []


@pytest.mark.parametrize("name", ["class", "match", "__init__", "_w", "logits", "a" * 65])
def test_a_name_that_would_change_the_module_is_reserved(name):
    assert reserved(name, reserved_names())


@pytest.mark.parametrize("name", ["layer1", "downsample", "fc", "conv1", "features"])
def test_ordinary_names_are_not(name):
    assert reserved(name, reserved_names()) is None


@pytest.mark.parametrize(
    "stem", ["My-Net 2", "3d", "", "class", "ünï", "con", "numpy", "a" * 300, 'x"""', "..", "a\nb"]
)
def test_any_file_name_becomes_a_module_and_a_class(stem):
    name = identifier(stem)
    assert name.isidentifier()
    assert name.isascii()
    assert not keyword.iskeyword(name)
    assert class_name(name).isidentifier()
    assert class_name(name) not in ("Model", "Network", "None", "True")
