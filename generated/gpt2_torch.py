"""Gpt2 in PyTorch, 1024 of 50257 -> 1024x50257, 124,439,808 parameters. Written by `netdsl compile --target torch`."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

INPUT_SHAPE = (1024,)


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
        self.ln_1 = nn.LayerNorm(in_features)
        self.attn = SelfAttention(in_features, 12, causal=True)
        self.ln_2 = nn.LayerNorm(in_features)
        self.mlp = nn.Sequential(OrderedDict(
            c_fc=nn.Linear(in_features, 4 * features),
            gelu1=nn.GELU(approximate="tanh"),
            c_proj=nn.Linear(4 * features, features),
        ))

    def forward(self, x):
        x = self.attn(self.ln_1(x)) + x
        return self.mlp(self.ln_2(x)) + x  # (N, 1024, features)


class Gpt2(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(50257, 768)
        self.wpe = nn.Parameter(0.02 * torch.randn(1, 1024, 768))
        self.h0 = Layer(768, 768)
        self.h1 = Layer(768, 768)
        self.h2 = Layer(768, 768)
        self.h3 = Layer(768, 768)
        self.h4 = Layer(768, 768)
        self.h5 = Layer(768, 768)
        self.h6 = Layer(768, 768)
        self.h7 = Layer(768, 768)
        self.h8 = Layer(768, 768)
        self.h9 = Layer(768, 768)
        self.h10 = Layer(768, 768)
        self.h11 = Layer(768, 768)
        self.ln_f = nn.LayerNorm(768)
        start_as_gpt(
            self,
            (
                "h0.attn.out_proj.weight", "h0.mlp.c_proj.weight", "h1.attn.out_proj.weight", "h1.mlp.c_proj.weight",
                "h2.attn.out_proj.weight", "h2.mlp.c_proj.weight", "h3.attn.out_proj.weight", "h3.mlp.c_proj.weight",
                "h4.attn.out_proj.weight", "h4.mlp.c_proj.weight", "h5.attn.out_proj.weight", "h5.mlp.c_proj.weight",
                "h6.attn.out_proj.weight", "h6.mlp.c_proj.weight", "h7.attn.out_proj.weight", "h7.mlp.c_proj.weight",
                "h8.attn.out_proj.weight", "h8.mlp.c_proj.weight", "h9.attn.out_proj.weight", "h9.mlp.c_proj.weight",
                "h10.attn.out_proj.weight", "h10.mlp.c_proj.weight", "h11.attn.out_proj.weight",
                "h11.mlp.c_proj.weight",
            ),
            24,
            (),
        )

    def forward(self, x):
        x = self.h0(self.wte(x) + self.wpe)  # (N, 1024, 768)
        x = self.h3(self.h2(self.h1(x)))
        x = self.h6(self.h5(self.h4(x)))
        x = self.h9(self.h8(self.h7(x)))
        x = self.ln_f(self.h11(self.h10(x)))
        return F.linear(x, self.wte.weight)  # (N, 1024, 50257)


Model = Gpt2


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
