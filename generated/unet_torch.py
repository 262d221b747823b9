"""Unet in PyTorch, 1x256x256 -> 2x256x256, 31,030,658 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (1, 256, 256)


class Dc(nn.Module):
    """block dc(c)"""

    def __init__(self, in_channels, c):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, c, 3, padding=1)
        self.conv2 = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        x = self.conv2(torch.relu(self.conv1(x)))  # (N, c, ...)
        return torch.relu(x)


class UnetInnermost(nn.Module):
    """block unet(c, depth), where depth <= 0"""

    def __init__(self, in_channels, c):
        super().__init__()
        self.dc1 = Dc(in_channels, c)

    def forward(self, x):
        return self.dc1(x)  # (N, c, ...)


class UnetBlock(nn.Module):
    """block unet(c, depth), where depth > 0"""

    def __init__(self, in_channels, c, unet1):
        super().__init__()
        self.dc1 = Dc(in_channels, c)
        self.pool1 = nn.MaxPool2d(2)
        self.unet1 = unet1
        self.up1 = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.dc2 = Dc(2 * c, c)

    def forward(self, x):
        x = self.dc1(x)  # (N, c, ...)
        y = self.pool1(x)
        y = self.unet1(y)  # (N, 2 * c, ...)
        y = self.up1(y)  # (N, c, ...)
        x = torch.cat([x, y], dim=1)  # (N, 2 * c, ...)
        return self.dc2(x)  # (N, c, ...)


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.unet1 = UnetBlock(
            1, 64,
            unet1=UnetBlock(
                64, 128,
                unet1=UnetBlock(
                    128, 256,
                    unet1=UnetBlock(
                        256, 512,
                        unet1=UnetInnermost(512, 1024),
                    ),
                ),
            ),
        )
        self.conv1 = nn.Conv2d(64, 2, 1)

    def forward(self, x):
        x = self.unet1(x)  # (N, 64, 256, 256)
        return self.conv1(x)  # (N, 2, 256, 256)


Model = Unet


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
