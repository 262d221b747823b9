"""HarCnn in PyTorch, 9x128 map -> 6, 411,650 parameters. Written by `netdsl compile --target torch`."""

import torch
from torch import nn

INPUT_SHAPE = (9, 128)


class HarCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(9, 64, 3)
        self.conv2 = nn.Conv1d(64, 64, 3)
        self.dropout1 = nn.Dropout(0.5)
        self.pool1 = nn.MaxPool1d(2)
        self.linear1 = nn.Linear(3968, 100)
        self.linear2 = nn.Linear(100, 6)

    def forward(self, x):
        x = torch.relu(self.conv1(x))  # (N, 64, 126)
        x = self.dropout1(torch.relu(self.conv2(x)))  # (N, 64, 124)
        x = self.pool1(x)  # (N, 64, 62)
        x = torch.flatten(x, 1)  # (N, 3968)
        x = torch.relu(self.linear1(x))  # (N, 100)
        return self.linear2(x)  # (N, 6)


Model = HarCnn


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
