"""specs/tour.ipynb runs from top to bottom, and what it says of its own results holds."""

import ast
import re

import pytest
from conftest import ROOT
from pages import Page

import netdsl

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("torch")

TOUR = ROOT / "specs" / "tour.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, request):
    """Cell id -> its outputs, after a run in an empty folder; a cell that raises fails here. With --update-golden they
    are kept in the file."""
    folder = tmp_path_factory.mktemp("tour")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
            patch.setenv(name, str(folder / name.lower()))
        notebook = nbformat.read(TOUR, 4)
        client = nbclient.NotebookClient(
            notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    if request.config.getoption("--update-golden"):
        keep(notebook)
    return {cell.id: cell.get("outputs", []) for cell in notebook.cells}


def text_of(outputs):
    return "".join(output.text for output in outputs if output.output_type == "stream")


def numbers_in(text):
    return [float(number) for number in re.findall(r"\d[\d.]*e-\d+", text)]


def keep(notebook):
    """Writes the notebook with its outputs, without what no two runs share."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = nbformat.read(TOUR, 4).metadata
    nbformat.write(notebook, TOUR)


def kept():
    """Cell id -> the outputs that the file has."""
    return {cell.id: cell.get("outputs", []) for cell in nbformat.read(TOUR, 4).cells}


def words_of(outputs):
    """What the outputs say and of which kinds they are; numbers and sizes are left out, which may differ by machine."""
    kinds = [sorted(o.get("data", {})) or o.output_type for o in outputs]
    plain = [o.data["text/plain"] for o in outputs if "data" in o and "text/html" not in o.data]
    return kinds, [re.sub(r"\d[\d.]*(e-\d+)?|\[|\]|\s+", "", text) for text in [text_of(outputs), *plain]]


def test_it_comes_with_outputs_and_its_cells_have_names():
    notebook = nbformat.read(TOUR, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run once, from top to bottom"
    silent = {cell.id for cell in code if not cell.outputs}
    assert silent == {"imports", "count", "winograd"}
    names = [cell.id for cell in notebook.cells]
    assert len(set(names)) == len(names) and all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert not any("!pip" in cell.source or "%" in cell.source.split()[0] for cell in code)


def test_it_uses_public_names_only():
    code = "\n".join(cell.source for cell in nbformat.read(TOUR, 4).cells if cell.cell_type == "code")
    tree = ast.parse(code.replace(";", ""))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(name.startswith("netdsl.") for name in names)
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")
            assert getattr(node.value, "id", "") != "netdsl" or node.attr in netdsl.__all__


@pytest.mark.slow("the notebook from top to bottom")
def test_the_outputs_it_comes_with_are_todays(outputs):
    for name, now in outputs.items():
        assert words_of(kept()[name]) == words_of(now), f"{name}: run pytest --update-golden"


@pytest.mark.slow("the notebook from top to bottom")
def test_every_cell_runs_without_a_word_on_stderr(outputs):
    for name, found in outputs.items():
        assert not [o for o in found if o.output_type == "error"], name
        assert not [o.text for o in found if o.output_type == "stream" and o.name == "stderr"], name


@pytest.mark.slow("the notebook from top to bottom")
def test_the_network_and_the_mistakes_show_themselves(outputs):
    network = Page(outputs["spec"][0].data["text/html"])
    network.check_is_inert()
    assert "9,098" in network.text and "svg" in network.tags
    mistakes = Page(outputs["mistake"][0].data["text/html"]).text
    assert [mistakes.count(f"error[{code}]") for code in ("N201", "N301", "N302")] == [1, 1, 1]


@pytest.mark.slow("the notebook from top to bottom")
def test_the_pictures_are_drawn(outputs):
    drawn = {name for name, found in outputs.items() for o in found if "image/png" in o.get("data", {})}
    assert drawn == {"data", "train", "look", "confusion", "own"}


@pytest.mark.slow("the notebook from top to bottom")
def test_it_agrees_with_pytorch_as_closely_as_it_says(outputs):
    assert max(numbers_in(text_of(outputs["conv"])) + numbers_in(text_of(outputs["conv-back"]))) < 1e-14  # float64
    assert max(numbers_in(text_of(outputs["objects"]))) < 1e-5  # float32: sums in another order
    first, whole = numbers_in(text_of(outputs["train"]))
    assert first < 1e-4 and whole < 0.1
    scores = [float(share) for share in re.findall(r"([\d.]+)% of", text_of(outputs["scores"]))]
    assert len(scores) == 3 and min(scores) > 90


@pytest.mark.slow("the notebook from top to bottom")
def test_the_code_it_shows_is_the_networks(outputs):
    shown = text_of(outputs["source"])
    assert "conv_forward(x, p[" in shown and "conv_backward(dy, saved[" in shown
