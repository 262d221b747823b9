"""MixerSmall in PyTorch, 1x28x28 -> 10, 60,398 parameters. Written by `netdsl compile --target torch`."""

from torch import nn

INPUT_SHAPE = (1, 28, 28)


class Mixer(nn.Module):
    """block mixer(t, c)"""

    def __init__(self, in_features, t, c):
        super().__init__()
        self.ln1 = nn.LayerNorm(in_features)
        self.linear1 = nn.Linear(49, t)
        self.gelu1 = nn.GELU()
        self.linear2 = nn.Linear(t, 49)
        self.ln2 = nn.LayerNorm(32)
        self.linear3 = nn.Linear(32, c)
        self.gelu2 = nn.GELU()
        self.linear4 = nn.Linear(c, 32)

    def forward(self, x):
        y = self.ln1(x)
        y = y.transpose(1, 2)  # (N, 32, 49)
        y = self.gelu1(self.linear1(y))  # (N, 32, t)
        x = self.linear2(y).transpose(1, 2) + x  # (N, 49, 32)
        y = self.ln2(x)
        y = self.gelu2(self.linear3(y))  # (N, 49, c)
        return self.linear4(y) + x  # (N, 49, 32)


class MixerSmall(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 4, stride=4)
        self.mixer1 = Mixer(32, 64, 128)
        self.mixer2 = Mixer(32, 64, 128)
        self.mixer3 = Mixer(32, 64, 128)
        self.mixer4 = Mixer(32, 64, 128)
        self.ln1 = nn.LayerNorm(32)
        self.linear1 = nn.Linear(32, 10)

    def forward(self, x):
        x = self.conv1(x)  # (N, 32, 7, 7)
        x = self.mixer2(self.mixer1(x.flatten(2).transpose(1, 2)))  # (N, 49, 32)
        x = self.ln1(self.mixer4(self.mixer3(x)))
        x = x.transpose(1, 2).unflatten(2, (7, 7))  # (N, 32, 7, 7)
        x = x.mean(dim=(2, 3))  # (N, 32)
        return self.linear1(x)  # (N, 10)


Model = MixerSmall


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
