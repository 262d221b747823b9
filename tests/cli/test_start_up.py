"""A command loads what it needs and nothing else: what stands in sys.modules after it, in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

LENET = Path(__file__).resolve().parents[2] / "specs/lenet.net"
WORK = ("api", "bench", "passes", "reference", "training", "verify")
WORK += tuple(f"targets.{name}.{part}" for name in ("fast", "numpy", "torch") for part in ("emitter", "model"))
WORK += ("targets.cupy.emitter", "targets.cupy.table", "targets.live.interpreter", "targets.text")
"""What does something with a network, and is of no use to what only reads it."""


def loaded(code, *arguments):
    """The modules that this code loads beside those of a bare interpreter."""
    start = "import sys\nbefore = set(sys.modules)\n"
    end = "\nimport json\nprint('\\n' + json.dumps(sorted(set(sys.modules) - before - {'json'})))"
    done = subprocess.run([sys.executable, "-c", start + code + end, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def loaded_by(*command):
    """As `loaded`, of a command of netdsl that succeeds."""
    return loaded("from netdsl.cli import run\nassert run(sys.argv[1:]) == 0", *command)


def libraries(modules):
    """What was loaded of other people's libraries; numpy only where more than the module that waits for it was."""
    tops = {name.partition(".")[0] for name in modules if name != "numpy"}
    return tops - sys.stdlib_module_names - {"netdsl"}


def inside(modules, *places):
    """The modules that lie in one of these folders of netdsl, or are one of these modules."""
    return [name for name in modules if f"{name}.".startswith(tuple(f"netdsl.{place}." for place in places))]


def test_check_loads_the_five_layers_of_lenet_and_no_library_but_that_of_the_command_line():
    modules = loaded_by("check", str(LENET))
    assert libraries(modules) == {"click"}
    layers = {name.rpartition(".")[2] for name in inside(modules, "layers") if name.count(".") == 2}
    assert layers - {"contract", "rules"} == {"conv", "flatten", "linear", "pool", "relu"}


def test_check_of_a_right_spec_loads_nothing_that_is_for_mistakes_or_for_work():
    modules = loaded_by("check", str(LENET))
    assert inside(modules, *WORK, "analysis.summary", "ground.markup", "ground.tables", "stages") == []
    assert inside(modules, "language.syntax.habits", "language.syntax.printer") == []
    assert {"difflib", "hashlib", "logging", "random", "tempfile"}.isdisjoint(modules)


@pytest.mark.parametrize("command", [["summary"], ["summary", "--json"], ["fmt", "--check"], ["check", "--fix"]])
def test_what_only_reads_a_spec_loads_no_library_either(command, tmp_path):
    spec = tmp_path / "lenet.net"
    spec.write_bytes(LENET.read_bytes())
    modules = loaded_by(*command, str(spec))
    assert libraries(modules) == {"click"}
    assert inside(modules, *WORK) == []


@pytest.mark.parametrize("options", [["--target", "all", "-o", "."], ["-O2"]])
def test_compile_loads_what_lays_text_out_and_no_numpy(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    modules = loaded_by("compile", str(LENET), *options)
    assert libraries(modules) == {"click", "jinja2", "markupsafe"}
    assert inside(modules, "bench", "targets.live.interpreter", "training", "verify") == []


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["check", "--help"], ["train", "--help"]])
def test_help_loads_no_compiler(command):
    modules = loaded_by(*command)
    assert libraries(modules) == {"click"}
    assert inside(modules, "analysis", "graph", "kernels", "language", "layers", "passes", "pipeline", "stages") == []


def test_importing_netdsl_loads_netdsl_alone():
    modules = loaded("import netdsl")
    assert [name for name in modules if name.startswith("netdsl")] == ["netdsl"]
    assert libraries(modules) == set()
