"""A stand-in for the module `cupy`, over NumPy: emitted modules run on it without a GPU. It refuses what CuPy refuses.

It has the functions of netdsl/targets/cupy/functions.toml with their arguments, and nothing else. Its `ndarray` is no
NumPy array and none of its relatives:

- a NumPy array or a list is no operand, no argument where an array is meant, no index and nothing to assign, as in
  CuPy; only `array`, `asarray` and their like take one;
- NumPy's functions do not take it. CuPy lets some of NumPy's functions pass it on to its own; here that is refused as
  well, since a text should say which of the two it means;
- every result is an array, of a sum over all too; `float`, `int` and `bool` take one with a single number, `range` and
  slices take none.

`waits` counts what a GPU would be waited for: `float` and its like, `asnumpy`, `tolist`, and masks as an index.
"""

import operator
import types

import numpy as np

from netdsl.targets.cupy.table import cupy_table

TABLE = cupy_table()
NUMBERS = (bool, int, float, np.generic)
waits = []


class ndarray:
    """An array of the GPU, which here is a NumPy array that nobody sees."""

    __hash__ = None

    def __init__(self, held):
        assert type(held) is np.ndarray, type(held)
        self._held = held

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, function, kinds, args, kwargs):
        raise TypeError(f"NumPy's {function.__name__} of a CuPy array")

    def __array_ufunc__(self, function, method, *inputs, **kwargs):
        """What Python asks for `np.float32(2) * x`."""
        if method != "__call__" or kwargs or not all(isinstance(one, (ndarray, np.generic)) for one in inputs):
            raise TypeError(f"NumPy's {function.__name__} of a CuPy array")
        return wrapped(function(*(bare(one) for one in inputs)))

    def __getattr__(self, name):
        if name in TABLE.attributes:
            return wrapped(getattr(self._held, name))
        if name in TABLE.methods:
            return lambda *args, **kwargs: self._call(name, args, kwargs)
        raise AttributeError(f"a CuPy array has no `{name}`")

    def _call(self, name, args, kwargs):
        if name not in ("reshape", "transpose", "item"):
            args = bound(TABLE.methods[name], name, args, kwargs, lambda argument: argument == "axis")
        waits.extend([name] * (name in ("tolist", "item", "get")))
        return wrapped(getattr(self._held, "copy" if name == "get" else name)(*args, **kwargs), name == "get")

    def __len__(self):
        return len(self._held)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        return wrapped(self._held[index_of(index)])

    def __setitem__(self, index, value):
        self._held[index_of(index)] = bare(value)

    def __bool__(self):
        return bool(self._number())

    def __float__(self):
        return float(self._number())

    def __int__(self):
        return int(self._number())

    def _number(self):
        if self.size != 1:
            raise ValueError("the truth or value of an array with more than one element")
        waits.append("number")
        return self._held.reshape(-1)[0]

    def __repr__(self):
        return repr(self._held)

    def __str__(self):
        return str(self._held)


def wrapped(value, is_numpy=False):
    """NumPy's arrays and numbers as arrays of the GPU; dtypes, sizes and Python's own as they are."""
    if is_numpy:
        return value
    if isinstance(value, tuple | list) and any(isinstance(one, np.ndarray) for one in value):
        return type(value)(map(wrapped, value))
    is_array = isinstance(value, np.ndarray | np.generic)
    return ndarray(np.asarray(value)) if is_array and not isinstance(value, np.dtype) else value


