"""`netdsl data`: what it says, where it puts things, and its exit codes."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click
import pytest
from conftest import ROOT
from faulty_server import serving
from named_data import DATA, needs_data, own_home, write_cifar100, write_idx

from netdsl.cli import cli, run
from netdsl.cli.data import command
from netdsl.ground.catalog import CATALOG
from netdsl.ground.system.machine import user_cache
from netdsl.training.data.places import package_file

__all__ = ["own_home"]  # a fixture
IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture
def call(capsys):
    """call("data list") -> exit code, stdout, stderr."""

    def call(line):
        code = run(line.split())
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_every_subcommand_has_an_example_and_says_the_defaults_of_its_options(call):
    context = click.Context(cli)
    assert set(command.list_commands(context)) == {"list", "show", "fetch", "verify", "path", "unpack"}
    for name in command.list_commands(context):
        code, out, _ = call(f"data {name} --help")
        assert code == 0 and "Example" in out
        for option in command.get_command(context, name).params:
            if isinstance(option, click.Option):
                assert option.help and (option.is_flag or "default" in option.help), option.opts


def test_list_tells_of_every_set_what_it_is_and_where(call, own_home, monkeypatch):
    write_idx(own_home / "work/data/FashionMNIST/raw")
    monkeypatch.setenv("NETDSL_DATA_DIR", str(own_home / "given"))
    (own_home / "given").mkdir()
    (own_home / "given/data_batch_1.bin").write_bytes(b"")
    (own_home / "given/test_batch_1000.bin").write_bytes(b"")
    code, out, err = call("data list")
    rows = {line.split()[0]: line for line in out.splitlines()[2:]}
    assert (code, err) == (0, "") and list(rows) == list(CATALOG)
    assert "60,000 + 10,000" in rows["kmnist"] and "not here; 21.2 MB to fetch" in rows["kmnist"]
    assert rows["fashion-mnist"].endswith(str(Path("data/FashionMNIST/raw")))
    assert rows["cifar10"].endswith("given, a part") and "3x32x32" in rows["cifar10"]
    assert rows["spiral"].endswith("computed") and rows["mnist-mini"].endswith("in netdsl")


def test_list_as_json_is_an_object_a_line(call, own_home):
    write_cifar100(own_home / "data/cifar100")
    code, out, _ = call("data list --json")
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0 and list(rows) == list(CATALOG)
    assert rows["cifar100"]["place"] == str(own_home / "data/cifar100") and len(rows["cifar100"]["classes"]) == 100
    assert (rows["mnist"]["place"], rows["mnist"]["download_bytes"], rows["mnist"]["is_whole"]) == (
        None,
        11_594_722,
        False,
    )
    assert rows["fashion-mnist"]["source"].endswith("MIT") and rows["spiral"]["is_whole"]


def test_path_is_where_it_is_read_from(call, own_home):
    write_cifar100(own_home / "data/cifar100")
    assert call("data path cifar100") == (0, f"{own_home / 'data/cifar100'}\n", "")
    assert call("data path mnist-mini") == (0, f"{package_file('mnist-mini')}\n", "")
    for name, said in {"kmnist": "`netdsl data fetch kmnist` downloads it (21.2 MB)", "spiral": "is computed"}.items():
        code, out, err = call(f"data path {name}")
        assert (code, out) == (2, "") and said in err


@pytest.mark.parametrize("verb", ["path", "verify", "fetch"])
def test_a_name_that_there_is_not_is_answered_with_the_one_that_is_meant(call, own_home, verb):
    code, out, err = call(f"data {verb} fashion_mnist")
    assert (code, out) == (2, "") and err.startswith("error: there is no data set called `fashion_mnist`\n")
    assert "did you mean `fashion-mnist`?" in err and len(err.splitlines()) == 2


@pytest.mark.parametrize(
    "line, said",
    [
        ("data ls", "did you mean `data list`?"),
        ("data fech mnist", "did you mean `data fetch`?"),
        ("data download mnist", "did you mean `data fetch`?"),
        ("data frobnicate", "they are list, show, fetch, verify, path"),
        ("fetch mnist", "did you mean `data fetch`?"),
        ("data fetch", "Missing argument"),
    ],
)
def test_what_is_meant_is_said(call, line, said):
    code, out, err = call(line)
    assert (code, out) == (2, "") and said in err


# ------------------------------------------------------------------------------------------------------------- verify


def test_verify_tells_damage_parts_and_what_is_missing_apart(call, own_home):
    folder = own_home / "cache/netdsl/data/mnist"
    write_idx(folder)
    (folder / f"{IDX[3]}.gz").unlink()
    (folder / f"{IDX[3]}.gz.part").write_bytes(b"123")
    code, out, _ = call("data verify mnist")
    states = [line.split()[0] for line in out.splitlines()]
    assert (code, states) == (1, ["damaged"] * 3 + ["missing", "part"])
    assert "unpacked: 31,376 bytes, expected 47,040,016" in out and "3 of 4,542 bytes are fetched" in out


def test_verify_of_files_whose_unpacked_hash_nobody_has_published(call, own_home):
    folder = own_home / "data/KMNIST/raw"
    write_idx(folder, zipped=False)
    (folder / IDX[3]).write_bytes(bytes(10_008))
    code, out, _ = call("data verify kmnist")
    lines = out.splitlines()
    assert code == 1 and [line.split()[0] for line in lines] == ["damaged"] * 3 + ["unknown"]
    assert "10,008 bytes as it should be, but no SHA-256 is known of these" in lines[3]


def test_verify_of_nothing_says_how_to_get_it(call, own_home):
    code, out, err = call("data verify kmnist")
    assert (code, out) == (2, "") and "netdsl data fetch kmnist" in err
    assert call("data verify spiral")[0] == 2


@needs_data
def test_verify_of_the_published_files_finds_them_right(call, own_home, monkeypatch):
    monkeypatch.setenv("NETDSL_DATA_DIR", DATA)
    code, out, _ = call("data verify mnist")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["ok"] * 4
    code, out, _ = call("data verify cifar10")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["ok"] + ["missing"] * 5 + ["part"]


# -------------------------------------------------------------------------------------------------------------- fetch


@pytest.fixture
def mirror():
    """mirror(folder) -> the address of a right server of a folder's files."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@needs_data
