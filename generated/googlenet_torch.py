"""Googlenet in PyTorch, 3x224x224 -> 1000, 6,624,904 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (3, 224, 224)


class Cbr(nn.Module):
    """block cbr(c, k=1, s=1, p=0)"""

    def __init__(self, in_channels, c, k=1, s=1, p=0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, c, k, stride=s, padding=p, bias=False)
        self.bn = nn.BatchNorm2d(c, eps=0.001)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))  # (N, c, ...)


class Inception(nn.Module):
    """block inception(c1, c3r, c3, c5r, c5, cp)"""

    def __init__(self, in_channels, c1, c3r, c3, c5r, c5, cp):
        super().__init__()
        self.branch1 = Cbr(in_channels, c1)
        self.branch2 = nn.Sequential(Cbr(in_channels, c3r), Cbr(c3r, c3, k=3, p=1))
        self.branch3 = nn.Sequential(Cbr(in_channels, c5r), Cbr(c5r, c5, k=3, p=1))
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            Cbr(in_channels, cp),
        )

    def forward(self, x):
        y = self.branch1(x)  # (N, c1, ...)
        z = self.branch2(x)  # (N, c3, ...)
        a = self.branch3(x)  # (N, c5, ...)
        x = self.branch4(x)  # (N, cp, ...)
        return torch.cat([y, z, a, x], dim=1)  # (N, c1 + c3 + c5 + cp, ...)


class Googlenet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = Cbr(3, 64, k=7, s=2, p=3)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = Cbr(64, 64)
        self.conv3 = Cbr(64, 192, k=3, p=1)
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.pool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.pool4 = nn.MaxPool2d(2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.dropout1 = nn.Dropout(0.2)
        self.fc = nn.Linear(1024, 1000)

    def forward(self, x):
        x = self.conv1(x)  # (N, 64, 112, 112)
        x = self.conv2(self.pool1(x))  # (N, 64, 56, 56)
        x = self.conv3(x)  # (N, 192, 56, 56)
        x = self.pool2(x)  # (N, 192, 28, 28)
        x = self.inception3a(x)  # (N, 256, 28, 28)
        x = self.inception3b(x)  # (N, 480, 28, 28)
        x = self.pool3(x)  # (N, 480, 14, 14)
        x = self.inception4c(self.inception4b(self.inception4a(x)))  # (N, 512, 14, 14)
        x = self.inception4d(x)  # (N, 528, 14, 14)
        x = self.inception4e(x)  # (N, 832, 14, 14)
        x = self.inception5a(self.pool4(x))  # (N, 832, 7, 7)
        x = self.inception5b(x)  # (N, 1024, 7, 7)
        x = self.dropout1(x.mean(dim=(2, 3)))  # (N, 1024)
        return self.fc(x)  # (N, 1000)


Model = Googlenet


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
