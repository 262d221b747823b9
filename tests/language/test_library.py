"""`use` reads `.net` files of the spec's folder: no path, link, pipe or device leads it elsewhere or makes it wait."""

import os

import pytest

from netdsl.pipeline import check_file

WORDS = {
    "../o/out.net": "outside",
    "sub/../../o/out.net": "outside",
    "link.net": "outside",
    "folder/out.net": "outside",
    "/etc/passwd": "not a path below",
    "loop.net": "cannot read",
    "pipe.net": "not a regular file",
    "zero.net": "outside",
    "sub": "not a `.net` file",
    "none.net": "cannot read",
    "inside.net": None,
    "sub/ok.net": None,
}


@pytest.fixture
def spec(tmp_path):
    for folder in ("s/sub", "o"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("o/out.net", "s/sub/ok.net"):
        (tmp_path / file).write_text("block q(c) { linear c }\n")
    links = {"link.net": "../o/out.net", "inside.net": "sub/ok.net", "folder": "../o", "loop.net": "loop.net"}
    for name, target in {**links, "zero.net": "/dev/zero"}.items():
        (tmp_path / "s" / name).symlink_to(target)
    os.mkfifo(tmp_path / "s/pipe.net")
    return tmp_path / "s/m.net"


@pytest.mark.parametrize("path", WORDS)
def test_a_used_file_is_one_of_the_specs_folder(spec, path):
    spec.write_text(f'use "{path}"\ninput 2\nq(3)\n')
    net, diagnostics = check_file(spec)
    if WORDS[path] is None:
        assert net is not None
    else:
        assert diagnostics[0].code == "N318" and WORDS[path] in diagnostics[0].message
