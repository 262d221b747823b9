"""What an emitted NumPy module of named inputs says of samples in files, when it is run; copied into such modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def answer_by_name(make: Callable[[], Any]) -> None:
    """`python MODULE.py --weights FILE X.npz...` prints what the network says of each sample, and ends here.

    A file has an array (N, ...), bytes or floats, under the name of each input. make: the network's class.
    """
    import argparse

    parser = argparse.ArgumentParser(description="What the network says of samples; without arguments, it trains.")
    parser.add_argument("--weights", metavar="FILE", help="as training or `save` leaves it")
    parser.add_argument("samples", metavar="X.npz", nargs="*", help="an array under the name of each input")
    given = parser.parse_args()
    if not given.weights and not given.samples:
        return
    model = make()
    try:
        model.load(given.weights or parser.error("--weights FILE is missing"))
        for path in given.samples or parser.error("the files of samples are missing"):
            with np.load(path) as file:
                y = model.outputs(*(file[name] for name in model.input_shapes))
            for name, rows in (y if isinstance(y, dict) else {"": y}).items():
                for i, row in enumerate(rows):
                    print(" ".join(f"{path} {name} {i}".split()) + f": {row}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        parser.error(str(error))
    raise SystemExit
