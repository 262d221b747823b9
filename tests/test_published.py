"""Published networks beside those of specs/: their parameter counts, and one forward pass in NumPy and PyTorch.

Counts are torchvision's; Xception, Darknet-53: timm's; EDSR: the authors' baseline for factor 2; DCGAN:
PyTorch's tutorial. Inception v3 is without its auxiliary head. U-Net with bilinear upsampling: milesial/Pytorch-UNet,
which for one class has 65 params less, 17,262,977. MobileNet: Keras, YOLOv3-tiny: Darknet, see STORED. ResNet-50 with
CBAM's channel attention: the paper's 28.09 M, those of SE-ResNet-50. The TCN: the authors' code has 66,910, of which
400 are the gains of its weight norm. The paper of U-Net has no count, but the sizes of all its maps. EEGNet: table 3 of
the paper. 3-d U-Net: the paper's number, which is without batch norm's. MLP-Mixer: timm's. M5: PyTorch's tutorial. The
networks for time series: counted from Ismail Fawaz' code, for one channel and two classes.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from netdsl.pipeline import compile_file, compile_text, format_text
from netdsl.targets.torch.running import torch_model

PUBLISHED = Path(__file__).parent / "published"
SPECS = sorted(PUBLISHED.glob("*.net"))
LARGE = ("cbam_resnet50", "convnext_tiny", "darknet53", "densenet161", "edsr", "efficientnet_v2_s", "inception_v3")
LARGE += ("mixer_b16", "resnext50_32x4d", "wide_resnet50_2", "xception")
SMALLER = {  # what is computed, where an input of 75x75, the least for Inception, is too small or the widths too large
    "unet_572": [("1x572x572", "1x188x188"), ("unet(64, 4)", "unet(4, 4)")],
    "unet_bilinear": [("3x256x256", "3x48x48")],
    "unet3d": [("3x116x132x132", "3x20x22x24"), ("unet(32, 3)", "unet(4, 1)")],
    "mixer_b16": [("3x224x224", "3x32x48"), ("linear 196", "linear 6"), ("map 14x14", "map 2x3")],
}
STORED = {"yolov3_tiny": 8_858_734, "mobilenet_keras": 4_253_864}
"""Params and running statistics: the numbers in yolov3-tiny.weights, and what Keras' summary calls all params."""


def in_parts(specs):
    """The specs, of which those of large networks are slow tests."""
    slow = pytest.mark.slow("large published networks")
    return [pytest.param(path, marks=slow if path.stem in LARGE else (), id=path.stem) for path in specs]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # it says that it pads a copy, as we do
@pytest.mark.parametrize("spec", in_parts(SPECS))
def test_a_published_network_has_its_params_and_computes_the_same_in_pytorch(spec):
    torch = pytest.importorskip("torch")
    text = spec.read_text(encoding="utf-8")
    compile_file(spec)  # `expect params` holds at the published input size
    assert "expect params ==" in text
    assert format_text(text)[0] == text
    small = "\n".join(line for line in text.splitlines() if not line.startswith("expect"))
    for old, new in SMALLER.get(spec.stem, []):
        assert old in small
        small = small.replace(old, new)
    small = re.sub(r"input 3x\d\d\dx\d\d\d", "input 3x75x75", small)
    net = compile_text(small, spec.stem)
    network = net.build(seed=0, dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, *net.graph.input_shape))
    with torch.no_grad():
        expected = torch_model(net, network).eval()(torch.from_numpy(x)).numpy()
    # 1e-6: the running statistics are fresh, so nothing is normalised, and EfficientNetV2-S amplifies rounding by 1e9
    np.testing.assert_allclose(network.forward(x), expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", STORED)
def test_with_its_running_statistics_it_has_as_many_numbers_as_its_file(name):
    graph = compile_file(PUBLISHED / f"{name}.net").graph
    assert graph.num_params + sum(buffer.size for _, buffer in graph.buffer_specs()) == STORED[name]


def test_the_maps_of_unet_have_the_sizes_of_the_paper_s_figure():
    graph = compile_file(PUBLISHED / "unet_572.net").graph
    sides = [570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28, 56, 54, 52, 104, 102, 100, 200, 198, 196]
    sides += [392, 390, 388, 388]
    seen = [node.shape[1] for node in graph.nodes if node.op in ("conv", "pool", "up")]
    assert seen == sides
    joined = [node.shape for node in graph.nodes if node.op == "cat"]
    assert joined == [(1024, 56, 56), (512, 104, 104), (256, 200, 200), (128, 392, 392)]


def test_a_temporal_convolutional_network_sees_no_later_step():
    text = (PUBLISHED / "tcn.net").read_text(encoding="utf-8").split("crop")[0].replace("784", "40")
    network = compile_text(f"{text}\ntrain {{ loss mse }}").build(dtype="float64")
    x = np.random.default_rng(0).standard_normal((1, 1, 40))
    later = x.copy()
    later[..., 25:] += 1
    changed = (network.forward(x) != network.forward(later)).any(axis=(0, 1))
    assert np.flatnonzero(changed)[0] == 25


def test_a_unet_written_by_hand_takes_the_bilinear_one_s_weights_and_agrees():
    """unet_model.py and unet_parts.py of milesial/Pytorch-UNet, for sizes that need no padding."""
    torch = pytest.importorskip("torch")
    from torch import nn

    class Double(nn.Module):
        def __init__(self, given, c, mid):
            super().__init__()
            self.double_conv = nn.Sequential()
            for before, after in ((given, mid), (mid, c)):
                conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
                self.double_conv.extend([conv, nn.BatchNorm2d(after), nn.ReLU()])

        def forward(self, x):
            return self.double_conv(x)

    class Down(nn.Module):
        def __init__(self, given, c):
            super().__init__()
            self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(given, c, c))

        def forward(self, x):
            return self.maxpool_conv(x)

    class Up(nn.Module):
        def __init__(self, given, c):
            super().__init__()
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = Double(given, c, given // 2)

        def forward(self, x, skip):
            return self.conv(torch.cat([skip, self.up(x)], dim=1))

    class Out(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(64, 2, 1)

    parts = {"inc": Double(3, 64, 64), "outc": Out()}
    parts |= {f"down{i}": Down(64 * 2 ** (i - 1), min(512, 64 * 2**i)) for i in range(1, 5)}
    parts |= {f"up{i}": Up(2048 // 2**i, max(64, 512 // 2**i)) for i in range(1, 5)}
    reference = nn.ModuleDict(parts).double().eval()
    text = (PUBLISHED / "unet_bilinear.net").read_text(encoding="utf-8").replace("256x256", "16x32")
    network = compile_text(text).build(seed=0, dtype="float64")
    state = {name: torch.from_numpy(array) for name, array in (network.params | network.buffers).items()}
    missing, more = reference.load_state_dict(state, strict=False)
    assert not more and all(name.endswith("num_batches_tracked") for name in missing)
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 32))
    with torch.no_grad():
        skips = [reference["inc"](torch.from_numpy(x))]
        for i in range(1, 5):
            skips.append(reference[f"down{i}"](skips[-1]))
        y = skips.pop()
        for i in range(1, 5):
            y = reference[f"up{i}"](y, skips.pop())
        expected = reference["outc"].conv(y).numpy()
    np.testing.assert_allclose(network.forward(x), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
