"""A file of weights is data from strangers: it is read right, or refused by a ValueError before it costs anything."""

import copy
import io
import itertools
import json
import os
import random
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from drawing import in_part

from netdsl.kernels.weights import read_weights, write_weights
from netdsl.pipeline import compile_text

RNG = np.random.default_rng(0)
WEIGHTS = {
    "a.weight": RNG.normal(size=(3, 2)).astype(np.float32),
    "a.bias": RNG.normal(size=3).astype(np.float32),
    "b.weight": RNG.normal(size=(2, 3)).astype(np.float32),
}
MOST = 2**20  # bytes that reading such a file of a kilobyte may take: zipfile, json and an exception have their price


def header_of(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def tensors(header, data):
    """The bytes of a safetensors file with that header, a dict or text."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


def npy(descr="<f4", shape=(3, 2), data=bytes(24), fortran=False):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return file.getvalue() + data


def npz(members, method=zipfile.ZIP_STORED):
    """The bytes of a zip file with (name, bytes) as members."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


@pytest.fixture(params=["safetensors", "npz"])
def good(request, tmp_path):
    """(path, bytes) of a small file that is right."""
    path = tmp_path / f"w.{request.param}"
    write_weights(path, WEIGHTS)
    return path, path.read_bytes()


def outcome(path, data, expected=WEIGHTS):
    """What came of it: `loaded`, or the text of the ValueError, which names the file. What is loaded is as expected."""
    path.write_bytes(data)
    try:
        found = read_weights(path, expected)
    except ValueError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error)) < 400 + len(str(path))
        return str(error)
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {k: (v.shape, v.dtype) for k, v in expected.items()}
    assert all(np.isfinite(array).all() for array in found.values())
    return "loaded"


def test_what_is_written_is_read_again_to_the_bit(good):
    found = read_weights(good[0], WEIGHTS)
    assert list(found) == list(WEIGHTS)
    assert all(found[name].tobytes() == array.tobytes() for name, array in WEIGHTS.items())


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_other_floats_are_converted_to_what_the_network_has(tmp_path, dtype, kind):
    other = {name: array.astype(dtype) for name, array in WEIGHTS.items()}
    write_weights(tmp_path / f"w.{kind}", other)
    found = read_weights(tmp_path / f"w.{kind}", WEIGHTS)
    assert all(np.array_equal(found[name], other[name].astype(np.float32)) for name in WEIGHTS)


def test_byte_order_and_memory_order_of_an_npz_do_not_matter(tmp_path):
    np.savez(tmp_path / "w.npz", **{name: np.asfortranarray(array.astype(">f8")) for name, array in WEIGHTS.items()})
    found = read_weights(tmp_path / "w.npz", WEIGHTS)
    assert all(np.array_equal(found[name], array) for name, array in WEIGHTS.items())


def test_the_counters_of_pytorch_and_the_optimizer_of_a_checkpoint_are_passed_over(tmp_path):
    extra = {"bn1.num_batches_tracked": np.array(7), "netdsl.optimizer.v.a.bias": np.full(3, np.inf, np.float32)}
    safetensors.numpy.save_file({**WEIGHTS, **extra}, tmp_path / "w.safetensors", metadata={"format": "pt"})
    assert list(read_weights(tmp_path / "w.safetensors", WEIGHTS)) == list(WEIGHTS)


def test_pytorchs_own_state_dict_fits_the_numpy_networks(tmp_path):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    from netdsl.pipeline import run_module

    net = compile_text("input 2x4x4\nconv 3 k3 -> bn -> flatten -> linear 2")
    module = run_module(net.torch_source(), "module").Model()
    safetensors.torch.save_file(module.state_dict(), tmp_path / "w.safetensors")
    model = net.numpy_model()
    model.load(tmp_path / "w.safetensors")
    x = np.ones((1, 2, 4, 4), np.float32)
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(model.forward(x), expected, rtol=1e-5, atol=1e-6)  # float32


