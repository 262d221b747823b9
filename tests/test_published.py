"""Published networks beside those of specs/: their parameter counts, and one forward pass in NumPy and PyTorch.

Counts are torchvision's; Xception, Darknet-53: timm's; EDSR: the authors' baseline for factor 2; DCGAN:
PyTorch's tutorial. Inception v3 is without its auxiliary head.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from netdsl.pipeline import compile_file, compile_text, format_text
from netdsl.verify import torch_model

SPECS = sorted((Path(__file__).parent / "published").glob("*.net"))


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.stem)
def test_a_published_network_has_its_params_and_computes_the_same_in_pytorch(spec):
    torch = pytest.importorskip("torch")
    text = spec.read_text(encoding="utf-8")
    compile_file(spec)  # `expect params` holds at the published input size
    assert "expect params ==" in text
    assert format_text(text)[0] == text
    small = re.sub(r"input 3x\d\d\dx\d\d\d", "input 3x75x75", text)  # the least for Inception
    net = compile_text("\n".join(line for line in small.splitlines() if not line.startswith("expect out")), spec.stem)
    network = net.build(seed=0, dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, *net.graph.input_shape))
    with torch.no_grad():
        expected = torch_model(net, network).eval()(torch.from_numpy(x)).numpy()
    # 1e-6: the running statistics are fresh, so nothing is normalised, and EfficientNetV2-S amplifies rounding by 1e9
    np.testing.assert_allclose(network.forward(x), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
