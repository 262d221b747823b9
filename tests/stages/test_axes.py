"""What goes through signals and volumes at -O2 computes what its layers compute at -O0."""

import pytest
from fast_twins import assert_twins

SIGNALS = [
    "conv 9 k5 p2 -> relu -> pool 2",
    "conv 9 k3 p1 -> relu -> conv 9 k3 -> pool 2 -> conv 9 k2 same",
    "conv 9 k4 same -> conv 9 k9 p4 -> pool 3 s2 p1",
    "conv 6 k7 s2 p3 -> relu -> conv 5 k3 s3",
    "conv 9 k3 d2 p=4x0 -> relu -> conv 9 k3 d=4 p=8x0 -> relu -> conv 4 k1",
    "conv 8 k5 p2 g8 -> conv 16 k3 p1 g8 -> conv 8 k3 s2 g4",
    "conv 6 k1 s2 -> relu -> conv 6 k1 p1",
    "convt 6 k4 s2 p1 -> relu -> convt 5 k3 d2 op=1 s2",
    "up 6 -> relu -> up 4 k3 s3",
    "avgpool 2 -> avgpool 3 s1 p1",
    "avgpool 3 s2 p1 nopad -> avgpool 3 s2 ceil",
    "pool 2 s1 same -> pool 3 s2 same -> pool 2 d=2 s1",
]
VOLUMES = [
    "conv 6 k3 p1 -> relu -> pool 2",
    "conv 6 k2x3x1 s1x2x1 p=1x0x0x0x1x1 -> relu -> conv 4 k3 same",
    "conv 6 k3 d2 p2 -> relu -> conv 5 k1",
    "conv 8 k3 p1 g8 -> conv 8 k3 s2 g4",
    "conv 6 k1 s2 -> relu -> conv 6 k1 p1",
    "conv 4 k1 -> relu -> conv 4 k1 -> pool 2x1x2",
    "convt 6 k4x3x2 s2 p1 -> relu -> convt 3 k3 d2",
    "up 6 -> relu -> pool 2",
    "avgpool 2 -> avgpool 2x3x2 s1 p1",
    "avgpool 3 s2 p1 nopad -> avgpool 3x2x2 s2 ceil",
    "pool 2 s1 same -> pool 3x2x3 s2 same",
    "pool 3 s2 p1 -> relu",
]


def assert_all(shape, branches, **options):
    """Each of the branches, behind a convolution that needs their gradients."""
    inside = "\n| ".join(f"{{ {branch} -> flatten }}" for branch in branches)
    assert_twins(f"input {shape}\nconv 8 k1\ncat {{\n{inside}\n}}\nlinear 3", **options)


@pytest.mark.parametrize("workers, block", [(1, 16), (2, 2)])
@pytest.mark.parametrize("shape, branches", [("3x23 map", SIGNALS), ("2x5x7x6", VOLUMES)], ids=["signals", "volumes"])
def test_stages_agree_along_any_axes_of_space(shape, branches, workers, block):
    assert_all(shape, branches, workers=workers, block=block)
