"""Classes that stand for PyTorch's where these have a wrong gradient."""

from __future__ import annotations


def straight(name: str) -> tuple[str, ...]:
    """The texts of the classes that stand for PyTorch's of that name, `BatchNorm2d`, and for that of volumes, and have
    a right gradient; that of signals has one."""
    text = f'''class {name}(nn.{name}):
    """PyTorch 2.13 computes a wrong gradient of a batch of one where the one it is given lies transposed; on its way
    through a flat view that is laid straight."""

    def forward(self, x):
        return super().forward(x).flatten(1).view_as(x)'''
    return text, text.replace("2d", "3d")