def damaged_tensors():
    """name -> (bytes, what the error says) of safetensors files that are not right."""
    whole = safetensors.numpy.save(WEIGHTS)
    header, data = header_of(whole)
    one = header["a.weight"]

    def changed(**entries):
        return tensors({**header, "a.weight": {**one, **entries}}, data)

    begin, end = one["data_offsets"]
    return {
        "overlap": (changed(data_offsets=header["b.weight"]["data_offsets"]), "before it ends at"),
        "negative place": (changed(data_offsets=[begin - len(data), end - len(data)]), "'a.weight' cannot be float32"),
        "far place": (changed(data_offsets=[begin + 2**70, end + 2**70]), "before it ends at"),
        "reversed place": (changed(data_offsets=[end, begin]), "'a.weight' cannot be float32"),
        "fractional place": (changed(data_offsets=[begin + 0.0, end]), "'a.weight' cannot be float32"),
        "three places": (changed(data_offsets=[begin, end, end]), "'a.weight' has no dtype, shape and data_offsets"),
        "gap": (tensors({**header, "a.weight": {**one, "data_offsets": [begin + 24, end + 24]}}, data), "ends at"),
        "bytes behind": (tensors(header, data + bytes(100)), "the end is at byte"),
        "cut": (whole[:-1], "the end is at byte"),
        "two names": (tensors(json.dumps(header)[:-1] + ', "a.bias": {}}', data), "a name comes twice"),
        "two keys": (tensors(json.dumps(header).replace('"shape"', '"dtype": "F32", "shape"', 1), data), "comes twice"),
        "boolean shape": (changed(shape=[True, 6]), "'a.weight' cannot be float32 of shape (True, 6)"),
        "negative shape": (changed(shape=[-3, -2]), "'a.weight' cannot be float32 of shape (-3, -2)"),
        "huge shape": (changed(shape=[2**62, 2**62]), "'a.weight' cannot be float32"),
        "shape of text": (changed(shape="32"), "'a.weight' cannot be float32"),
        "shape of one number": (changed(shape=6), "'a.weight' has no dtype, shape and data_offsets"),
        "another shape": (changed(shape=[6]), "'a.weight' should be (3, 2), the file has (6,)"),
        "bfloat16": (changed(dtype="BF16"), "'a.weight' is BF16, expected float16, float32 or float64"),
        "whole numbers": (changed(dtype="I32"), "'a.weight' is I32, expected"),
        "dtype of no kind": (changed(dtype=["F32"]), "'a.weight' has no dtype, shape and data_offsets"),
        "dtype of other size": (changed(dtype="F64"), "'a.weight' cannot be float64 of shape (3, 2)"),
        "an entry 5": (tensors({**header, "a.weight": 5}, data), "'a.weight' has no dtype, shape and data_offsets"),
        "an empty entry": (tensors({**header, "a.weight": {}}, data), "'a.weight' has no dtype"),
        "a list": (tensors("[]", data), "the header is not a JSON object"),
        "deep": (tensors("[" * 100_000, data), "recursion"),
        "no JSON": (tensors("{a}", data), "Expecting property name"),
        "no text": (struct.pack("<Q", 4) + b"\xff\xfe\x00\x00" + data, "can't decode"),
        "digits without end": (tensors('{"a": ' + "9" * 5000 + "}", data), "limit"),
        "empty": (b"", "the header is cut or too long: 0 bytes in a file of 0"),
        "a huge header": (struct.pack("<Q", 2**63) + whole[8:], "too long: 9223372036854775808 bytes"),
        "NaN": (safetensors.numpy.save({**WEIGHTS, "a.bias": np.full(3, np.nan, np.float32)}), "'a.bias' has numbers"),
        "too large a number": (
            safetensors.numpy.save({**WEIGHTS, "a.bias": np.full(3, 1e300)}),
            "not finite in float32",
        ),
        "a missing name": (
            safetensors.numpy.save({"a.bias": WEIGHTS["a.bias"]}),
            "should be (3, 2), the file has nothing",
        ),
        "another name": (safetensors.numpy.save({**WEIGHTS, "c\n": WEIGHTS["a.bias"]}), "'c\\n' should be nothing"),
    }


@pytest.mark.parametrize("kind", list(damaged_tensors()))
def test_a_damaged_safetensors_file_is_refused_in_words(tmp_path, kind):
    data, words = damaged_tensors()[kind]
    assert words in outcome(tmp_path / "w.safetensors", data)


