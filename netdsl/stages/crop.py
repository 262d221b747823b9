"""Maps without their rims."""

from netdsl.stages.can import Can
from netdsl.stages.stage import Stage


class Crop(Stage):
    """Maps without some rows and columns on each side; sides ((top, bottom), (left, right))."""

    can = Can(has_own_gradient=True)

    def __init__(self, w, shape, sides):
        self.start(w)
        c, height, width = shape
        (top, bottom), (left, right) = sides
        self.place = (slice(top, height - bottom), slice(left, width - right))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x):
        return x[self.place]

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx[self.place] = dy
        return dx
