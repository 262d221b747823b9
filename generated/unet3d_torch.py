"""Unet3d in PyTorch, 1x16x32x32 -> 2x16x32x32, 72,022 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (1, 16, 32, 32)


class Dc(nn.Module):
    """block dc(a, b)"""

    def __init__(self, in_channels, a, b):
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, a, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(a)
        self.conv2 = nn.Conv3d(a, b, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(b)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))  # (N, a, ...)
        return torch.relu(self.bn2(self.conv2(x)))  # (N, b, ...)


class UnetInnermost(nn.Module):
    """block unet(c, depth), where depth <= 0"""

    def __init__(self, in_channels, c):
        super().__init__()
        self.dc1 = Dc(in_channels, c, 2 * c)

    def forward(self, x):
        return self.dc1(x)  # (N, 2 * c, ...)


class Unet(nn.Module):
    """block unet(c, depth), where depth > 0"""

    def __init__(self, in_channels, c, unet1):
        super().__init__()
        self.dc1 = Dc(in_channels, c, 2 * c)
        self.pool1 = nn.MaxPool3d(2)
        self.unet1 = unet1
        self.up1 = nn.ConvTranspose3d(2 * 2 * c, 2 * 2 * c, 2, stride=2)
        self.dc2 = Dc(2 * c + 2 * 2 * c, 2 * c, 2 * c)

    def forward(self, x):
        x = self.dc1(x)  # (N, 2 * c, ...)
        y = self.pool1(x)
        y = self.unet1(y)  # (N, 2 * 2 * c, ...)
        y = self.up1(y)
        x = torch.cat([x, y], dim=1)  # (N, 2 * c + 2 * 2 * c, ...)
        return self.dc2(x)  # (N, 2 * c, ...)


class Unet3d(nn.Module):
    def __init__(self):
        super().__init__()
        self.unet1 = Unet(
            1, 4,
            unet1=Unet(
                8, 8,
                unet1=UnetInnermost(16, 16),
            ),
        )
        self.conv1 = nn.Conv3d(8, 2, 1)

    def forward(self, x):
        x = self.unet1(x)  # (N, 8, 16, 32, 32)
        return self.conv1(x)  # (N, 2, 16, 32, 32)


Model = Unet3d


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
    answer(Model(), INPUT_SHAPE)
