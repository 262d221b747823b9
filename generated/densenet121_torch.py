"""Densenet121 in PyTorch, 3x224x224 -> 1000, 7,978,856 parameters. Written by `netdsl compile --target torch`."""

from collections import OrderedDict

import torch
from torch import nn

INPUT_SHAPE = (3, 224, 224)


class Dense(nn.Module):
    """block dense()"""

    def __init__(self, in_channels):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, 128, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x):
        y = torch.relu(self.norm1(x))
        y = torch.relu(self.norm2(self.conv1(y)))  # (N, 128, ...)
        y = self.conv2(y)  # (N, 32, ...)
        return torch.cat([x, y], dim=1)  # (N, in_channels + 32, ...)


class Densenet121(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(OrderedDict(
            conv0=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(64),
            relu2=nn.ReLU(),
            pool3=nn.MaxPool2d(3, stride=2, padding=1),
            denseblock1=nn.Sequential(OrderedDict((f"denselayer{i}", Dense(32 + 32 * i)) for i in range(1, 7))),
            transition1=nn.Sequential(OrderedDict(
                norm=nn.BatchNorm2d(256),
                relu1=nn.ReLU(),
                conv=nn.Conv2d(256, 128, 1, bias=False),
                avgpool3=nn.AvgPool2d(2),
            )),
            denseblock2=nn.Sequential(OrderedDict((f"denselayer{i}", Dense(96 + 32 * i)) for i in range(1, 13))),
            transition2=nn.Sequential(OrderedDict(
                norm=nn.BatchNorm2d(512),
                relu1=nn.ReLU(),
                conv=nn.Conv2d(512, 256, 1, bias=False),
                avgpool3=nn.AvgPool2d(2),
            )),
            denseblock3=nn.Sequential(OrderedDict((f"denselayer{i}", Dense(224 + 32 * i)) for i in range(1, 25))),
            transition3=nn.Sequential(OrderedDict(
                norm=nn.BatchNorm2d(1024),
                relu1=nn.ReLU(),
                conv=nn.Conv2d(1024, 512, 1, bias=False),
                avgpool3=nn.AvgPool2d(2),
            )),
            denseblock4=nn.Sequential(OrderedDict((f"denselayer{i}", Dense(480 + 32 * i)) for i in range(1, 17))),
            norm5=nn.BatchNorm2d(1024),
            relu12=nn.ReLU(),
        ))
        self.classifier = nn.Linear(1024, 1000)

    def forward(self, x):
        x = self.features(x)  # (N, 1024, 7, 7)
        x = x.mean(dim=(2, 3))  # (N, 1024)
        return self.classifier(x)  # (N, 1000)


Model = Densenet121


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
