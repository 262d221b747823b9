"""A run folder is data: whatever a stranger put into it, nothing runs, nothing outside is touched, and whoever opens it
gets one clear line."""

import itertools
import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from drawing import in_part
from PIL import Image

import netdsl
from netdsl import cli
from netdsl.graph.recipe import AUGMENTATIONS, LOSSES, OPTIMIZERS, SCHEDULES, Recipe
from netdsl.ground.diagnostics import SpecError, UserError
from netdsl.pipeline import check_file, compile_text
from netdsl.targets.numpy.dialect import DIALECT
from netdsl.targets.text.gate import gate
from netdsl.training.pictures.report_tables import environment_tables
from netdsl.training.runs.checkpoint import CHECKPOINTS, checkpoint_path, load_checkpoint
from netdsl.training.runs.config import _CHECKS, RunConfig, read_config, what_changed
from netdsl.training.runs.engine import MOST_WORKERS
from netdsl.training.runs.folder import extended, load_run, read_run, run_net
from netdsl.training.runs.history import read_history
from netdsl.training.runs.recipe_values import recipe_of
from netdsl.training.runs.run_files import check_files

SPEC = "input 2\nlinear 3 -> relu -> linear 3\ntrain { data spiral, epochs 2, opt sgd lr=0.1 momentum=0.9 }\n"
TEXTS = ["config.json", "metrics.csv", "env.json", "result.json", "model.net"]
RICH = {
    "loss": "ce",
    "loss_options": {"smooth": 0.1, "weights": [1.0, 2.0, 1.0]},
    "optimizer": "sgd",
    "options": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
    "schedule": "cosine",
    "schedule_options": {"warmup": 1.0, "end": 0.1},
    "augment": {"mixup": 0.2},
    "clip": 1.0,
    "ema": 0.9,
    "patience": 3,
}
SHELL = "np.ctypeslib.ctypes.CDLL(None).system(b'echo > pwned')"
VALUES = [
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, 10**30, 10**400, float("inf"), float("-inf"), float("nan")),
    *("", "ce", SHELL, f"x={SHELL}, y", "../../etc/passwd", "\x1b[31m\n", "<script>alert(1)</script>", "x" * 20_000),
    *("\ud800", [], {}, [[]], [1, [2]], ["a"], {"a": {"b": [None]}}, [True], {SHELL: 1}, {"__class__": 1}, [1.0] * 9),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, which the tests copy."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "tiny.net").write_text(SPEC)
    arguments = ["train", folder / "tiny.net", "--out", folder / "run", "--limit", "60", "-O", "0", "-q", "--no-plots"]
    assert cli.run([str(argument) for argument in arguments]) == 0
    return folder / "run"


@pytest.fixture
def run(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "run"))


def commands(run):
    """Every command that opens a run."""
    return [
        ["eval", str(run)],
        ["plot", str(run), "curves", "--format", "svg"],
        ["predict", str(run), str(run.parent / "none.png")],
        ["train", "--resume", str(run), "--epochs", "3", "--no-plots", "-q"],
    ]


def said(capsys, arguments):
    """-> the exit code, and what was said on stderr, of which the mistake is one line and perhaps its help."""
    code = cli.run(arguments)
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("help: ")]
    assert code in (0, 1, 2), (arguments, lines[-3:])
    if code == 2:
        assert len([line for line in lines if line.startswith("error: ")]) == 1, lines
        assert all(len(line) < 1000 and line.isprintable() for line in lines), lines
    return code, lines


def api(run):
    """What Python and notebooks do with a run; UserError and SpecError are the only ways to fail."""
    for use in (lambda: netdsl.read_history(run)._repr_html_(), lambda: opened(run)):
        try:
            use()
        except (UserError, SpecError) as error:
            assert str(error)


def opened(run):
    with netdsl.open_run(run) as view:
        environment_tables(view)
        return view.history._repr_html_()


