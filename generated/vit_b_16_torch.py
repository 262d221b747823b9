"""VitB16 in PyTorch, 3x224x224 -> 1000, 86,567,656 parameters. Written by `netdsl compile --target torch`."""

from collections import OrderedDict

import torch
from torch import nn

INPUT_SHAPE = (3, 224, 224)


class Layer(nn.Module):
    """block layer()"""

    def __init__(self, in_features):
        super().__init__()
        self.ln_1 = nn.LayerNorm(in_features, eps=1e-06)
        self.self_attention = nn.MultiheadAttention(in_features, 12, batch_first=True)
        self.ln_2 = nn.LayerNorm(in_features, eps=1e-06)
        self.mlp = nn.Sequential(
            nn.Linear(in_features, 3072),
            nn.GELU(),
            nn.Identity(),
            nn.Linear(3072, 768),
        )

    def forward(self, x):
        y = self.ln_1(x)
        x = self.self_attention(y, y, y, need_weights=False)[0] + x
        return self.mlp(self.ln_2(x)) + x  # (N, 197, 768)


class Encoder(nn.Module):
    """group encoder"""

    def __init__(self):
        super().__init__()
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, 197, 768))
        self.layers = nn.Sequential(OrderedDict((f"encoder_layer_{i}", Layer(768)) for i in range(12)))
        self.ln = nn.LayerNorm(768, eps=1e-06)

    def forward(self, x):
        return self.ln(self.layers(x + self.pos_embedding))


class VitB16(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, 768, 16, stride=16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 768))
        self.encoder = Encoder()
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(768, 1000)))

    def forward(self, x):
        x = self.conv_proj(x)  # (N, 768, 14, 14)
        x = x.flatten(2).transpose(1, 2)  # (N, 196, 768)
        x = self.encoder(torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1))  # (N, 197, 768)
        x = x[:, 0]  # (N, 768)
        return self.heads(x)  # (N, 1000)


Model = VitB16


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
