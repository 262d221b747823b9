"""VitSmall in PyTorch, 3x32x32 -> 10, 809,098 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (3, 32, 32)


class Layer(nn.Module):
    """block layer(features)"""

    def __init__(self, in_features, features):
        super().__init__()
        self.ln1 = nn.LayerNorm(in_features)
        self.mha1 = nn.MultiheadAttention(in_features, 4, batch_first=True)
        self.ln2 = nn.LayerNorm(in_features)
        self.linear1 = nn.Linear(in_features, features)
        self.gelu1 = nn.GELU()
        self.linear2 = nn.Linear(features, 128)

    def forward(self, x):
        y = self.ln1(x)
        x = self.mha1(y, y, y, need_weights=False)[0] + x
        y = self.ln2(x)
        y = self.gelu1(self.linear1(y))  # (N, 64, features)
        return self.linear2(y) + x  # (N, 64, 128)


class VitSmall(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("input_mean", torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None], persistent=False)
        self.register_buffer("input_std", torch.tensor([0.247, 0.2435, 0.2616])[:, None, None], persistent=False)
        self.conv1 = nn.Conv2d(3, 128, 4, stride=4)
        self.pos1 = nn.Parameter(0.02 * torch.randn(1, 64, 128))
        self.layer1 = Layer(128, 512)
        self.layer2 = Layer(128, 512)
        self.layer3 = Layer(128, 512)
        self.layer4 = Layer(128, 512)
        self.ln1 = nn.LayerNorm(128)
        self.linear1 = nn.Linear(128, 10)

    def forward(self, x):
        x = x / 255 if x.dtype == torch.uint8 else x  # bytes or floats
        x = (x - self.input_mean) / self.input_std
        x = self.conv1(x)  # (N, 128, 8, 8)
        x = self.layer1(x.flatten(2).transpose(1, 2) + self.pos1)  # (N, 64, 128)
        x = self.layer4(self.layer3(self.layer2(x)))
        x = self.ln1(x)
        x = x.transpose(1, 2).unflatten(2, (8, 8))  # (N, 128, 8, 8)
        x = x.mean(dim=(2, 3))  # (N, 128)
        return self.linear1(x)  # (N, 10)


Model = VitSmall


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
