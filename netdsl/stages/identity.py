"""What gives its input as it is."""

from netdsl.stages.can import Can
from netdsl.stages.stage import Stage


class Identity(Stage):
    """y = x: the plan leaves it out."""

    can = Can(idles="always")

    def __init__(self, w):
        self.start(w)

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy
