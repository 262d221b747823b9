"""Some of the channels or features."""

from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage


class Slice(Stage):
    """Some of the channels of maps, or of the features of tokens or vectors."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(self, w, shape, start, stop):
        self.start(w)
        self.part = slice(start, stop)
        self.y = w.outputs(lambda n: (*inside(shape, n)[:-1], stop - start))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x):
        y = self.y[self.w.block]
        y[...] = x[..., self.part]
        return y

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[..., : self.part.start] = 0
        dx[..., self.part] = dy
        dx[..., self.part.stop :] = 0
        return dx