def test_fetch_brings_mnist_to_the_cache_where_training_finds_it(call, own_home, mirror, tmp_path):
    """One of the four files is packed in another way than published, and right all the same."""
    address = mirror(Path(DATA) / "mnist")
    code, out, err = call(f"data fetch mnist --mirror {address}")
    folder = user_cache() / "data/mnist"
    assert (code, out) == (0, f"{folder}\n"), err
    assert f"fetching {IDX[0]}.gz (9.9 MB)" in err and "CC BY-SA 3.0" in err
    assert sorted(path.name for path in folder.iterdir()) == [".lock", *sorted(f"{name}.gz" for name in IDX)]
    assert call("data fetch mnist --offline") == (0, f"{folder}\n", "mnist is here already\n")
    assert call("data path mnist")[1] == f"{folder}\n" and call("data verify mnist")[0] == 0
    (tmp_path / "a.net").write_text("input 1x28x28\nflatten -> linear 10\ntrain { data mnist, epochs 1 }\n")
    code, out, err = call(f"train {tmp_path / 'a.net'} --limit 100 --no-plots -O 0")
    assert code == 0 and "100 + 100 samples of mnist" in err


@needs_data
def test_fetch_to_a_folder_says_how_it_is_read_from_there(call, own_home, mirror, tmp_path):
    address = mirror(Path(DATA) / "mnist")
    code, out, err = call(f"data fetch mnist --quiet --to {tmp_path / 'sets'} --mirror {address}")
    assert (code, out) == (0, f"{tmp_path / 'sets/mnist'}\n")
    assert err.splitlines()[-1] == f"note: NETDSL_DATA_DIR={tmp_path / 'sets'} makes netdsl read it from there"
    code, out, err = call(f"data fetch mnist --to {Path.home() / 'data'} --mirror {address} -q")
    assert code == 0 and "note" not in err, "this folder is looked into"


@pytest.mark.parametrize("how", ["--offline", "NETDSL_OFFLINE"])
def test_offline_is_one_line_and_what_to_put_where(call, own_home, monkeypatch, how):
    if how == "NETDSL_OFFLINE":
        monkeypatch.setenv(how, "1")
    code, out, err = call(f"data fetch cifar100 {how if how == '--offline' else ''}")
    assert (code, out) == (2, "")
    error, help_line = err.splitlines()
    assert error.endswith("has no `cifar-100-binary.tar.gz`, and nothing is downloaded offline")
    assert f"SHA-256 {CATALOG['cifar100'].downloads[0].sha256}" in help_line and "168.5 MB" in help_line


