"""GPT-2: its params by the names of Hugging Face's checkpoint, as specs/gpt2.json has them, and its formulas.

The network that they are compared with is written here from GPT-2's own code (Radford et al. 2019): Conv1D with
matrices (in, out), layer norms in front, the tanh approximation of GELU, and logits by the embedding.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from netdsl.pipeline import compile_file, compile_text

SPECS = Path(__file__).resolve().parents[1] / "specs"
TABLE = json.loads((SPECS / "gpt2.json").read_text(encoding="utf-8"))
SMALLER = [("1024 of 50257", "10 of 31"), ("768", "24"), ("0..12", "0..3"), ("mha 12", "mha 4")]
LAYERS, HEADS = 3, 4


def smaller():
    text = (SPECS / "gpt2.net").read_text(encoding="utf-8")
    for old, new in SMALLER:
        assert old in text
        text = text.replace(old, new)
    return compile_text(re.sub(r"expect.*\n", "", text), "gpt2")


def names(layers):
    """(name in the checkpoint, name here, whether it is transposed) of every param."""
    for theirs, ours in TABLE.items():
        for i in range(layers) if "{i}" in theirs else range(theirs != "about"):
            yield theirs.replace("{i}", str(i)), ours.removesuffix(".T").replace("{i}", str(i)), ours.endswith(".T")


def test_the_table_has_every_param_once_in_the_checkpoints_shapes():
    specs = dict(compile_file(SPECS / "gpt2.net").graph.param_specs())
    assert sorted(ours for _, ours, _ in names(12)) == sorted(specs)
    shapes = {theirs: specs[ours].shape[::-1] if turned else specs[ours].shape for theirs, ours, turned in names(12)}
    assert shapes["h.11.attn.c_attn.weight"] == (768, 2304) and shapes["h.0.mlp.c_proj.weight"] == (3072, 768)
    assert shapes["wte.weight"] == (50257, 768) and shapes["wpe.weight"] == (1, 1024, 768)


def gpt2(weights, x):
    """weights by the checkpoint's names, x (N, T) -> logits (N, T, V)."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w = {name: torch.from_numpy(array) for name, array in weights.items()}

    def conv1d(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    n, t = x.shape
    x = w["wte.weight"][torch.from_numpy(x)] + w["wpe.weight"][:t]
    for i in range(LAYERS):
        q, k, v = conv1d(norm(x, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn").split(x.shape[-1], dim=2)
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -torch.inf)
        x = x + conv1d((scores.softmax(dim=3) @ v).transpose(1, 2).flatten(2), f"h.{i}.attn.c_proj")
        hidden = F.gelu(conv1d(norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"), approximate="tanh")
        x = x + conv1d(hidden, f"h.{i}.mlp.c_proj")
    return (norm(x, "ln_f") @ w["wte.weight"].T).numpy()


@pytest.mark.parametrize("level", [0, 2])
def test_weights_by_the_checkpoints_names_give_its_logits(level):
    rng, model = np.random.default_rng(0), smaller().numpy_model(dtype="float64", level=level)
    weights = {}
    for theirs, ours, turned in names(LAYERS):
        array = model.params[ours]
        array[...] = 0.3 * rng.standard_normal(array.shape) + ("ln" in ours and ours.endswith("weight"))
        weights[theirs] = np.ascontiguousarray(array.T if turned else array[0] if theirs == "wpe.weight" else array)
    x = rng.integers(0, 31, (3, 10))
    expected = gpt2(weights, x)
    np.testing.assert_allclose(model.logits(x), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    model.close() if level else None
