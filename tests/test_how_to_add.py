"""netdsl/README.md: its folders are there, its session runs, and what it says of adding things is all to do."""

import doctest
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

PAGE = (ROOT / "netdsl" / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(
    re.findall(r"^## (An? .*?)\n(.*?)(?=^## |\Z)", PAGE.partition("# How to add")[2], re.MULTILINE | re.DOTALL)
)
BLOCK = re.compile(r"(?:^(?P<said>[^\n]+):\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_folders_of_the_drawing_are_those_of_the_package():
    drawing = PAGE.partition("```text")[2].partition("```")[0]
    named = {word for line in drawing.splitlines() for word in re.findall(r"\b[a-z]+(?:\.py)?\b", line[:20])}
    folders = {path.parent.name for path in (ROOT / "netdsl").glob("*/__init__.py")} - {"reference"}
    assert folders <= named | {"training"} and "training" in drawing


def test_every_path_of_the_page_exists_or_is_made_by_it():
    made = set(re.findall(r"New file `([^`]+)`", PAGE))
    for path in re.findall(r"`((?:netdsl|tests|grammars|\.github)/[\w/.]+)`", PAGE):
        assert path in made or (ROOT / path).exists(), path


def test_the_session_of_the_page_runs():
    session = "\n".join(re.findall(r"^```python\n(>>>.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    test = doctest.DocTestParser().get_doctest(session, {}, "netdsl/README.md", None, 0)
    assert len(test.examples) > 15
    said = []
    assert doctest.DocTestRunner().run(test, out=said.append).failed == 0, "".join(said)


def changed(root, said, text):
    """Do to the copy what a sentence says with the text under it."""
    path, *line = re.findall(r"`([^`]+)`", said)
    file = root / path
    if said.startswith("New file"):
        assert not file.exists(), f"{path} is there already"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text.replace("~~~", "```"), encoding="utf-8")
        return
    before = file.read_text(encoding="utf-8")
    if said.endswith("becomes"):
        after = text
    elif said.endswith("at the end"):
        after = f"{before}\n\n{text}"
    else:
        assert f"\n{line[0]}\n" in before, f"{path} has no line {line[0]}"
        places = {"behind": f"{line[0]}\n{text}", "in front of": f"{text}{line[0]}\n", "instead of": text}
        (place,) = (place for place in places if f", {place} `" in said)
        after = before.replace(f"\n{line[0]}\n", f"\n{places[place]}", 1)
    file.write_text(after, encoding="utf-8")


EACH_RUN = ("A layer", "An optimizer", "A loss", "A target")


@pytest.mark.parametrize(
    "section",
    [s if s in EACH_RUN else pytest.param(s, marks=pytest.mark.slow("other things to add")) for s in SECTIONS],
)
def test_what_a_section_says_is_all_there_is_to_do(section, tmp_path):
    pytest.importorskip("torch")
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("netdsl", "grammars"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    commands, expected = [], []
    for block in BLOCK.finditer(SECTIONS[section]):
        said, kind, text = block["said"], block["kind"], block["text"]
        if kind == "net":
            (tmp_path / "mini.net").write_text(text, encoding="utf-8")
        elif kind == "sh":
            commands += text.splitlines()
        elif kind == "text":
            expected.append(text)
        else:
            changed(tmp_path, said, text)
    assert commands
    shown = ""
    for command in commands:
        assert command.startswith("netdsl "), command
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", *command.split()], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        shown += done.stdout + done.stderr
    for text in expected:
        assert text in shown
