"""Downloads against a server that misbehaves: the right file, or none and a reason; never a wrong one."""

import gzip
import hashlib
import io
import itertools
import re
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from faulty_server import RIGHT, WRONG, Handler, serving

from netdsl.ground.catalog import CATALOG, Download, Member
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.fetching.download import NotServed, Watch, download, part_of
from netdsl.training.data.fetching.fetch import fetch, is_there
from netdsl.training.data.fetching.web import Patience

PLAIN = np.random.default_rng(0).bytes(60_000)
BODY = gzip.compress(PLAIN, 6, mtime=0)
WANTED = Download(
    "data.bin.gz",
    len(BODY),
    hashlib.sha256(BODY).hexdigest(),
    (Member("data.bin", len(PLAIN), hashlib.sha256(PLAIN).hexdigest()),),
)
STRICT = replace(WANTED, members=(Member("data.bin", len(PLAIN)),))  # whose unpacked SHA-256 nobody knows
PATIENCE = Patience(timeout=20, tries=3, pause=0.0)
IMPATIENCE = Patience(timeout=0.5, tries=3, pause=0.0)
WAITING = {"never_answers", "stops_in_the_middle", "trickles", "trickles_its_head"}  # faults that end with a timeout
LEFTOVERS = {"half": BODY[:30_000], "a wrong half": bytes(30_000), "all but the name": BODY}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    file = tmp_path_factory.mktemp("file") / "data.bin.gz"
    file.write_bytes(BODY)
    with serving(BODY, file) as server:
        yield server


def got(folder, mirrors, wanted=WANTED, part=b"", patience=PATIENCE):
    """`right`, `refused`, or what is wrong, of a download; what was said."""
    folder.mkdir(parents=True)
    if part:
        part_of(folder, wanted).write_bytes(part)
    said = []
    try:
        download(wanted, mirrors, folder, patience, Watch(on_step=said.append, on_fault=said.append))
    except NotServed as error:
        left = {path.name for path in folder.iterdir()} - {part_of(folder, wanted).name}
        return ("refused" if not left else f"refused, but {left}"), [*said, str(error)]
    data = (folder / wanted.name).read_bytes()
    is_right = data == BODY or wanted.members[0].sha256 and gzip.decompress(data) == PLAIN
    left = {path.name for path in folder.iterdir()} - {wanted.name}
    return ("right" if is_right and not left else f"wrong: {len(data)} bytes, {left}"), said


def test_there_are_faults_of_many_kinds():
    assert len(WRONG) >= 20 and len(RIGHT) >= 10 and not set(RIGHT) & set(WRONG)
    assert all(callable(getattr(Handler, name)) for name in RIGHT + WRONG)


def test_what_a_mirror_does_wrong_another_one_makes_good(server, tmp_path):
    """Every fault, in one, two or all of three mirrors, on each kind of leftover of an earlier try."""
    number = itertools.count()
    cases = [(f, n, "nothing") for f in RIGHT[1:] + WRONG for n in (1, 2, 3)]
    cases += [(f, n, p) for f in RIGHT[1:] + WRONG if f not in WAITING for n in (1, 2) for p in LEFTOVERS]

    def outcome(case):
        fault, faulty, part = case
        case_id = next(number)
        mirrors = [f"{server.address}/{fault if i < faulty else 'good'}/{case_id}x{i}/" for i in range(3)]
        patience = IMPATIENCE if fault in WAITING else PATIENCE
        return got(tmp_path / str(case_id), mirrors, part=LEFTOVERS.get(part, b""), patience=patience)[0]

    with ThreadPoolExecutor(32) as pool:  # most of the time they wait
        outcomes = dict(zip(cases, pool.map(outcome, cases), strict=True))
    expected = {
        (fault, n, p): "right" if fault in RIGHT or n < 3 or p == "all but the name" else "refused"
        for fault, n, p in cases
    }
    counts = {what: list(outcomes.values()).count(what) for what in sorted(set(outcomes.values()))}
    print(f"\n{len(RIGHT) + len(WRONG) - 1} faults, {len(cases)} downloads from three mirrors: {counts}")
    assert {case: outcomes[case] for case in cases if outcomes[case] != expected[case]} == {}


def mirror(server, fault, case):
    return f"{server.address}/{fault}/{case}/"