def outside(folder):
    """Every path below a folder with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


# -------------------------------------------------------------------------------------------- cuts


def test_every_cut_of_every_text_of_a_run_is_read_or_refused_in_one_line(run, made):
    count = 0
    for name in TEXTS:
        whole = (made / name).read_bytes()
        for length in range(len(whole)):
            (run / name).write_bytes(whole[:length])
            count += 1
            if name == "config.json":
                with pytest.raises(UserError, match="is damaged") if length < len(whole) - 1 else no_error():
                    read_config(run)
            elif name == "metrics.csv":
                rows = whole[:length].count(b"\n") - 1
                with no_error() if whole[:length].endswith(b"\n") else pytest.raises(UserError, match="is damaged"):
                    assert len(read_history(run)) == rows
            elif name == "env.json":
                assert all(isinstance(change, str) for change in what_changed(run))
            elif name == "result.json":
                assert extended(read_run(run), 4).config.recipe.epochs == 4
                shutil.copy(made / "config.json", run)
            else:
                check_file(run / name)
        shutil.copy(made / name, run)
    print(f"{count:,} cuts of {len(TEXTS)} files")
    assert count > 1000


class no_error:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def test_every_cut_of_a_checkpoint_is_refused(run, made, request):
    """Every one with `--hostile 10000`, else every ninth."""
    count, step = 0, 1 if request.config.getoption("--hostile") >= 10_000 else 9
    _, model, _ = load_run(read_run(run), "best")
    for which in CHECKPOINTS:
        whole = checkpoint_path(made, which).read_bytes()
        path = run / "cut.safetensors"
        for length in range(0, len(whole), step):
            path.write_bytes(whole[:length])
            count += 1
            with pytest.raises(UserError):
                load_checkpoint(path, model)
    print(f"{count:,} cuts of {len(CHECKPOINTS)} checkpoints")
    assert count > 400


@in_part("every", 5, 1, "cut run folders before every command")
@pytest.mark.parametrize("name", [*TEXTS, "checkpoints/last.safetensors", "checkpoints/best.safetensors"])
def test_no_command_meets_a_bug_of_its_own_in_a_cut_file(run, made, name, every, capsys):
    whole = (made / name).read_bytes()
    lengths = 0, 1, len(whole) // 2, len(whole) - 3
    for length, number in list(itertools.product(lengths, range(len(commands(run)))))[::every]:
        shutil.rmtree(run)
        shutil.copytree(made, run)
        (run / name).unlink()
        (run / name).write_bytes(whole[:length])
        said(capsys, commands(run)[number])
        api(run)


def test_what_security_names_is_there():
    root = Path(__file__).resolve().parents[2]
    text = (root / ".github" / "SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|netdsl)/[\w/.]+)`", text)
    assert len(named) > 6
    assert all((root / name).is_file() for name in named), named


HEAD = "epoch,train_loss,train_accuracy,val_loss,val_accuracy,lr,seconds,samples_per_second\n"
DAMAGE = [
    ("metrics.csv", f"{HEAD}1,1,1,1,1,,1,1\n"),
    ("metrics.csv", f"{HEAD}1,1\n"),
    ("metrics.csv", f"{HEAD}1,1,1,,,1,1,1\n2,1,1,1,,1,1,1\n3,1,1,,1,1,1,1\n"),
    ("metrics.csv", f"{HEAD}1,inf,inf,inf,inf,inf,inf,inf\n"),
    ("metrics.csv", f"{HEAD}1,nan,nan,nan,nan,nan,nan,nan\n"),
    ("metrics.csv", f"{HEAD}{'1' * 200_000},1,1,1,1,1,1,1\n"),
    ("metrics.csv", f"{HEAD}1,1e308,1,1e308,1,1e308,1,1\n2,-1e308,1,-1e308,1,-1e308,1,1\n"),
    ("metrics.csv", f'{HEAD}1,"1,1,1,1,1,1,1\n'),
    ("metrics.csv", f"{HEAD}2,1,1,1,1,1,1,1\n"),
    ("metrics.csv", f"{HEAD}1,1,7,1,1,1,1,1\n"),
    ("metrics.csv", f"{HEAD}1.5,1,1,1,1,1,1,1\n"),
    ("metrics.csv", "\x00" * 100),
    ("metrics.csv", "\xff\xfe"),
    ("metrics.csv", "\n"),
    *(
        (name, text)
        for name in ("config.json", "env.json", "result.json")
        for text in ("[" * 100_000, '{"a":' * 50_000)
    ),
    *((name, text) for name in ("config.json", "env.json", "result.json") for text in ("[]", "3", "null", '""', "{}")),
    ("env.json", json.dumps({"numpy": [1] * 9, "blas": "x" * 99, "machine": {}})),
    (
        "env.json",
        json.dumps({"numpy": "x" * 100_000, "blas": [{"internal_api": 1, "version": {}, "architecture": []}]}),
    ),
    ("env.json", json.dumps({"numpy": "\x1b[31m" * 99, "blas": [], "machine": "<script>" * 999})),
    *(
        ("result.json", json.dumps({"epochs": value}))
        for value in (float("inf"), -1, 10**400, "2", None, [], 2.5, True)
    ),
    ("failure.json", "[" * 100_000),
    ("report.html", "\x00"),
]


@in_part("every", 4, 1, "tampered run folders before every command")
@pytest.mark.parametrize(("name", "text"), DAMAGE, ids=range(len(DAMAGE)))
def test_tampered_files_end_in_one_line(run, made, name, text, every, capsys):
    for number in range(DAMAGE.index((name, text)) % every, len(commands(run)), every):
        shutil.rmtree(run)
        shutil.copytree(made, run)
        (run / name).write_text(text, encoding="latin-1")
        code, _ = said(capsys, commands(run)[number])
        assert code == 2 or name not in ("config.json", "metrics.csv") or (number == 2 and name == "metrics.csv")
    api(run)


# -------------------------------------------------------------------------------------------- values of config.json


def places(value, path=()):
    """The path of every value in JSON, containers too."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def changed(value, path, new):
    """A copy of `value` with `new` at that path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def opens(run, seen):
    """Opens a run as far as config.json matters: False where it is refused with a UserError. seen: recipes whose text
    has passed the gate."""
    try:
        found = read_run(run)
        if str(found.config.recipe) not in seen:
            gate(run_net(found).numpy_source(0), DIALECT)
            seen.add(str(found.config.recipe))
        if found.config.level == 0:
            load_run(found, "best")
    except UserError:
        return False
    return True


def test_every_value_of_the_config_replaced_by_every_kind_of_value_is_refused_or_means_what_a_spec_can_say(run, made):
    whole = json.loads((made / "config.json").read_text())
    whole["recipe"] |= RICH
    whole["choices"] = {"step: a or b": "a"}
    (run / "config.json").write_text(json.dumps(whole))
    seen = set()
    assert opens(run, seen)
    refused = accepted = 0
    for path in places(whole):
        for value in VALUES:
            (run / "config.json").write_text(json.dumps(changed(whole, path, value)))
            if opens(run, seen):
                accepted += 1
                assert recipe_of(json.loads(json.dumps(asdict(read_config(run).recipe)))) == read_config(run).recipe
            else:
                refused += 1
    print(f"{refused + accepted:,} changed configs: {refused:,} refused, {accepted:,} that a run can have")
    assert refused > 1200 and accepted > 20


@pytest.mark.parametrize(
    "key", [SHELL, f"smooth=[{SHELL}, 0.1][1], weights", "lr", "", "__class__", "eps", "a" * 20_000]
)
def test_unknown_keys_are_refused_everywhere(run, made, key):
    whole = json.loads((made / "config.json").read_text())
    whole["recipe"] |= RICH
    containers = [path for path in places(whole) if isinstance(at(whole, path), dict) and path != ("choices",)]
    assert len(containers) == 8
    for path in containers:
        for value in (None, 1.0, True, SHELL):
            if key in at(whole, path):
                continue
            (run / "config.json").write_text(json.dumps(changed(whole, path, {**at(whole, path), key: value})))
            with pytest.raises(UserError, match=r"config.json` is damaged: .{1,200}$"):
                read_config(run)


def at(value, path):
    for key in path:
        value = value[key]
    return value


def test_keys_that_are_given_twice_are_refused(run, made):
    text = (made / "config.json").read_text()
    keys = re.findall(r'"\w+":', text)
    for key in keys:
        (run / "config.json").write_text(text.replace(key, f"{key} 1, {key}", 1))
        with pytest.raises(UserError, match=f"the key `{key[1:-2]}` twice"):
            read_config(run)
    assert len(keys) > 25


def test_every_field_of_a_config_has_its_check():
    assert list(_CHECKS) == list(RunConfig.__dataclass_fields__)
    assert cli.run(["train", "x.net", "--threads", str(MOST_WORKERS + 1)]) == 2


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_recipe_comes_back_from_its_config(loss, optimizer):
    options = {"ce": " smooth=0.1 weights=(1, 2)", "nll": " balanced"}.get(loss, "")
    more = {"sgd": " momentum=0.9 nesterov", "rmsprop": " alpha=0.9", "adam": " betas=(0.8, 0.9)"}.get(optimizer, "")
    schedule = {"sgd": "step at=(1, 2) gamma=0.5", "adam": "onecycle up=0.2", "adamw": "cosine end=0.1"}
    rest = (
        f"schedule {schedule.get(optimizer, 'step every=2 warmup=1')}, clip 0.5, ema 0.9, stop patience=3, init torch"
    )
    mix = "augment mixup=0.2 cutmix=1 flip vflip shift=1 zoom=0.1 shear=5 resizedcrop=0.25 erase=1"
    if loss == "nll":
        mix = "augment rotate=10 crop=1 cutout=2 brightness=0.2 contrast=2 blur=0.5"
    last = {"bce": "linear 1 -> sigmoid", "nll": "linear 2 -> logsoftmax"}.get(loss, "linear 2")
    spec = (
        f"input 1x8x8\nflatten -> {last}\ntrain {{ loss {loss}{options}, opt {optimizer}{more} wd=0.1, {rest}, {mix} }}"
    )
    recipe = compile_text(spec).recipe
    assert recipe_of(json.loads(json.dumps(asdict(recipe)))) == recipe
    assert asdict(recipe).keys() == asdict(Recipe()).keys() and set(recipe.augment) <= set(AUGMENTATIONS)
    assert recipe.schedule in SCHEDULES


# -------------------------------------------------------------------------------------------- links


def linked(run):
    """Everything in a run folder that could be a link, and what does not stand there yet."""
    return [path.relative_to(run) for path in sorted(run.rglob("*"))] + [
        Path(name) for name in ("plots", "report.html", "failure.json", "weights.npz", ".config.json.0.tmp", "more")
    ]


def test_no_command_follows_a_link_in_a_run(made, tmp_path, capsys):
    victim, folder = tmp_path / "outside" / "victim", tmp_path / "outside" / "folder"
    folder.mkdir(parents=True)
    count = 0
    for place in linked(made):
        for target in (victim, folder, tmp_path / "outside" / "none"):
            victim.write_text("precious")
            (folder / ".other.tmp").write_text("keep")
            before = outside(tmp_path / "outside")
            run = Path(shutil.copytree(made, tmp_path / "run"))
            if (run / place).is_dir():
                shutil.rmtree(run / place)
            (run / place).unlink(missing_ok=True)
            (run / place).symlink_to(target)
            for arguments in (commands(run)[count % 4], commands(run)[3]):
                code, lines = said(capsys, arguments)
                assert code == 2 and "is a link" in lines[0], (place, arguments, lines)
            with pytest.raises(UserError, match="is a link"):
                opened(run)
            assert outside(tmp_path / "outside") == before, place
            count += 1
            shutil.rmtree(run)
    print(f"{count} links, nothing outside was changed")
    assert count >= 45


def test_a_pipe_in_a_run_hangs_nobody(made, tmp_path, capsys):
    for place in linked(made):
        run = Path(shutil.copytree(made, tmp_path / "run"))
        if (run / place).is_dir():
            shutil.rmtree(run / place)
        (run / place).unlink(missing_ok=True)
        os.mkfifo(run / place)
        for arguments in commands(run):
            code, lines = said(capsys, arguments)
            assert code == 2 and "device or pipe" in lines[0], (place, arguments, lines)
        shutil.rmtree(run)


def test_a_file_that_has_another_name_outside_is_replaced_not_written_to(made, tmp_path, capsys):
    """Hard links, which an archive can hold, and which checkpoints are among themselves."""
    for place in linked(made):
        if (made / place).is_dir():
            continue
        run = Path(shutil.copytree(made, tmp_path / "run"))
        content = (run / place).read_bytes() if (run / place).exists() else b"precious"
        (tmp_path / "victim").write_bytes(content)
        (run / place).unlink(missing_ok=True)
        os.link(tmp_path / "victim", run / place)
        code, _ = said(capsys, commands(run)[3])
        assert code == (2 if place.name == ".lock" else 0), place
        assert (tmp_path / "victim").read_bytes() == content
        (tmp_path / "victim").unlink()
        shutil.rmtree(run)


def test_the_run_folder_itself_may_be_a_link(run, tmp_path, capsys):
    (tmp_path / "link").symlink_to(run)
    for arguments in commands(tmp_path / "link"):
        code, lines = said(capsys, arguments)
        assert code == (2 if arguments[0] == "predict" else 0), lines
    assert len(read_history(run)) == 3


def test_a_folder_with_too_many_files_is_no_run(run, monkeypatch):
    monkeypatch.setattr("netdsl.training.runs.run_files.MOST_FILES", 5)
    with pytest.raises(UserError, match="more than 5 files"):
        check_files(run)


# -------------------------------------------------------------------------------------------- names and paths


PATHS = [
    "//server/share/x.npz",
    "\\\\server\\share\\x.npz",
    "\\\\.\\pipe\\x",
    "data.npz",
    "../x.npz",
    "/a/../b.npz",
    "",
    "~/x",
]


@pytest.mark.parametrize("path", [*PATHS, "/x\0y", "C:data.npz", "\\x.npz"])
def test_a_config_names_data_by_a_whole_path_on_this_machine(run, path):
    values = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(values | {"data_path": path}))
    if path == "\\x.npz":  # no drive: of this machine, whichever it is
        assert read_config(run).data_path == path
        return
    with pytest.raises(UserError, match="data_path"):
        read_config(run)


def test_nothing_of_a_foreign_file_is_told(run, tmp_path, capsys):
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0:TOPSECRET\n" * 9)
    values = json.loads((run / "config.json").read_text())
    for path in (secret, tmp_path, Path("/dev/zero"), Path("/proc/self/environ"), tmp_path / "none.npz"):
        values["recipe"]["data"] = values["data_path"] = str(path)
        (run / "config.json").write_text(json.dumps(values))
        for arguments in (commands(run)[0], commands(run)[1], commands(run)[3]):
            code, lines = said(capsys, arguments)
            assert code == 2 and "TOPSECRET" not in "".join(lines), path
        values["data_path"] = None  # then `data` is a name
        (run / "config.json").write_text(json.dumps(values))
        with pytest.raises(UserError, match="is damaged"):
            read_config(run)


@pytest.mark.parametrize("name", ["", "../x", "a b", "A", "x" * 65, "x\n", "<b>", "1", "class"])
def test_the_name_of_the_spec_is_one_that_a_spec_can_have(run, name):
    values = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(values | {"spec": name}))
    with pytest.raises(UserError, match="`spec` has a wrong value"):
        read_config(run)


NAMES = [
    "\x1b]0;x\x07\x1b[31m",
    "<script>alert(1)</script>&amp;'\"",
    "long" * 2000,
    "\u202egnp.exe\u2066",
    "a\nb\rc",
    "\ud800",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_of_classes_are_shown_harmlessly(tmp_path, name, capsys, monkeypatch):
    """In eval, predict, plots and report.html; and a folder may have such a name."""
    monkeypatch.chdir(tmp_path)
    x, y = np.zeros((12, 1, 4, 4), np.float32), np.arange(12) % 2
    np.savez("data.npz", x=x, y=y)
    Path("n.net").write_text('input 1x4x4\nflatten -> linear 2\ntrain {\n  data "data.npz"\n  epochs 1\n}\n')
    assert cli.run(["train", "n.net", "--out", "run", "-q", "--no-plots", "-O", "0"]) == 0
    values = json.loads(Path("run/config.json").read_text())
    known = values["classes"]
    Path("run/config.json").write_text(json.dumps(values | {"classes": [name, known[1]]}))
    Image.fromarray(np.zeros((4, 4), np.uint8)).save("a.png")
    capsys.readouterr()
    for arguments in (["predict", "run", "a.png"], ["predict", "run", "a.png", "--json"], ["eval", "run"]):
        code = cli.run(arguments)
        out, err = capsys.readouterr()
        assert code in (0, 2), err
        assert all(c.isprintable() or c == "\n" for c in out + err)
    assert cli.run(["predict", "run", "a.png", "--plot", "a.svg"]) == 0
    assert "<script" not in Path("a.svg").read_text(encoding="utf-8")


def test_a_class_folder_whose_name_is_no_utf8_trains_and_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (b"data/tea", b"data/caf\xe9", b"data/\xff\xfe"):
        os.makedirs(name)
        for i in range(6):
            with open(name + b"/%d.png" % i, "wb") as file:
                Image.fromarray(np.full((4, 4), 40 * i, np.uint8)).save(file, "png")
    Path("n.net").write_text('input 1x4x4\nflatten -> linear 3\ntrain {\n  data "data"\n  epochs 1\n}\n')
    assert cli.run(["train", "n.net", "--out", "run", "-q", "-O", "0"]) == 0
    assert len(read_config(Path("run")).classes) == 3
    image = os.fsdecode(b"data/caf\xe9/1.png")
    for arguments in (["eval", "run"], ["eval", "run", "--json"], ["predict", "run", image], ["plot", "run"]):
        assert cli.run(arguments) == 0, capsys.readouterr().err
    assert "caf" in Path("run/report.html").read_text(encoding="utf-8")
