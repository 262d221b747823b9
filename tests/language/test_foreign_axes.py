"""Calls of other systems for signals and volumes, as the statement that means the same here."""

import pytest

from netdsl.language.foreign import translated


@pytest.mark.parametrize(
    ("call", "statement"),
    [
        ("nn.Conv1d(9, 32, 5)", "conv 32 k5"),
        ("nn.Conv3d(1, 8, 3, padding=1)", "conv 8 k3 p1"),
        ("nn.Conv1d(9, 32, 5, padding=(2,))", "conv 32 k5 p2"),
        ("nn.ConvTranspose1d(8, 4, 2, stride=2)", "convt 4 k2 s2"),
        ("Conv1DTranspose(4, 2, strides=2)", "convt 4 k2 s2"),
        ("nn.MaxPool1d(2)", "pool 2"),
        ("MaxPool3d((1, 2, 2))", "pool 1x2x2"),
        ("nn.AvgPool1d(2)", "avgpool 2"),
        ("MaxPooling1D(2)", "pool 2"),
        ("nn.BatchNorm1d(64)", "bn"),
        ("nn.BatchNorm3d(64)", "bn"),
        ("nn.InstanceNorm1d(8)", "inorm"),
        ("nn.AdaptiveAvgPool3d((1, 2, 2))", "adaptive 1x2x2"),
        ("nn.AdaptiveMaxPool1d(1)", "gmp"),
        ("GlobalAveragePooling1D()", "gap"),
        ("GlobalMaxPooling3D()", "gmp"),
        ("nn.Dropout1d(0.2)", "dropout2d 0.2"),
        ("SpatialDropout3D(0.2)", "dropout2d 0.2"),
        ("UpSampling1D(2)", "upsample 2"),
        ("Permute((2, 1))", "transpose"),
        ("Conv1D(32, 3, padding='causal', dilation_rate=2)", "conv 32 k3 p4x0 d2"),
        ("Conv1D(32, (5,), padding='causal')", "conv 32 k5 p4x0"),
        ("Conv2D(32, (5, 3), padding='causal')", None),
    ],
)
def test_a_call_for_any_axes_is_a_layer_for_any_axes(call, statement):
    assert translated(call) == statement


def test_sides_stand_in_our_order_and_not_in_that_of_pytorch():
    assert translated("nn.ZeroPad1d((2, 0))") == "pad 2x0"
    assert translated("nn.ZeroPad2d((1, 2, 3, 4))") == "pad 3x1x4x2"  # left, right, top, bottom there
    assert translated("nn.ZeroPad3d((1, 2, 3, 4, 5, 6))") == "pad 5x3x1x6x4x2"
    assert translated("nn.ZeroPad2d((1, 1, 1, 1))") == "pad 1"


def test_a_number_of_another_meaning_is_not_translated():
    assert translated("Cropping1D(2)") is None  # what goes on each side, not what stays
    assert translated("center_crop(2)") == "crop 2"