@pytest.mark.parametrize(
    "fault, reason",
    [
        ("not_there", "answers 404"),
        ("broken", "answers 500"),
        ("says_nothing", "the connection broke off"),
        ("never_answers", "no answer within 0.3 s"),
        ("trickles_its_head", "no answer within 0.3 s"),
        ("trickles", "it sends [0-9]+ bytes a second"),
        ("wrong_bytes", "SHA-256 [0-9a-f]{12}..., expected"),
        ("a_page_for_people", "[0-9]+ bytes of SHA-256"),
        ("promises_more", "it offers [0-9]+ bytes, expected at most [0-9]+$"),
        ("never_ends", "it sends more than"),
        ("redirects_in_a_circle", "redirects in a circle"),
        ("redirects_for_ever", "redirects in a circle, or too often"),
        ("redirects_to_a_file", "redirects to what is not on the web"),
        ("redirects_to_ftp", "redirects to what is not on the web"),
        ("is_no_http", "it answers in no HTTP"),
        ("floods_its_head", "it answers in no HTTP"),
        ("breaks_its_chunks", "the connection broke off"),
    ],
)
def test_a_reason_names_the_host_and_what_it_did(server, tmp_path, fault, reason):
    patience = Patience(timeout=0.3 if fault in WAITING else 20, tries=1, pause=0)
    outcome, said = got(tmp_path / "x", [mirror(server, fault, "why")], patience=patience)
    assert outcome == "refused"
    host = server.address.removeprefix("http://")
    assert re.search(f"^{host}: .*{reason}", said[-1]), said


def test_a_redirect_to_a_file_of_this_machine_reads_nothing_of_it(server, tmp_path):
    """The file is the right one, so that its bytes would do."""
    assert server.file.read_bytes() == BODY
    assert got(tmp_path / "x", [mirror(server, "redirects_to_a_file", "f")])[0] == "refused"
    for address in (f"{server.file.parent.as_uri()}/", "ftp://127.0.0.1/", "data:,", "nonsense", "http://a b/"):
        assert got(tmp_path / str(len(address)), [address])[0] == "refused"


def test_answers_that_do_not_change_are_asked_for_once_and_others_three_times(server, tmp_path):
    for fault, times in {"not_there": 1, "wrong_bytes": 1, "promises_more": 1, "broken": 3, "is_short": 1}.items():
        got(tmp_path / fault, [mirror(server, fault, "times")])
        assert server.asked[f"{fault}/times"] == times, fault


