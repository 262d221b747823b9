"""CharGpt in PyTorch, 64 of 65 -> 64x65, 804,096 parameters. Written by `netdsl compile --target torch`."""

import torch
import torch.nn.functional as F
from torch import nn

INPUT_SHAPE = (64,)


def start_as_gpt(network, ends, branches, others):
    """Weights start normal with standard deviation 0.02, where they end one of so many residual branches divided by the
    root of their number, and biases at 0 (Radford et al. 2019); others: what starts as in PyTorch."""
    for name, param in network.named_parameters():
        if name in others:
            continue
        if "bias" in name.rpartition(".")[2]:
            nn.init.zeros_(param)
        elif param.dim() > 1:
            nn.init.normal_(param, std=0.02 / branches**0.5 if name in ends else 0.02)


class SelfAttention(nn.Module):
    """nn.MultiheadAttention of tokens (N, T, D) with themselves, by the same params. kv: heads of keys and values, if
    fewer than heads of queries; causal: no token reads what is behind it; rotary: turns queries and keys."""

    def __init__(self, features, heads, kv=None, causal=False, rotary=None, bias=True):
        super().__init__()
        self.heads, self.kv, self.size = heads, kv or heads, features // heads
        self.causal, self.rotary = causal, rotary
        joint = features + 2 * self.kv * self.size
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(joint, features)))
        self.in_proj_bias = nn.Parameter(torch.zeros(joint)) if bias else None
        self.out_proj = nn.Linear(features, features, bias)

    def forward(self, x):
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        by_head = qkv.unflatten(2, (-1, self.size)).transpose(1, 2)  # (N, heads + 2 * kv, T, size)
        q, k, v = by_head.split([self.heads, self.kv, self.kv], dim=1)
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        return self.out_proj(self.mix(q, k, v).transpose(1, 2).flatten(2))

    def mix(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.kv < self.heads)


class Layer(nn.Module):
    """block layer(features)"""

    def __init__(self, in_features, features):
        super().__init__()
        self.ln1 = nn.LayerNorm(in_features, bias=False)
        self.mha1 = SelfAttention(in_features, 4, causal=True, bias=False)
        self.ln2 = nn.LayerNorm(in_features, bias=False)
        self.linear1 = nn.Linear(in_features, 4 * features, bias=False)
        self.gelu1 = nn.GELU()
        self.linear2 = nn.Linear(4 * features, features, bias=False)

    def forward(self, x):
        x = self.mha1(self.ln1(x)) + x
        y = self.ln2(x)
        y = self.gelu1(self.linear1(y))  # (N, 64, 4 * features)
        return self.linear2(y) + x  # (N, 64, features)


class CharGpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(65, 128)
        self.pos1 = nn.Parameter(0.02 * torch.randn(1, 64, 128))
        self.layer1 = Layer(128, 128)
        self.layer2 = Layer(128, 128)
        self.layer3 = Layer(128, 128)
        self.layer4 = Layer(128, 128)
        self.ln1 = nn.LayerNorm(128, bias=False)
        start_as_gpt(
            self,
            (
                "layer1.mha1.out_proj.weight", "layer1.linear2.weight", "layer2.mha1.out_proj.weight",
                "layer2.linear2.weight", "layer3.mha1.out_proj.weight", "layer3.linear2.weight",
                "layer4.mha1.out_proj.weight", "layer4.linear2.weight",
            ),
            8,
            (),
        )

    def forward(self, x):
        x = self.layer1(self.wte(x) + self.pos1)  # (N, 64, 128)
        x = self.layer4(self.layer3(self.layer2(x)))
        x = self.ln1(x)
        return F.linear(x, self.wte.weight)  # (N, 64, 65)


Model = CharGpt


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
