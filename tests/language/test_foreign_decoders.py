"""What people write of decoders out of habit from PyTorch and Hugging Face, and what it is called here."""

import pytest

from netdsl.language.foreign import translated
from netdsl.pipeline import check_text


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("nn.MultiheadAttention(8, 4)", "mha 4"),
        ("nn.MultiheadAttention(8, 4, dropout=0.1, batch_first=True)", "mha 4 dropout=0.1"),
        ("nn.MultiheadAttention(embed_dim=8, num_heads=4, bias=False)", "mha 4 nobias"),
        ('nn.GELU(approximate="tanh")', "gelu tanh"),
    ],
)
def test_a_module_of_a_decoder_is_a_statement(text, statement):
    assert translated(text) == statement


@pytest.mark.parametrize(
    ("line", "help"),
    [
        ("mha n_head=4", "write `heads=4`"),
        ("mha 4 num_key_value_heads=2", "write `kv=2`"),
        ("mha 4 is_causal=True", "write `causal`"),
        ("mha 4 causal=True", "write `causal` or leave it out"),
        ("mha 4 rope rope_theta=500", "write `base=500`"),
        ("mha 4 attn_dropout=0.1", "write `dropout=0.1`"),
        ("gelu approximate=tanh", "write `tanh`"),
        ("CausalSelfAttention 4", "did you mean `mha`?"),
        ("gqa 4", "did you mean `mha`?"),
        ("LlamaMLP 16", "did you mean `swiglu`?"),
    ],
)
def test_a_habit_gets_the_word_for_it(line, help):
    _, diagnostics = check_text(f"input 7x8\n{line}")
    assert [help in " ".join(said.help) for said in diagnostics] == [True]
