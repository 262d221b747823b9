"""The classes that stand in emitted PyTorch modules for what PyTorch has no module for in a decoder."""

import pytest

from netdsl.pipeline import compile_text

torch = pytest.importorskip("torch")

DECODER = """
input 6x8
pos sincos -> mha 4 kv=2 causal rope -> swiglu 12 -> linear 8 -> gelu tanh -> mha 2 causal dropout=0.3
take 5 -> linear 3
"""


def emitted(text):
    return compile_text(text).module("torch").Model()


@pytest.mark.parametrize("bias", [True, False])
def test_causal_attention_is_that_of_pytorch_with_a_mask(bias):
    own = emitted(f"input 6x8\nmha 4 causal{'' if bias else ' nobias'}").double()
    theirs = torch.nn.MultiheadAttention(8, 4, bias=bias, batch_first=True).double()
    theirs.load_state_dict({name.removeprefix("mha1."): array for name, array in own.state_dict().items()})
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    behind = torch.ones(6, 6, dtype=torch.bool).triu(1)
    torch.testing.assert_close(own(x), theirs(x, x, x, attn_mask=behind, need_weights=False)[0])


def test_dropped_weights_are_gone_at_inference_and_scaled_in_training():
    with_dropout = emitted("input 6x8\nmha 4 kv=2 rope dropout=0.5")
    without = emitted("input 6x8\nmha 4 kv=2 rope")
    without.load_state_dict(with_dropout.state_dict())
    x = torch.randn(4000, 6, 8)
    torch.testing.assert_close(with_dropout.eval()(x), without(x))
    with_dropout.train()
    assert not torch.allclose(with_dropout(x), without(x))
    means = torch.stack([with_dropout(x[:1].expand(4000, -1, -1)).mean(0), without(x[:1])[0]])
    assert (means[0] - means[1]).abs().max() < 0.1


def test_tables_of_positions_are_in_no_checkpoint_and_follow_the_dtype():
    module = emitted(DECODER)
    assert not [name for name in module.state_dict() if "table" in name or "pos1" in name]
    assert module.double()(torch.randn(2, 6, 8, dtype=torch.float64)).dtype == torch.float64
    assert module.to(torch.bfloat16)(torch.randn(2, 6, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("training", [True, False])
def test_a_decoder_is_compiled_in_one_piece(training):
    module = emitted(DECODER.replace("dropout=0.3", "dropout=0" if training else "dropout=0.3")).train(training)
    x = torch.randn(2, 6, 8)
    torch.testing.assert_close(torch.compile(module, fullgraph=True, backend="eager")(x), module(x))


def test_a_class_stands_in_the_module_only_where_it_is_named():
    texts = {
        line: compile_text(f"input 6x8\n{line}").torch_source() for line in ("mha 4", "mha 4 causal", "pos sincos")
    }
    classes = {
        line: [name for name in ("SelfAttention", "Rotary", "SinePositions") if name in texts[line]] for line in texts
    }
    assert classes == {"mha 4": [], "mha 4 causal": ["SelfAttention"], "pos sincos": ["SinePositions"]}
    assert "nn.MultiheadAttention(8, 4, batch_first=True)" in texts["mha 4"]
    assert "SelfAttentionWithDropout" in compile_text("input 6x8\nmha 4 dropout=0.1").torch_source()
