"""The first stage of a network whose `input` has a mean and a std."""

import numpy as np

from netdsl.kernels.normalization import constant
from netdsl.stages.planes import Input


class NormalizedInput(Input):
    """The network's input, (n, C, H, W) -> (x - mean) / std as (H, W, n, C); vectors and tokens keep their axes."""

    def __init__(self, w, shape, mean, std):
        self.start(w)
        self.z = w.arrays(lambda n: (n, *shape))
        self.y = w.arrays(lambda n: (*shape[1:], n, shape[0])) if len(shape) == 3 else None
        self.mean, self.std = constant(mean, shape), constant(std, shape)

    def forward(self, x):
        z = self.z[self.w.block]
        np.subtract(x, self.mean, out=z)
        z /= self.std
        return z if self.y is None else super().forward(z)
