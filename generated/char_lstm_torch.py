"""CharLstm in PyTorch, 50 of 65 -> 50x65, 280,897 parameters. Written by `netdsl compile --target torch`."""

from torch import nn

INPUT_SHAPE = (50,)


class CharLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed1 = nn.Embedding(65, 128)
        self.lstm1 = nn.LSTM(128, 128, num_layers=2, batch_first=True)
        self.linear1 = nn.Linear(128, 65)

    def forward(self, x):
        x = self.lstm1(self.embed1(x))[0]  # (N, 50, 128)
        return self.linear1(x)  # (N, 50, 65)


Model = CharLstm


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
