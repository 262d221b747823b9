"""Weights in a file, with numpy alone: `.safetensors` (huggingface.co/docs/safetensors) or `.npz`."""

import json

import numpy as np


def read_weights(path):
    """A `.safetensors` or `.npz` file -> {name: array}.

    It is the length of a header (8 bytes), the header (JSON: dtype, shape and place of each tensor), data.
    """
    if str(path).endswith(".npz"):
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    raw = np.fromfile(path, np.uint8)
    start = 8 + int(raw[:8].view("<u8")[0])
    header = json.loads(raw[8:start].tobytes())
    header.pop("__metadata__", None)
    dtypes = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
    weights = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        weights[name] = raw[start + begin : start + end].view(dtypes[entry["dtype"]]).reshape(entry["shape"])
    return weights


def write_weights(path, weights):
    """{name: array} -> a `.safetensors` or `.npz` file."""
    if str(path).endswith(".npz"):
        np.savez(path, **weights)
        return
    header, end = {}, 0
    for name, array in weights.items():
        dtype = {"f8": "F64", "f4": "F32", "f2": "F16"}[array.dtype.str[1:]]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    parts = [np.array([len(text)], "<u8").view(np.uint8), np.frombuffer(text, np.uint8)]
    parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in weights.values()]
    np.concatenate(parts).tofile(path)
