"""What the pooling layers share: walking over the elements of every window, one place in the window at a time."""


def window_slices(kernel_size, stride, dilation, ho, wo):
    """For each place (u, v) of the window, in reading order: the slices that take it out of every window at once."""
    places = []
    for u in range(kernel_size[0]):
        for v in range(kernel_size[1]):
            top, left = u * dilation[0], v * dilation[1]
            places.append(
                (
                    slice(top, top + stride[0] * (ho - 1) + 1, stride[0]),
                    slice(left, left + stride[1] * (wo - 1) + 1, stride[1]),
                )
            )
    return places


def window_count(size, kernel_size, stride, padding, dilation=1):
    """How many windows fit along one axis of `size` elements; padding (before, after)."""
    return (size + padding[0] + padding[1] - dilation * (kernel_size - 1) - 1) // stride + 1