def test_what_comes_with_netdsl_is_not_fetched(call, own_home):
    code, out, err = call("data fetch spiral mnist-mini")
    assert (code, out) == (0, "") and err.count("comes with netdsl: there is nothing to fetch") == 2


HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would inherit: ignore it
from netdsl.cli import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_keeps_what_is_there_and_says_how_to_go_on(own_home):
    with serving(bytes(60_000), own_home) as server:
        arguments = ["data", "fetch", "kmnist", "--mirror", f"{server.address}/stops_in_the_middle/cli/"]
        process = subprocess.Popen(
            [sys.executable, "-c", HEARS_CTRL_C, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        part = user_cache() / f"data/kmnist/{IDX[0]}.gz.part"
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert f"kept {part}: {part.stat().st_size:,} of 18,165,135 bytes are fetched" in err
    assert "to go on: netdsl data fetch kmnist\n" in err and "Traceback" not in err
    assert part.stat().st_size == 2**15


def test_a_bar_is_drawn_on_a_terminal(own_home, monkeypatch, capsys):
    from netdsl.cli.download_bar import shown_downloads

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with shown_downloads(False) as watch:
        for done in (1_000_000, 5_000_000, 9_912_422):
            watch.on_bytes(f"{IDX[0]}.gz", done, 9_912_422)
        watch.on_fault("one.example: [bold]it answers 500\x1b[2J; once more")
    shown = capsys.readouterr().err
    assert f"{IDX[0]}.gz" in shown and "9.9/9.9 MB" in shown
    assert "[bold]it answers 500\\x1b[2J; once more" in shown


# -------------------------------------------------------------------------------------------------- training without


def test_training_without_the_files_downloads_nothing_and_says_how_to_get_them(call, own_home):
    Path("a.net").write_text("input 1x28x28\nflatten -> linear 10\ntrain { data fashion-mnist }\n")
    code, out, err = call("train a.net")
    assert (code, out) == (2, "") and not Path("runs").exists()
    error, help_line = err.splitlines()
    assert error == "error: the files of `fashion-mnist` are not on this machine"
    assert help_line.startswith(
        "help: `netdsl data fetch fashion-mnist` downloads it (30.9 MB); or set NETDSL_DATA_DIR"
    )


def test_a_few_steps_on_each_set_that_has_files(call, own_home):
    """Synthetic files in the published format; what is learned is where the bright square lies."""
    for name in ("mnist", "fashion-mnist", "kmnist"):
        write_idx(Path("data") / CATALOG[name].folders[-1], train=400, test=50)
    write_cifar100(Path("data/cifar-100-binary"), 400, 100)
    for name, data in CATALOG.items():
        if data.has_files and name != "cifar10" and not data.is_text:
            sizes = "x".join(map(str, data.shape))
            Path("a.net").write_text(f"input {sizes}\nflatten -> linear {len(data.classes)}\n")
            code, out, err = call(f"train a.net --data {name} --epochs 3 --no-plots -O 0 --lr 0.01")
            assert code == 0, err
            result = json.loads(out)
            least = 0.5 if len(data.classes) == 10 else 0.03  # by chance 0.1 and 0.01
            assert result["test_accuracy"] > least and f"samples of {name}" in err, (name, result)


@pytest.mark.parametrize("name", ["fashion_cnn", "cifar100_resnet20"])
def test_the_spec_of_each_new_set_trains_on_it_and_is_measured(call, own_home, name):
    """A step or two on synthetic files; the recipe is the spec's own but for its length."""
    write_idx(Path("data/FashionMNIST/raw"), train=80, test=20)
    write_cifar100(Path("data/cifar-100-binary"), 100, 20)
    code, out, err = call(f"train {ROOT / 'specs' / name}.net --epochs 1 --batch 32 --no-plots --no-autotune --out run")
    assert code == 0 and ("samples of fashion-mnist" in err or "samples of cifar100" in err), err
    assert 0 <= json.loads(out)["test_accuracy"] <= 1
    code, out, _ = call("eval run --json")
    assert code == 0 and json.loads(out)["samples"] == 20


def test_gzip_is_read_whatever_the_name(call, own_home):
    folder = write_cifar100(Path("data/cifar100"))
    (folder / "train.bin").write_bytes(gzip.compress((folder / "train.bin").read_bytes(), 1))
    assert call("data path cifar100")[1] == f"{folder}\n"
    code, out, _ = call("data verify cifar100")
    assert code == 1 and "unpacked: 614,800 bytes, expected 153,700,000" in out
