"""Archives: the known files come out, whatever else is in one stays in it, and damage is one line."""

import gzip
import hashlib
import io
import tarfile
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from netdsl.ground.catalog import Download, Member
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.fetching import unpack as module
from netdsl.training.data.fetching.unpack import unpack

FILES = {name: np.random.default_rng(i).bytes(30_000) for i, name in enumerate(("a.bin", "b.bin"))}
MEMBERS = tuple(Member(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items())
WANTED = Download("set.tar.gz", 0, "", MEMBERS, "set")


def entry(name, data=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def right():
    return [entry("set", kind=tarfile.DIRTYPE), *(entry(f"set/{name}", data) for name, data in FILES.items())]


def archive(path, entries, form=tarfile.GNU_FORMAT):
    with gzip.open(path, "wb", compresslevel=1) as packed, tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path):
    """A folder two levels deep, so that what escapes from it would be seen."""
    (tmp_path / "outer/inner").mkdir(parents=True)
    return tmp_path / "outer/inner"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_known_files_come_out(folder, tmp_path, form):
    unpack(archive(tmp_path / "set.tar.gz", right(), form), WANTED, folder)
    assert names(folder) == ["a.bin", "b.bin"]
    assert all((folder / name).read_bytes() == data for name, data in FILES.items())


BESIDE = {
    "a name with dots": entry("../evil", b"x"),
    "dots inside": entry("set/../../evil", b"x"),
    "an absolute name": entry("/tmp/evil-of-netdsl", b"x"),
    "another file": entry("set/readme.html", b"x" * 1000),
    "a link out": entry("set/link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "a hard link": entry("set/hard", kind=tarfile.LNKTYPE, link="set/a.bin"),
    "a device": entry("set/device", kind=tarfile.CHRTYPE),
    "a pipe": entry("set/pipe", kind=tarfile.FIFOTYPE),
    "a known name elsewhere": entry("other/a.bin", b"x"),
    "a known name below": entry("set/set/a.bin", b"x"),
    "a Windows name": entry("set\\a.bin", b"x"),
    "an unknown kind": entry("set/odd", kind=b"Z"),
}


@pytest.mark.parametrize("what", BESIDE)
def test_what_else_is_in_an_archive_stays_in_it(folder, tmp_path, what):
    before = names(tmp_path)
    unpack(archive(tmp_path / "set.tar.gz", [BESIDE[what], *right()]), WANTED, folder)
    assert names(folder) == ["a.bin", "b.bin"]
    assert set(names(tmp_path)) - set(before) == {"set.tar.gz", "outer/inner/a.bin", "outer/inner/b.bin"}


def sparse(size):
    info, _ = entry("set/a.bin", kind=tarfile.GNUTYPE_SPARSE)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"%011o\0%011o\0" % (0, 0)  # one hole
    header[483:495] = b"%011o\0" % size  # the size that it claims
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


BAD = {
    "a link": ([entry("set/a.bin", kind=tarfile.SYMTYPE, link="/etc/passwd")], "no plain file"),
    "a hard link": ([entry("set/a.bin", kind=tarfile.LNKTYPE, link="../evil")], "no plain file"),
    "a folder": ([entry("set/a.bin", kind=tarfile.DIRTYPE)], "no plain file"),
    "a device": ([entry("set/a.bin", kind=tarfile.BLKTYPE)], "no plain file"),
    "a shorter file": ([entry("set/a.bin", FILES["a.bin"][:-1])], "is 29999 bytes, expected 30000 bytes"),
    "a longer file": ([entry("set/a.bin", bytes(30_001))], "is 30001 bytes, expected 30000 bytes"),
    "other bytes": ([entry("set/a.bin", bytes(30_000))], "`a.bin` has 30000 bytes of SHA-256 .*, expected"),
    "one file less": (right()[:2], "it has no `set/b.bin`"),
    "nothing": ([], "it has no `set/a.bin`"),
    "very many members": ([entry(f"set/{i}") for i in range(200)], "more than 100 members"),
    "a large stranger": ([entry("set/x", bytes(3_000_000))], "it unpacks to more than its files have"),
}


@pytest.mark.parametrize("what", BAD)
def test_an_archive_of_anything_else_is_damaged(folder, tmp_path, what):
    entries, reason = BAD[what]
    more = right()[1:] if entries and what not in ("one file less",) else []
    with pytest.raises(UserError, match=f"set.tar.gz` is damaged: .*{reason}"):
        unpack(archive(tmp_path / "set.tar.gz", [*entries, *more]), WANTED, folder)
    assert all((folder / name).read_bytes() == FILES[name] for name in names(folder))


def test_a_sparse_file_is_no_plain_one(folder, tmp_path):
    path = tmp_path / "set.tar.gz"
    path.write_bytes(gzip.compress(sparse(30_000) + bytes(1024)))
    with pytest.raises(UserError, match="is damaged: `set/a.bin` is no plain file, expected 30000 bytes"):
        unpack(path, WANTED, folder)
    assert names(folder) == []


def test_a_sparse_file_of_the_newer_kind_is_no_plain_one(folder, tmp_path):
    """Its header says that it is plain, and a record before it that most of it is a hole."""
    info, _ = entry("set/a.bin", b"x")
    info.pax_headers = {"GNU.sparse.size": "30000", "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,1"}
    path = archive(tmp_path / "set.tar.gz", [(info, b"x")], tarfile.PAX_FORMAT)
    with pytest.raises(UserError, match="`set/a.bin` is no plain file"):
        unpack(path, WANTED, folder)
    assert names(folder) == []


def test_a_member_twice_is_taken_once(folder, tmp_path):
    unpack(archive(tmp_path / "set.tar.gz", [*right(), entry("set/a.bin", bytes(30_000))]), WANTED, folder)
    assert (folder / "a.bin").read_bytes() == FILES["a.bin"]


def test_every_truncation_and_many_flips_are_refused_or_right(folder, tmp_path):
    good = archive(tmp_path / "set.tar.gz", right()).read_bytes()
    path, rng = tmp_path / "bad.tar.gz", np.random.default_rng(0)
    damaged = [good[:n] for n in (*range(0, 60, 3), *rng.integers(0, len(good) - 8, 60))]
    for place in rng.integers(0, len(good), 150):
        damaged.append(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
    refused = 0
    for data in damaged:
        path.write_bytes(data)
        try:
            unpack(path, WANTED, folder)
        except UserError as error:
            refused += 1
            assert "bad.tar.gz` is damaged" in error.message and "\n" not in error.message
        assert all((folder / name).read_bytes() == FILES[name] for name in names(folder))
    assert refused > 150, "the flips and cuts change what is read"


@pytest.mark.parametrize("member", ["set/a.bin", "set/other"])
def test_a_bomb_is_unpacked_no_further_than_the_files_are_large(folder, tmp_path, member, monkeypatch):
    monkeypatch.setattr(module, "MOST_BESIDE", 100_000)
    path = archive(tmp_path / "set.tar.gz", [entry(member, bytes(30_000_000))])
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is damaged"):
            unpack(path, WANTED, folder)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert names(folder) == []


def test_a_header_that_claims_a_long_name_is_read_no_further_than_the_files_are_large(folder, tmp_path):
    """tarfile reads the text of such a header whole."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path = tmp_path / "set.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(20_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is damaged"):
            unpack(path, WANTED, folder)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()


def test_a_file_of_unknown_hash_needs_its_size_alone(folder, tmp_path):
    wanted = replace(WANTED, members=tuple(Member(m.name, m.size) for m in MEMBERS))
    unpack(archive(tmp_path / "set.tar.gz", [entry(f"set/{name}", bytes(30_000)) for name in FILES]), wanted, folder)
    assert (folder / "a.bin").read_bytes() == bytes(30_000)