def damaged_arrays():
    """name -> (bytes, what the error says) of npz files that are not right."""
    right = [(f"{name}.npy", npy("<f4", array.shape, array.tobytes())) for name, array in WEIGHTS.items()]

    def first(data, name="a.weight.npy"):
        return npz([(name, data), *right[1:]])

    whole = npz(right)
    central = whole.index(b"PK\x01\x02")
    zip64 = whole[: central + 20] + b"\xff" * 8 + whole[central + 28 :]
    at = whole.index(WEIGHTS["a.weight"].tobytes())
    second = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{"
    return {
        "bomb": (
            first(npy(shape=(2**32,), data=b"")),
            "'a.weight' cannot be float32 of shape (4294967296,) in 0 bytes",
        ),
        "bomb in the header": (first(second), "'a.weight' is no array: not the first version"),
        "negative shape": (first(npy(shape=(-3, -2))), "'a.weight'"),
        "boolean shape": (first(npy(shape=(True, 6))), "'a.weight'"),
        "too short": (first(npy(data=bytes(23))), "'a.weight' cannot be float32 of shape (3, 2) in 23 bytes"),
        "too long": (first(npy(data=bytes(25))), "'a.weight' cannot be float32 of shape (3, 2) in 25 bytes"),
        "complex": (first(npy("<c8", data=bytes(48))), "'a.weight' is complex64, expected"),
        "text": (first(npy("<U1")), "'a.weight' is str32, expected"),
        "bool": (first(npy("|b1", data=bytes(6))), "'a.weight' is bool, expected"),
        "whole numbers": (first(npy("<i4")), "'a.weight' is int32, expected"),
        "objects": (first(npy("|O", data=bytes(48))), "'a.weight' is object, expected"),
        "records": (first(npy([("a", "<f4")])), "'a.weight' is void32, expected"),
        "extended floats": (first(npy("<f16", data=bytes(96))), "'a.weight' is float128, expected"),
        "a deep header": (
            first(b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000),
            "'a.weight' is no array",
        ),
        "a header of code": (first(b"\x93NUMPY\x01\x00\x10\x00__import__('os')"), "'a.weight' is no array"),
        "no header": (first(bytes(24)), "'a.weight' is no array"),
        "a name twice": (npz([*right, right[0]]), "'a.weight' comes twice"),
        "a name with and without its ending": (npz([*right, ("a.weight", right[0][1])]), "'a.weight' comes twice"),
        "a path": (first(npy(), "../../a.weight.npy"), "'../../a.weight' should be nothing"),
        "a folder": (npz([*right, ("b/", b"")]), "'b/' is no array"),
        "packed by bzip2": (npz(right, zipfile.ZIP_BZIP2), "packed in another way than by NumPy"),
        "packed by lzma": (npz(right, zipfile.ZIP_LZMA), "packed in another way than by NumPy"),
        "encrypted": (whole[: central + 8] + b"\x01\x00" + whole[central + 10 :], "encrypted"),
        "zip64 that is none": (zip64, "'a.weight' "),  # cannot be so long; newer Pythons say that entries overlap
        "data of another checksum": (whole[:at] + b"\x11" + whole[at + 1 :], "Bad CRC-32 for file 'a.weight.npy'"),
        "NaN": (
            first(npy(data=np.full(6, np.nan, np.float32).tobytes())),
            "'a.weight' has numbers that are not finite",
        ),
        "no zip": (b"PK\x03\x04" + b"x" * 30, "File is not a zip file"),
        "empty": (b"", "File is not a zip file"),
        "one array": (npy(), "File is not a zip file"),
        "very large": (whole + bytes(2**22 + 10**4), "more than these weights can take"),
    }


@pytest.mark.parametrize("kind", list(damaged_arrays()))
def test_a_damaged_npz_is_refused_in_words(tmp_path, kind):
    data, words = damaged_arrays()[kind]
    assert words in outcome(tmp_path / "w.npz", data)


def test_nothing_but_a_file_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (tmp_path, tmp_path / "none.npz", tmp_path / "pipe.npz", "/dev/zero"):
        with pytest.raises(FileNotFoundError, match="is not a file"):
            read_weights(path, WEIGHTS)


def test_what_is_refused_changes_nothing_in_any_numpy_network(tmp_path):
    net = compile_text("input 2\nlinear 3 -> linear 2")
    wrong = {**net.build(0).params, "linear2.bias": np.array([1, np.nan], np.float32)}
    write_weights(tmp_path / "w.npz", wrong)
    for model in (net.build(1), net.numpy_model(1), net.numpy_model(1, level=2, workers=1)):
        before = {name: array.copy() for name, array in model.params.items()}
        with pytest.raises(ValueError, match=r"w\.npz: 'linear2\.bias' has numbers that are not finite"):
            model.load(tmp_path / "w.npz")
        assert all(np.array_equal(before[name], array) for name, array in model.params.items())


def test_every_truncation_is_refused(good):
    path, whole = good
    assert all(outcome(path, whole[:length]) != "loaded" for length in range(len(whole)))


@in_part("every", 11, 1, "every flipped byte of a weight file")
def test_any_single_byte_that_is_flipped_loads_or_is_refused_and_costs_little(good, every):
    path, whole = good
    tracemalloc.start()
    try:
        for place, bits in itertools.product(range(0, len(whole), every), (0x01, 0x20, 0x80, 0xFF)):
            outcome(path, whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST, peak


VALUES = (None, True, 0, -1, 2**31, 2**63, 10**30, 1.5, "", "F32", "x", [], [0], [2**40], [[]], {}, {"dtype": 1})


def mutant(whole, is_npz, rng):
    """A file with a few values of its header, or a few of its bytes, changed."""
    if rng.random() < 0.5:
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            at, length = rng.randrange(len(data)), rng.choice([0, 1, 1, 2, 4, 8])
            data[at : at + length] = rng.choice([rng.randbytes(length), b"\xff" * length, b"", data[:20]])
        return bytes(data)
    if is_npz:
        shape = rng.choice([(3, 2), (2 ** rng.randrange(64),), (-1,), (1,) * 70, (0, 2**60), (3, 2, 1)])
        descr = rng.choice(["<f4", ">f8", "|O", "<c16", "<U9", "|V6", "<m8", "|b1", "<f2", "<i8"])
        body = npy(descr, shape, rng.randbytes(rng.randrange(60)), rng.random() < 0.5)
        name = rng.choice(["a.weight.npy", "a.bias.npy", "b.weight", "/etc/passwd", "\x00", "a" * 300])
        return npz([(name, body)], rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    header, data = header_of(whole)
    for _ in range(rng.randint(1, 3)):
        entry = header.get(rng.choice(list(header)), None)
        key = rng.choice(["dtype", "shape", "data_offsets", "entry", "name"])
        if key in ("entry", "name") or not isinstance(entry, dict):
            header[rng.choice([*header, "__metadata__", "netdsl.x", "\ud800"])] = copy.deepcopy(rng.choice(VALUES))
        else:
            entry[key] = copy.deepcopy(rng.choice(VALUES))
    return tensors(header, data)


def test_mutated_files_load_or_are_refused_and_cost_little(good, request):
    path, whole = good
    rng, count = random.Random(0), {"loaded": 0, "refused": 0}
    tracemalloc.start()
    try:
        for _ in range(request.config.getoption("--mutants")):
            is_loaded = outcome(path, mutant(whole, path.suffix == ".npz", rng)) == "loaded"
            count["loaded" if is_loaded else "refused"] += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(f"{path.suffix}: {count}, peak {peak:,} bytes")
    assert count["refused"] > count["loaded"] and peak < MOST


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_reading_takes_the_files_size_and_a_quarter(tmp_path, kind):
    """The quarter is `np.isfinite`'s, of the largest array."""
    large = {"a.weight": np.ones((1500, 1000), np.float32), "b.weight": np.ones(1000, np.float32)}
    write_weights(tmp_path / f"w.{kind}", large)
    tracemalloc.start()
    try:
        read_weights(tmp_path / f"w.{kind}", large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * 6_000_000 + MOST, peak


def test_a_header_full_of_names_costs_a_bounded_amount(tmp_path):
    """2**22 bytes is the longest header of a small network; JSON takes up to 25 bytes for each of them."""
    text = "{" + ",".join(f'"{i}":{{}}' for i in range(2**22 // 14))
    tracemalloc.start()
    try:
        assert "has no dtype, shape and data_offsets" in outcome(tmp_path / "w.safetensors", tensors(text + "}", b""))
        assert "too long: 4484007 bytes" in outcome(tmp_path / "w.safetensors", tensors(text + " " * 10**6 + "}", b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * 2**22, peak
