"""MobilenetV2 in PyTorch, 3x224x224 -> 1000, 3,504,872 parameters. Written by `netdsl compile --target torch`."""

from torch import nn

INPUT_SHAPE = (3, 224, 224)


class Mb2(nn.Module):
    """block mb(t, c, s=1), where not has_skip and t <= 1"""

    def __init__(self, in_channels, t, c, s=1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(in_channels, t * in_channels, 3, stride=s, padding=1, groups=t * in_channels, bias=False),
                nn.BatchNorm2d(t * in_channels),
                nn.ReLU6(),
            ),
            nn.Conv2d(t * in_channels, c, 1, bias=False),
            nn.BatchNorm2d(c),
        )

    def forward(self, x):
        return self.conv(x)  # (N, c, ...)


class Mb3(nn.Module):
    """block mb(t, c, s=1), where not has_skip and t > 1"""

    def __init__(self, in_channels, t, c, s=1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(in_channels, t * in_channels, 1, bias=False),
                nn.BatchNorm2d(t * in_channels),
                nn.ReLU6(),
            ),
            nn.Sequential(
                nn.Conv2d(t * in_channels, t * in_channels, 3, stride=s, padding=1, groups=t * in_channels, bias=False),
                nn.BatchNorm2d(t * in_channels),
                nn.ReLU6(),
            ),
            nn.Conv2d(t * in_channels, c, 1, bias=False),
            nn.BatchNorm2d(c),
        )

    def forward(self, x):
        return self.conv(x)  # (N, c, ...)


class Mb(nn.Module):
    """block mb(t, c, s=1), where has_skip and t > 1"""

    def __init__(self, in_channels, t, c, s=1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(in_channels, t * in_channels, 1, bias=False),
                nn.BatchNorm2d(t * in_channels),
                nn.ReLU6(),
            ),
            nn.Sequential(
                nn.Conv2d(t * in_channels, t * in_channels, 3, stride=s, padding=1, groups=t * in_channels, bias=False),
                nn.BatchNorm2d(t * in_channels),
                nn.ReLU6(),
            ),
            nn.Conv2d(t * in_channels, c, 1, bias=False),
            nn.BatchNorm2d(c),
        )

    def forward(self, x):
        return self.conv(x) + x  # (N, c, ...)


class MobilenetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(
                nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(32),
                nn.ReLU6(),
            ),
            Mb2(32, 1, 16),
            Mb3(16, 6, 24, s=2),
            Mb(24, 6, 24),
            Mb3(24, 6, 32, s=2),
            *(Mb(32, 6, 32) for _ in range(2)),
            Mb3(32, 6, 64, s=2),
            *(Mb(64, 6, 64) for _ in range(3)),
            Mb3(64, 6, 96),
            *(Mb(96, 6, 96) for _ in range(2)),
            Mb3(96, 6, 160, s=2),
            *(Mb(160, 6, 160) for _ in range(2)),
            Mb3(160, 6, 320),
            nn.Sequential(
                nn.Conv2d(320, 1280, 1, bias=False),
                nn.BatchNorm2d(1280),
                nn.ReLU6(),
            ),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x):
        x = self.features(x)  # (N, 1280, 7, 7)
        x = x.mean(dim=(2, 3))  # (N, 1280)
        return self.classifier(x)  # (N, 1000)


Model = MobilenetV2


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