def test_half_a_file_is_gone_on_with_and_not_sent_again(server, tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    part_of(folder, WANTED).write_bytes(BODY[:50_000])
    seen = []
    watch = Watch(on_bytes=lambda name, done, total: seen.append((name, done, total)))
    download(WANTED, [mirror(server, "good", "resume")], folder, PATIENCE, watch)
    assert (folder / WANTED.name).read_bytes() == BODY and server.asked["good/resume"] == 1
    assert seen[0][1] > 50_000 and seen[-1] == (WANTED.name, len(BODY), len(BODY))


def test_a_leftover_is_no_reason_to_ask_twice(server, tmp_path):
    """Where the whole file is sent in place of a piece it is taken; what is too long to be the file is not kept."""
    parts = {"ignores_range": BODY[:30_000], "good": BODY + b"more", "says_gzip_of_what_is_a_gz": BODY[:9]}
    for fault, part in parts.items():
        outcome, said = got(tmp_path / fault, [mirror(server, fault, "leftover")], part=part)
        assert (outcome, said, server.asked[f"{fault}/leftover"]) == ("right", [], 1), fault


def test_another_piece_than_was_asked_for_is_not_taken(server, tmp_path):
    outcome, said = got(tmp_path / "x", [mirror(server, "sends_another_piece", "other")], part=BODY[:30_000])
    assert outcome == "refused" and "it sends another piece than was asked for; once more, 2 of 3" in said[0]


def test_a_file_that_breaks_off_every_time_comes_piece_by_piece(server, tmp_path):
    outcome, said = got(tmp_path / "x", [mirror(server, "breaks_off_every_time", "pieces")])
    assert outcome == "right" and server.asked["breaks_off_every_time/pieces"] == 2
    assert "broke off after" in said[0] and "once more, 2 of 3" in said[0]


def test_another_packing_needs_a_hash_of_what_it_unpacks_to(server, tmp_path):
    for fault, known, unknown in (
        ("packs_otherwise", "right", "refused"),
        ("packs_again", "right", "right"),
        ("says_gzip_of_what_is_a_gz", "right", "right"),
    ):
        outcomes = [
            got(tmp_path / f"{fault} {i}", [mirror(server, fault, i)], wanted)[0]
            for i, wanted in enumerate((WANTED, STRICT))
        ]
        assert outcomes == [known, unknown], fault


def test_no_more_is_written_than_the_file_has(server, tmp_path):
    most = 0

    def count(name, done, total):
        nonlocal most
        most = max(most, done)

    for fault in ("never_ends", "bomb", "promises_more"):
        with pytest.raises(NotServed):
            download(STRICT, [mirror(server, fault, "most")], tmp_path, PATIENCE, Watch(on_bytes=count))
    assert most <= len(BODY) + len(BODY) // 1000 + 2**16
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_of_the_environment_is_asked(server, tmp_path, monkeypatch):
    """The name of the mirror is not known on any machine; the server here answers in its place."""
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    outcome, _ = got(tmp_path / "x", ["http://mirror.invalid/good/proxied/"])
    assert outcome == "right"


# ---------------------------------------------------------------------------------------------------- a set of files


def small_set(server, fault="good", wanted=(WANTED,)):
    return replace(CATALOG["mnist"], downloads=wanted, mirrors=(mirror(server, fault, "set"),), needs=(("data.bin",),))


def test_what_is_right_is_left_alone_and_what_is_damaged_fetched_again(server, tmp_path):
    data = small_set(server)
    before = server.asked["good/set"]
    for _ in range(2):
        fetch(data, tmp_path / "x", patience=PATIENCE)
    assert server.asked["good/set"] == before + 1 and is_there(WANTED, tmp_path / "x")
    (tmp_path / "x" / WANTED.name).write_bytes(BODY[:-1] + b"x")
    fetch(data, tmp_path / "x", patience=PATIENCE)
    assert server.asked["good/set"] == before + 2
    (tmp_path / "x" / WANTED.name).unlink()
    (tmp_path / "x" / "data.bin").write_bytes(PLAIN)
    fetch(data, tmp_path / "x", patience=PATIENCE)
    assert server.asked["good/set"] == before + 2


def test_offline_nothing_is_asked_for_and_the_help_says_what_to_put_where(server, tmp_path):
    before = server.asked.total()
    with pytest.raises(UserError, match="has no `data.bin.gz`, and nothing is downloaded offline") as caught:
        fetch(small_set(server), tmp_path / "x", is_offline=True)
    assert WANTED.sha256 in caught.value.help and str(tmp_path / "x") in caught.value.help
    assert server.asked.total() == before
    (tmp_path / "x" / WANTED.name).write_bytes(BODY)
    fetch(small_set(server), tmp_path / "x", is_offline=True)


def test_no_mirror_is_one_line_with_every_reason(server, tmp_path):
    faults = ("not_there", "wrong_bytes", "broken")
    mirrors = [mirror(server, fault, "line") for fault in faults]
    with pytest.raises(
        UserError, match="no mirror serves `data.bin.gz` of `mnist`: .*404; .*SHA-256.*; .*500$"
    ) as caught:
        fetch(small_set(server), tmp_path / "x", mirrors, PATIENCE)
    assert "\n" not in caught.value.message and "--data mnist-mini" in caught.value.help


def test_two_that_fetch_at_once_fetch_once(server, tmp_path):
    data, before = small_set(server, "fails_once"), server.asked["fails_once/set"]
    said = []
    patience = replace(PATIENCE, pause=0.8)  # the first holds the lock so long

    def work():
        fetch(data, tmp_path / "x", patience=patience, watch=Watch(on_step=said.append, on_fault=said.append))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked["fails_once/set"] == before + 2
    assert any("another process fetches" in text for text in said)
    assert (tmp_path / "x" / WANTED.name).read_bytes() == BODY


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A server of a `.tar.gz` of one folder with two files, and the download that it is."""
    files = {"train.bin": PLAIN[:9000], "test.bin": PLAIN[:3000]}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, data in {**files, "readme.html": b"<html>"}.items():
            info = tarfile.TarInfo(f"set/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    body = packed.getvalue()
    members = tuple(Member(n, len(data), hashlib.sha256(data).hexdigest()) for n, data in files.items())
    wanted = Download("set.tar.gz", len(body), hashlib.sha256(body).hexdigest(), members, "set")
    with serving(body, tmp_path_factory.mktemp("archive")) as server:
        yield server, wanted


def test_of_an_archive_its_files_are_kept_and_damage_brings_it_again(archive, tmp_path):
    server, wanted = archive
    data, said = small_set(server, wanted=(wanted,)), []
    for _ in range(2):
        fetch(data, tmp_path, patience=PATIENCE, watch=Watch(on_step=said.append, on_fault=said.append))
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "train.bin", "test.bin"}
    assert (tmp_path / "train.bin").read_bytes() == PLAIN[:9000] and said == ["unpacking set.tar.gz"]
    assert server.asked["good/set"] == 1
    (tmp_path / "test.bin").write_bytes(bytes(3000))
    fetch(data, tmp_path, patience=PATIENCE)
    assert (tmp_path / "test.bin").read_bytes() == PLAIN[:3000] and server.asked["good/set"] == 2


def test_an_archive_that_somebody_put_there_is_unpacked_offline(archive, tmp_path):
    server, wanted = archive
    (tmp_path / wanted.name).write_bytes(server.body)
    fetch(small_set(server, wanted=(wanted,)), tmp_path, is_offline=True)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "train.bin", "test.bin"}
    (tmp_path / "train.bin").unlink()
    (tmp_path / wanted.name).write_bytes(server.body[:-1])
    with pytest.raises(UserError, match="set.tar.gz` is damaged, and nothing is downloaded offline"):
        fetch(small_set(server, wanted=(wanted,)), tmp_path, is_offline=True)


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from netdsl.ground.catalog import CATALOG, Download, Member
from netdsl.training.data.fetching.fetch import fetch
from netdsl.training.data.fetching.web import Patience
address, folder, size, sha256 = sys.argv[1:]
wanted = Download("data.bin.gz", int(size), sha256, (Member("data.bin", 60_000),))
data = replace(CATALOG["mnist"], downloads=(wanted,), mirrors=(address,))
print("begun", flush=True)
fetch(data, Path(folder), patience=Patience(20, 1, 0))
"""


def test_a_process_that_is_killed_leaves_a_part_that_is_gone_on_with(server, tmp_path):
    folder = tmp_path / "x"
    address = mirror(server, "stops_in_the_middle", "killed")
    arguments = [sys.executable, "-c", KILLED, address, str(folder), str(len(BODY)), WANTED.sha256]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    try:
        part = part_of(folder, WANTED)
        for _ in range(400):
            if part.exists() and part.stat().st_size >= 2**14:
                break
            threading.Event().wait(0.05)
    finally:
        process.kill()
        process.communicate()
    assert not (folder / WANTED.name).exists() and 0 < part.stat().st_size < len(BODY)
    assert part.read_bytes() == BODY[: part.stat().st_size]
    fetch(small_set(server), folder, patience=PATIENCE)
    assert (folder / WANTED.name).read_bytes() == BODY


def test_a_disk_without_locks_is_refused(server, tmp_path, monkeypatch):
    def lockless(*_, **__):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", lockless)
    with pytest.raises(UserError, match="has no locks, so that two processes could fetch at once") as caught:
        fetch(small_set(server), tmp_path / "x", patience=PATIENCE)
    assert "`--to`" in caught.value.help


def test_the_address_of_a_mirror_may_end_without_a_slash(server, tmp_path):
    assert got(tmp_path / "x", [mirror(server, "good", "slash").rstrip("/")])[0] == "right"


def test_a_full_disk_is_no_fault_of_a_mirror(server, tmp_path, monkeypatch):
    def full(self, chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("netdsl.training.data.fetching.download._Part.write", full)
    before = server.asked["good/set"]
    with pytest.raises(OSError, match="No space left on device") as caught:
        fetch(small_set(server), tmp_path / "x", patience=PATIENCE)
    assert caught.value.filename == str(tmp_path / "x") and server.asked["good/set"] == before + 1
