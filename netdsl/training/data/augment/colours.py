"""Changes of light and colour: x (N, C, H, W) float32 and a number for each image -> their like, of ColorJitter,
RandomGrayscale and GaussianBlur of torchvision.

Bytes count as 0 to 1 and stay within; other numbers have no limits here, since nobody says which they have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from netdsl.training.data.augment.draws import between
from netdsl.training.data.dataset import raw

LUMA = np.array([0.2989, 0.587, 0.114], np.float32)
"""How much red, green and blue count in grey (ITU-R BT.601), rounded as torchvision has it."""
WIDTH = 3  # standard deviations that a blur reaches to each side
PIECE = 2**16  # values that are worked on together, so that they stay in the processor's cache


def brightened(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Each image multiplied by its factor."""
    y: np.ndarray = x * _column(factors)
    return y


def contrasted(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Each image's distance from its mean grey multiplied by its factor; of channels that are no colours, from the mean
    of all."""
    mean = grey_of(x).reshape(len(x), -1).mean(axis=1)
    return _apart(x, mean.reshape(-1, 1, 1, 1), factors)


def saturated(x: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Each pixel's distance from its grey multiplied by the image's factor."""
    return _apart(x, grey_of(x), factors)


def hued(x: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Each pixel's hue (Smith 1978) moved by this part of the circle; the largest and the least of its colours stay.

    The colour c is then most - (most - least) * within(k, 0, 1), k = min(k', 4 - k'), k' = (n_c + 6 hue) mod 6 with
    n = 5, 3, 1, which are the six sectors in one.
    """
    most, least = x.max(axis=1), x.min(axis=1)
    span = most - least
    red, green, blue = x[:, 0], x[:, 1], x[:, 2]
    is_red, is_green = red == most, green == most
    above = np.where(is_red, green - blue, np.where(is_green, blue - red, red - green))
    above /= np.where(span > 0, span, np.float32(1))
    sixths = above + np.where(is_red, np.float32(0), np.where(is_green, np.float32(2), np.float32(4)))
    sixths += 6 * _column(turned)[:, 0]
    y = np.empty_like(x)
    for channel, start in enumerate((5, 3, 1)):
        k = sixths + np.float32(start)
        k -= 6 * np.floor(k / 6)
        share = np.clip(np.minimum(k, 4 - k), 0, 1)
        y[:, channel] = most - span * share
    return y


def greyed(x: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The images that `which` names (1, else 0) in grey, in all of their channels."""
    y, chosen = x.copy(), which > 0
    y[chosen] = grey_of(x[chosen])
    return y


def grey_of(x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) -> (N, 1, H, W): how bright each pixel is, or its mean where its channels are no three colours."""
    grey: np.ndarray
    if x.shape[1] != len(LUMA):
        grey = x.mean(axis=1, keepdims=True)
        return grey
    grey = x[:, 0:1] * LUMA[0]
    grey += x[:, 1:2] * LUMA[1]
    grey += x[:, 2:3] * LUMA[2]
    return grey


def blurred(x: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Each image under a Gaussian window whose standard deviation is its width in pixels, along H and along W.

    The window ends WIDTH of these from its middle, or with the image, which is mirrored at its border.
    """
    reach = np.ceil(WIDTH * widths.max(initial=0))
    for axis in (2, 3):
        x = _blurred_along(x, widths, axis, int(min(reach, x.shape[axis] - 1)))
    return x


def _blurred_along(x: np.ndarray, widths: np.ndarray, axis: int, reach: int) -> np.ndarray:
    places, widths = np.arange(-reach, reach + 1), widths[:, None]
    weights = np.exp(-0.5 * (places / np.maximum(widths, 1e-3)) ** 2)  # a width of 0 is a window of one pixel
    weights[np.abs(places) > np.ceil(WIDTH * widths)] = 0  # so that no other image of the batch has a part in it
    weights /= weights.sum(axis=1, keepdims=True)
    around = [(reach, reach) if i == axis else (0, 0) for i in range(x.ndim)]
    padded, y = np.pad(x, around, mode="reflect"), np.zeros_like(x)
    for step, weight in enumerate(weights.T):
        part = [slice(step, step + x.shape[axis]) if i == axis else slice(None) for i in range(x.ndim)]
        y += padded[tuple(part)] * _column(weight)
    return y


def _apart(x: np.ndarray, middle: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """middle + factors * (x - middle)."""
    y: np.ndarray = x - middle
    y *= _column(factors)
    y += middle
    return y


def _column(numbers: np.ndarray) -> np.ndarray:
    """Numbers (N,) -> (N, 1, 1, 1) float32."""
    return numbers.astype(np.float32).reshape(-1, 1, 1, 1)


def _factors(u: np.ndarray, most: float) -> np.ndarray:
    """From 1 - most, or 0, to 1 + most."""
    low = max(0.0, 1 - most)
    return low + (1 + most - low) * u


Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
Draw = Callable[[np.ndarray, float], np.ndarray]

COLOURS: Mapping[str, tuple[Change, Draw]] = {
    "brightness": (brightened, _factors),
    "contrast": (contrasted, _factors),
    "saturation": (saturated, _factors),
    "hue": (hued, between),
    "grey": (greyed, lambda u, chance: (u < chance).astype(np.float32)),
    "blur": (blurred, lambda u, most: most * u),
}
"""Name -> the change, and what makes its numbers of uniform ones (N,) and the amount that a recipe gives; in the order
of their doing."""


def coloured(x: np.ndarray, numbers: Mapping[str, np.ndarray]) -> np.ndarray:
    """x (N, C, H, W), name of a change -> a number for each image -> all of them, float32; bytes stay from 0 to 1."""
    y = np.empty(x.shape, np.float32)
    size = max(1, PIECE // max(1, x[0].size)) if len(x) else 1
    for start in range(0, len(x), size):
        piece = slice(start, start + size)
        values = raw(x[piece])
        for name, amounts in numbers.items():
            values = COLOURS[name][0](values, amounts[piece])
            if x.dtype == np.uint8:
                np.clip(values, 0, 1, out=values)
        y[piece] = values
    return y
