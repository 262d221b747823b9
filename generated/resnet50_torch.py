"""Resnet50 in PyTorch, 3x224x224 -> 1000, 25,557,032 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (3, 224, 224)


class NeckDownsample(nn.Module):
    """block neck(c, s=1), where s != 1 or in.c != 4 * c"""

    def __init__(self, in_channels, c, s=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, c, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, stride=s, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)
        self.conv3 = nn.Conv2d(c, 4 * c, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * c)
        self.downsample = nn.Sequential(
            nn.Conv2d(in_channels, 4 * c, 1, stride=s, bias=False),
            nn.BatchNorm2d(4 * c),
        )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))  # (N, c, ...)
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))  # (N, 4 * c, ...)
        return torch.relu(y + self.downsample(x))


class Neck(nn.Module):
    """block neck(c, s=1), where s == 1 and in.c == 4 * c"""

    def __init__(self, in_channels, c, s=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, c, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, stride=s, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)
        self.conv3 = nn.Conv2d(c, 4 * c, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * c)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))  # (N, c, ...)
        y = torch.relu(self.bn2(self.conv2(y)))
        x = self.bn3(self.conv3(y)) + x  # (N, 4 * c, ...)
        return torch.relu(x)


class Resnet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool1 = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(NeckDownsample(64, 64), *(Neck(256, 64) for _ in range(2)))
        self.layer2 = nn.Sequential(
            NeckDownsample(256, 128, s=2),
            *(Neck(512, 128) for _ in range(3)),
        )
        self.layer3 = nn.Sequential(
            NeckDownsample(512, 256, s=2),
            *(Neck(1024, 256) for _ in range(5)),
        )
        self.layer4 = nn.Sequential(
            NeckDownsample(1024, 512, s=2),
            *(Neck(2048, 512) for _ in range(2)),
        )
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))  # (N, 64, 112, 112)
        x = self.pool1(x)  # (N, 64, 56, 56)
        x = self.layer1(x)  # (N, 256, 56, 56)
        x = self.layer2(x)  # (N, 512, 28, 28)
        x = self.layer3(x)  # (N, 1024, 14, 14)
        x = self.layer4(x)  # (N, 2048, 7, 7)
        x = x.mean(dim=(2, 3))  # (N, 2048)
        return self.fc(x)  # (N, 1000)


Model = Resnet50


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
