"""Cifar100Resnet20 in PyTorch, 3x32x32 -> 100, 278,324 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (3, 32, 32)


class Basic(nn.Module):
    """block basic(c, s=1), where s == 1 and in.c == c"""

    def __init__(self, in_channels, c, s=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, c, 3, stride=s, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))  # (N, c, ...)
        x = self.bn2(self.conv2(y)) + x
        return torch.relu(x)


class BasicDownsample(nn.Module):
    """block basic(c, s=1), where s != 1 or in.c != c"""

    def __init__(self, in_channels, c, s=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, c, 3, stride=s, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, c, 1, stride=s, bias=False),
            nn.BatchNorm2d(c),
        )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))  # (N, c, ...)
        y = self.bn2(self.conv2(y))
        return torch.relu(y + self.downsample(x))


class Cifar100Resnet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Basic(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(
            BasicDownsample(16, 32, s=2),
            *(Basic(32, 32) for _ in range(2)),
        )
        self.layer3 = nn.Sequential(
            BasicDownsample(32, 64, s=2),
            *(Basic(64, 64) for _ in range(2)),
        )
        self.fc = nn.Linear(64, 100)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))  # (N, 16, 32, 32)
        x = self.layer1(x)
        x = self.layer2(x)  # (N, 32, 16, 16)
        x = self.layer3(x)  # (N, 64, 8, 8)
        x = x.mean(dim=(2, 3))  # (N, 64)
        return self.fc(x)  # (N, 100)


Model = Cifar100Resnet20


def answer(model, shape, shares=None):
    """`python MODULE.py --weights FILE X.npy...` prints what the network says of each sample.

    A file has x (N, ...), bytes or floats, or a single sample; one channel may be left out. shares: outputs (N, K) ->
    probabilities of the classes; None prints the outputs themselves.
    """
    import argparse

    import numpy as np
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    parser = argparse.ArgumentParser(description="What the network says of samples.")
    parser.add_argument("--weights", metavar="FILE", required=True, help="a .safetensors file")
    parser.add_argument("samples", metavar="X.npy", nargs="+", help="samples, or a single one; of a .npz its `x`")
    given = parser.parse_args()
    try:
        model.load_state_dict(load_file(given.weights))
        model.eval()
        for path in given.samples:
            x = np.load(path)
            x = x if isinstance(x, np.ndarray) else x["x"]
            is_short = shape in (x.shape, (1, *x.shape), (1, *x.shape[1:]))
            x = torch.from_numpy(x.reshape(-1, *shape) if is_short else x)
            x = x / 255 if x.dtype == torch.uint8 else x.float()
            with torch.no_grad():
                y = torch.cat([model(part) for part in x.split(256)])
            for i, row in enumerate(y if shares is None else shares(y)):
                said = f"class {row.argmax()}, probability {row.max():.6f}" if shares else row.numpy()
                print(f"{path} {i}: {said}")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    answer(Model(), INPUT_SHAPE, lambda y: y.softmax(dim=1))
