"""Arrays that add in the worst order, so that what a test finds does not hang on how a processor's BLAS adds.

Every sum, mean and product of such an array adds one number after the other, in the array's own dtype: no pairs, no
blocks, no wider registers, no fused multiply-add. What is computed from one is one, too.
"""

import numpy as np


class WorstOrder(np.ndarray):
    """An array whose sums are the worst."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        inputs = [plain(array) for array in inputs]
        if out is not None:
            options["out"] = tuple(plain(array) for array in out)
        if ufunc is np.add and method == "reduce":
            found = reduced(*inputs, **options)
        elif ufunc is np.matmul and method == "__call__":
            found = product(*inputs, **options)
        else:
            found = getattr(ufunc, method)(*inputs, **options)
        return out[0] if out is not None else worst(found)

    def __array_function__(self, function, types, arguments, options):
        if function in OWN:
            return worst(OWN[function](*map(plain, arguments), **{key: plain(value) for key, value in options.items()}))
        return super().__array_function__(function, types, arguments, options)


def worst(array):
    return array.view(WorstOrder) if type(array) is np.ndarray else array


def plain(array):
    return array.view(np.ndarray) if isinstance(array, WorstOrder) else array


def summed(terms, axes, dtype=None):
    """The sum over axes, in the order in which they are counted."""
    axes = sorted(axis % terms.ndim for axis in axes)
    last = np.moveaxis(terms, axes, range(-len(axes), 0)).reshape(
        *(size for axis, size in enumerate(terms.shape) if axis not in axes), -1
    )
    if last.shape[-1] == 0:
        return np.zeros(last.shape[:-1], dtype or terms.dtype)
    return np.add.accumulate(last, axis=-1, dtype=dtype)[..., -1]


def reduced(x, axis=0, dtype=None, out=None, keepdims=False, initial=None, where=True):
    assert where is True and initial is None
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if dtype is None and x.dtype == bool:
        dtype = int
    found = summed(x, axes, dtype) if axes else x
    if keepdims:
        found = np.expand_dims(found, tuple(a % x.ndim for a in axes))
    return into(found, out)


def product(a, b, out=None):
    """np.matmul: each term of a sum is rounded, then added to those before."""
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    found = 0
    for k in range(left.shape[-1]):
        found = found + left[..., :, k, None] * right[..., k, None, :]
    found = found[..., 0, :] if a.ndim == 1 else found
    found = found[..., 0] if b.ndim == 1 else found
    return into(found, out)


def dot(a, b, out=None):
    assert a.ndim <= 2 and b.ndim <= 2
    return product(a, b, (out,) if out is not None else None)


def einsum(letters, *arrays):
    """Of one or two arrays, without an ellipsis."""
    given, wanted = letters.split("->")
    every = "".join(dict.fromkeys(given.replace(",", "")))
    terms = 1
    for names, array in zip(given.split(","), map(plain, arrays), strict=True):
        order = sorted(range(len(names)), key=lambda axis: every.index(names[axis]))  # noqa: B023
        terms = terms * np.expand_dims(
            array.transpose(order), [i for i, letter in enumerate(every) if letter not in names]
        )
    found = summed(terms, [i for i, letter in enumerate(every) if letter not in wanted])
    left = [letter for letter in every if letter in wanted]
    return found.transpose([left.index(letter) for letter in wanted])


def into(found, out):
    if out is None:
        return found
    out[0][...] = found
    return out[0]


OWN = {np.dot: dot, np.einsum: einsum}
