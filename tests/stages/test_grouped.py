"""Depthwise, grouped and transposed convolutions at -O2 compute what those of -O0 compute, over odd shapes."""

import numpy as np
import pytest
from drawing import drawn_in_part
from fast_twins import assert_twins
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.stages.windows import meetings, reach

SIZES = st.tuples(st.integers(1, 17), st.integers(1, 17))
BEHIND = ["", " -> bn", " -> relu", " -> bn -> relu6", " -> tanh"]
DRAWN = 4, 15, "every drawn shape of a grouped convolution"


def pair(values):
    return "x".join(map(str, values))


@st.composite
def convolutions(draw, sizes, filters, groups):
    """`conv 6 k=3x5 ...`, a kernel that fits a plane of `sizes`, then perhaps another layer."""
    same = draw(st.booleans())
    kernel, padding, stride, dilation = [], [], [], []
    for size in sizes:
        padding.append((draw(st.integers(0, 4)), draw(st.integers(0, 4))))
        dilation.append(draw(st.integers(1, 3)))
        largest = 7 if same else min(7, (size + sum(padding[-1]) - 1) // dilation[-1] + 1)
        kernel.append(draw(st.integers(1, largest)))
        stride.append(draw(st.integers(1, 3)))
    where = "same" if same else f"p={pair(n for sizes in zip(*padding, strict=True) for n in sizes)}"
    behind = draw(st.sampled_from(BEHIND))  # the gradient of a bias before bn is rounding, large where x is padding
    end = (" nobias" if "bn" in behind else draw(st.sampled_from(["", " nobias"]))) + behind
    return f"conv {filters} k={pair(kernel)} s={pair(stride)} d={pair(dilation)} g={groups} {where}{end}"


@st.composite
def transposed(draw, sizes, filters, groups):
    """`convt 6 k=3x5 ...`, of which something is left, then perhaps another layer."""
    kernel, stride, dilation, more, padding = [], [], [], [], []
    for size in sizes:
        kernel.append(draw(st.integers(1, 4)))
        stride.append(draw(st.sampled_from([kernel[-1], 1, 2, 3])))
        dilation.append(draw(st.sampled_from([1, 1, 2])))
        more.append(draw(st.integers(0, max(stride[-1], dilation[-1]) - 1)))
        whole = (size - 1) * stride[-1] + dilation[-1] * (kernel[-1] - 1) + more[-1] + 1
        padding.append(draw(st.integers(0, min(3, (whole - 1) // 2))))
    end = draw(st.sampled_from(["", " nobias"])) + draw(st.sampled_from(BEHIND))
    names = zip("ksdp", (kernel, stride, dilation, padding), strict=True)
    return f"convt {filters} {' '.join(f'{name}={pair(values)}' for name, values in names)} op={pair(more)}{end}"


@st.composite
def networks(draw, layers, groups=None):
    """Several such layers beside each other, behind one that needs their gradient; groups None: one each channel."""
    sizes, channels = draw(SIZES), draw(st.integers(1, 4))
    groups = channels if groups is None else groups
    channels = channels if groups == channels else channels * groups
    branches = [draw(layers(sizes, draw(st.integers(1, 3)) * groups, groups)) for _ in range(4)]
    inside = "\n| ".join(f"{{ {branch} -> flatten }}" for branch in branches)
    return f"input 2x{pair(sizes)}\nconv {channels} k1\ncat {{\n{inside}\n}}\nlinear 3"


TEAMS = st.sampled_from([(1, 16), (1, 2), (2, 2)])  # workers, block


@drawn_in_part(*DRAWN, networks(convolutions), st.integers(2, 5), TEAMS)
def test_depthwise_convolutions_agree(text, samples, team):
    assert_twins(text, samples, *team)


@drawn_in_part(
    *DRAWN, st.integers(2, 3).flatmap(lambda groups: networks(convolutions, groups)), st.integers(2, 5), TEAMS
)
def test_grouped_convolutions_agree(text, samples, team):
    assert_twins(text, samples, *team)


@drawn_in_part(*DRAWN, networks(transposed, 1), st.integers(2, 5), TEAMS)
def test_transposed_convolutions_agree(text, samples, team):
    assert_twins(text, samples, *team)


@pytest.mark.parametrize("groups, filters", [(32, 64), (3, 48), (2, 6)])
def test_groups_of_few_channels_are_joined(groups, filters):
    text = (
        f"input 3x9x8\nconv {groups * 2} k1\nconv {filters} k3 p1 g={groups} nobias -> bn -> relu\nflatten -> linear 3"
    )
    assert_twins(text)


@given(*(st.integers(1, 6) for _ in range(3)), st.integers(-4, 4), st.integers(-9, 9), st.integers(1, 9))
@settings(deadline=None, derandomize=True, database=None)
def test_windows_find_every_number_once(count, taps, stride, step, first, size):
    expected = [(q, t) for q in range(count) for t in range(taps) if 0 <= q * stride + t * step + first < size]
    found, numbers = [], range(size)
    for outputs, inside, begin in reach(count, taps, stride, step, first, size):
        for q in range(outputs.start, outputs.stop):
            found += [(q, t) for t in range(inside.start, inside.stop)]
        assert inside.start == inside.stop or begin == outputs.start * stride + inside.start * step + first
    assert sorted(found) == expected
    met = [
        (q, t, number)
        for t, outputs, places in meetings(count, taps, stride, step, first, size)
        for q, number in zip(range(outputs.start, outputs.stop), numbers[places], strict=True)
    ]
    assert sorted(met) == [(q, t, q * stride + t * step + first) for q, t in expected]


def test_what_is_not_finite_stays_where_its_windows_are():
    from netdsl.pipeline import compile_text

    net = compile_text("input 4x9x8\nconv 4 k3 p1 g4")
    slow, fast = (net.numpy_model(dtype="float64", level=level) for level in (0, 2))
    for name, array in slow.params.items():
        fast.params[name][...] = array
    x = np.random.default_rng(0).standard_normal((3, 4, 9, 8))
    x[1, 2, 3, 4] = np.nan
    expected, found = slow.forward(x), fast.forward(x)
    fast.close()
    assert np.array_equal(np.isnan(found), np.isnan(expected))
