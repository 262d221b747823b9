"""Files that are no UTF-8 text: the encoding, or the kind of file, is said, and how to save it."""

import io
import json
import struct
import subprocess
import zipfile

import pytest

from netdsl.cli import run
from netdsl.language.library import decode_spec
from netdsl.pipeline import check_text

SPEC = "# caf\u00e9\ninput 4\nlinear 2\n"


@pytest.mark.parametrize(
    "encoding, said",
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-32-le", "UTF-32"),
        ("utf-32-be", "UTF-32"),
        ("latin-1", "not UTF-8"),
        ("cp1252", "not UTF-8"),
    ],
)
def test_another_encoding_is_named_and_its_help_makes_a_spec_of_the_file(tmp_path, encoding, said, capsys):
    path = tmp_path / "a.net"
    path.write_bytes(SPEC.encode(encoding))
    assert run(["check", str(path)]) == 1
    shown = capsys.readouterr().err
    assert said in shown.splitlines()[0] and "save it as UTF-8" in shown
    wanted = decode_spec(path.read_bytes(), "a.net").help[0].split("`")[1].removesuffix(" > new.net").split()
    assert wanted[0] == "iconv"
    text = subprocess.run(wanted, cwd=tmp_path, capture_output=True, check=True).stdout.decode()
    assert check_text(text)[0] is not None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "ascii"])
def test_utf_8_is_read_with_and_without_a_mark(encoding):
    text = decode_spec(SPEC.replace("\u00e9", "e").encode(encoding), "a.net")
    assert isinstance(text, str) and check_text(text)[0] is not None


def _zip():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY")
    return file.getvalue()


_WEIGHTS = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
KINDS = {
    "a PNG image": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "a JPEG image": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "a zip archive": _zip(),
    "safetensors": struct.pack("<Q", len(_WEIGHTS)) + _WEIGHTS + b"\0\0\0\0",
    "a PDF document": b"%PDF-1.7\n",
    "a gzip archive": b"\x1f\x8b\x08\0",
    "a pickle": b"\x80\x04\x95\x10\0\0\0",
    "binary": b"\x01\x02\0\0\0\0\x03",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 2_000_000], ids=["small", "larger than a spec may be"])
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, kind, size, capsys):
    path = tmp_path / "a.net"
    path.write_bytes(KINDS[kind] + bytes(size))
    assert run(["check", str(path)]) == 1
    shown = capsys.readouterr().err
    assert kind in shown.splitlines()[0] and "not a spec" in shown and "`NAME.net`" in shown


def test_what_is_no_spec_by_its_name_or_is_not_there_is_exit_2(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.net").write_text("input 4\nlinear 2\n")
    (tmp_path / "net.py").write_text("import torch\n")
    for name, said in (
        ("net.py", "is a Python file, not a spec"),
        ("run", "its spec is"),
        ("run/modle.net", "did you mean"),
        ("run/model", "did you mean"),
        ("no/where.net", "there is no such file"),
    ):
        assert run(["check", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err, name
    assert run(["check", str(tmp_path / "run/model.net")]) == 0