def bare(value):
    """What an operand holds. Raises TypeError for what is no operand of CuPy's."""
    if isinstance(value, ndarray):
        return value._held
    if isinstance(value, NUMBERS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def index_of(index):
    if isinstance(index, tuple):
        return tuple(map(index_of, index))
    if isinstance(index, ndarray):
        waits.extend(["mask"] * (index.dtype == bool))
        return index._held
    if isinstance(index, slice):
        assert not any(isinstance(one, ndarray) for one in (index.start, index.stop, index.step)), "a slice of arrays"
        return index
    if index is None or index is ... or isinstance(index, int | np.integer):
        return index
    raise IndexError(f"Unsupported index {type(index)}")


def operators():
    """Those of two operands with their reversed and in-place ones, and those of one."""
    names = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"]
    for name in names:
        compute = getattr(operator, f"__{name}__")
        yield f"__{name}__", lambda a, b, compute=compute: wrapped(compute(a._held, bare(b)))
        yield f"__r{name}__", lambda a, b, compute=compute: wrapped(compute(bare(b), a._held))
        within = getattr(operator, f"__i{name}__")
        yield f"__i{name}__", lambda a, b, within=within: in_place(within, a, b)
    for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
        compute = getattr(operator, f"__{name}__")
        yield f"__{name}__", lambda a, b, compute=compute: wrapped(compute(a._held, bare(b)))
    for name in ["neg", "pos", "abs", "invert"]:
        compute = getattr(operator, f"__{name}__")
        yield f"__{name}__", lambda a, compute=compute: wrapped(compute(a._held))


def in_place(within, a, b):
    """`a += b`, which keeps the array and its dtype."""
    within(a._held, bare(b))
    return a


for _name, _compute in operators():
    setattr(ndarray, _name, _compute)


def bound(signature, name, args, kwargs, takes_lists):
    """The arguments as NumPy's function takes them. Raises TypeError for what CuPy's does not have or take."""
    given = signature.bind(*args, **kwargs).arguments  # TypeError for one that it does not have
    places = {p.name: p for p in signature.parameters.values()}
    for argument, value in given.items():
        values = value if places[argument].kind is places[argument].VAR_POSITIONAL else (value,)
        for one in values if places[argument].kind is not places[argument].VAR_KEYWORD else ():
            if isinstance(one, list | tuple | np.ndarray | map | types.GeneratorType) and not takes_lists(argument):
                raise TypeError(f"CuPy's {name} takes no {type(one).__name__} for {argument}")
    return args


def inside(value):
    """The same with what arrays hold, in lists as well."""
    if isinstance(value, ndarray):
        return value._held
    return type(value)(map(inside, value)) if isinstance(value, list | tuple) else value


def function(name):
    """A function of CuPy's: its own arguments, and arrays where it means arrays."""
    signature = TABLE.functions[name]
    first = next(iter(signature.parameters))

    def call(*args, **kwargs):
        bound(signature, name, args, kwargs, lambda argument: TABLE.takes_lists(name, argument))
        if name in TABLE.conversions:
            return converted(name, *args, **kwargs)
        if first in TABLE.arrays:
            assert args[0] and all(isinstance(one, ndarray) for one in args[0]), f"{name} of no CuPy arrays"
        elif name not in MAKES:
            known = args if name in TABLE.ufuncs else args[:1]
            assert any(isinstance(one, ndarray) for one in known), f"{name} of {[type(one) for one in known]}"
        return wrapped(getattr(np, name)(*map(inside, args), **{key: inside(value) for key, value in kwargs.items()}))

    return call


MAKES = ("arange", "empty", "eye", "full", "identity", "issubdtype", "linspace", "ones", "result_type", "tri", "zeros")
"""Functions that take no array."""


def converted(name, value, *args, **kwargs):
    """`asarray` and its like: of CuPy's arrays, NumPy's and lists of numbers."""
    assert not (isinstance(value, list | tuple) and any(isinstance(one, ndarray) for one in value)), "one by one"
    made = np.asarray(getattr(np, name)(inside(value), *args, **kwargs))
    return ndarray(made if isinstance(value, ndarray) else made.copy())


def asnumpy(a):
    """A copy in NumPy; what is NumPy's already, as it is."""
    waits.append("asnumpy")
    return a._held.copy() if isinstance(a, ndarray) else np.asarray(a)


class Module(types.ModuleType):
    """`cupy`, as `import cupy as cp` finds it."""

    def __getattr__(self, name):
        if name in TABLE.functions:
            return function(name)
        if name in TABLE.constants:
            return getattr(np, name)
        raise AttributeError(f"module 'cupy' has no attribute '{name}'")


def module():
    """The stand-in, for `sys.modules["cupy"]`."""
    made = Module("cupy")
    made.asnumpy, made.ndarray = asnumpy, ndarray
    return made
