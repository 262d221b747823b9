"""Lines of a spec for a layer with every value of its attributes, and inputs whose kinks no rounding meets."""

import random

import numpy as np

from netdsl.layers.contract import REQUIRED

SAMPLES = {"int": [1, 2, 4], "spatial": [1, 2, 3, "3x2", "1x3", "2x1x3"], "float": [0.0, 0.3, 0.7, 1.5]}
SAMPLES["size"] = ["12", "1x12", "3x2x2", "4x7x9", "40", "7x4x9", "96", "5", "5x1", "1x5x1", "2x1x3x2"]
SAMPLES["sides"] = [1, 2, "1x2", "0x1x0x0", "1x0x0x2", "1x2x1x2", "2x1x1x0", "1x0x2", "0x1x0x2x0x1"]


def values(attr):
    """What may be written for an attr, as text; None leaves it out."""
    if attr.kind == "word":
        return [None, attr.name]
    fits = [
        v
        for v in SAMPLES[attr.kind]
        if isinstance(v, str)
        or (
            (attr.minimum is None or v >= attr.minimum)
            and (attr.above is None or v > attr.above)
            and (attr.below is None or v < attr.below)
        )
    ]
    if attr.kind in ("spatial", "sides") and attr.minimum == 0:
        fits.append(0)
    written = [str(v) if attr.positional else f"{attr.flag}{v}" if attr.flag else f"{attr.name}={v}" for v in fits]
    return written if attr.default is REQUIRED else [None, *written]


def lines(layer, combined=60):
    """Spec lines: each value of each attr beside two bases, and a fixed sample of so many combinations."""
    choices = [values(attr) for attr in layer.attrs]
    rows = []
    for base in ([options[0] for options in choices], [options[min(1, len(options) - 1)] for options in choices]):
        rows += [[*base[:i], value, *base[i + 1 :]] for i, options in enumerate(choices) for value in options] or [[]]
    rng = random.Random(0)
    rows += [[rng.choice(options) for options in choices] for _ in range(combined if len(choices) > 1 else 0)]
    return list(dict.fromkeys(" ".join([layer.name, *(value for value in row if value)]) for row in rows))


def spread(rng, shape, dtype):
    """Values that are all different and not near a kink at 0 or +-3, so that no rounding changes a comparison."""
    size = int(np.prod(shape))
    steps = (rng.permutation(size) + 0.5) / size * 8 - 4
    near = np.abs(steps[:, None] - np.array([-3.0, 0.0, 3.0, 6.0])).min(axis=1) < 1e-3
    return np.where(near, steps + 2e-3, steps).reshape(shape).astype(dtype)
