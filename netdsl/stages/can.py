"""What a stage can do, said on its class as `can = Can(...)`. The passes that plan a network (passes/) read this alone:
a stage that says no more than it must is planned right, and one that says more is planned better.

It is left out of emitted modules, where the plan is made already.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Can:
    """What one kind of stage can do. In brackets stands the argument of its constructor that asks for it; all of a
    convolution's but dx are one, `epilogue` (stages/convolution.py).

    end_in_relu (relu): give max(y, 0) instead of y. end_in_clip (clip): keep y between two numbers. wait_for_relu
    (relu): so, and a relu in front of it may come behind it as well. take_norm (norm): at inference, be a convolution
    whose weights and bias have a batch norm in them. add_bias (conv): add the bias of the convolution in front of it.
    leave_bias (bias): leave its own bias to the stage behind it. add_map (plus): at inference, add another map to y.
    add_both_ways (plus): in training, and give the gradient by that map behind the one by x. give_sums (sums): add up y
    and y * y for each channel. take_sums (sums): not do that itself, but ask the convolution in front of it, which it
    is given. walk_for_norm (front): walk over its input for the batch norm which makes that, too. lend_rows (is_lent):
    at inference, make its rows as the convolution behind needs them, whose `front` it is. leave_out_dx (dx): give no
    gradient by its input. work_in_place (copies): write y over x at inference, unless it is told to copy.
    train_in_place (in_place): do so in training, if it is told to. spares_output: backward reads nothing of what
    forward gave, unless that ends in a relu, and what is behind may write over it.
    share_gradient (common): make the gradient of its weights in one place with all other workers, in turns.

    shows_samples: for that workers show each other their samples. is_conv: it is a convolution. is_relu: max(x, 0) is
    all it does. is_clip: so is keeping x between two bounds, the last two of its arguments. is_sum: it adds up what it
    reads. frozen: the stage that computes it at inference, as a factor and a summand for each channel. is_named: behind
    the worker its constructor takes the layer's name, under which its params are. waits: in training both of its passes
    are generators, which wait for the whole batch. has_own_output, has_own_gradient: what forward, backward gives is
    always an array of its own, made by `outputs`, `gradients` of the worker; else it may be what it was given, or a
    view of it. copies_gradient: backward gives its first input what it is given, and the second a copy, made by
    `gradients`. forgets_input: backward reads nothing of what forward was given. forgets_output: nor of what that gave,
    unless it ends in a relu or in a clip: made by `gradients`, since backward works in place. is_local: every number of
    y comes from its own window alone; fast algorithms mix those of a tile. idles: when it gives x as it is, so that a
    plan leaves it out.
    """

    end_in_relu: bool = False
    end_in_clip: bool = False
    wait_for_relu: bool = False
    take_norm: bool = False
    add_bias: bool = False
    leave_bias: bool = False
    add_map: bool = False
    add_both_ways: bool = False
    give_sums: bool = False
    take_sums: bool = False
    walk_for_norm: bool = False
    lend_rows: bool = False
    leave_out_dx: bool = False
    work_in_place: bool = False
    train_in_place: bool = False
    spares_output: bool = False
    share_gradient: bool = False
    shows_samples: bool = False
    is_conv: bool = False
    is_relu: bool = False
    is_clip: bool = False
    is_sum: bool = False
    frozen: type[Any] | None = None
    is_named: bool = False
    waits: bool = False
    has_own_output: bool = False
    has_own_gradient: bool = False
    copies_gradient: bool = False
    forgets_input: bool = False
    forgets_output: bool = False
    is_local: bool = True
    idles: Literal["never", "at inference", "always"] = "never"

    def but(self, **changes: Any) -> Can:
        """The same, but for these."""
        return replace(self, **changes)
