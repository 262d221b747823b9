"""report.html: what it says of a run, that nothing in it runs or is fetched, and how a browser shows it."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from pages import Page, browse
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.training.pictures.kinds import draw, svg_text
from netdsl.training.pictures.report import duration, report_html, write_report
from netdsl.training.pictures.report_tables import class_table
from netdsl.training.runs.views import open_run, score_run
from netdsl.training.scores.evaluation import Scores

SPEC = """# a comment </script></style><script>alert(1)</script> & <b>"quotes"</b> ' \N{SNOWMAN}
input 1x28x28
block step(c) { res { conv c k3 p1 } -> relu }
conv 4 k3 s2 p1 -> relu -> 2 * step(4) -> pool 2 -> flatten -> linear 10
train { epochs 2, batch 50, opt adam lr=3e-3 }
"""
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a'b\"c",
    "{{ 7 * 7 }}",
    "\x1b[31mred",
    "&lt;",
]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="252pt" height="100pt"><path d="M0 0H9"/></svg>'
FIGURES = {"curves": SVG, "confusion": SVG, "a new kind": SVG}


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "digits.net").write_text(SPEC, encoding="utf-8")
    run = folder / "a run"
    arguments = [str(folder / "digits.net"), "--limit", "300", "--threads", "1", "--workers", "threads", "-q"]
    assert netdsl(["train", *arguments, "--out", str(run)]) == 0
    return run


@contextmanager
def opened(run_path, **changes):
    """The run's view, with other values in its data set where some are given, and its scores."""
    with open_run(run_path, None) as view:
        scores = score_run(view)
        yield replace(view, dataset=replace(view.dataset, **changes)), scores


@pytest.fixture(scope="module")
def html(run_path):
    with opened(run_path) as (view, scores):
        return report_html(view, scores, FIGURES)


def read(html):
    page = Page(html)
    page.check_is_inert()
    return page


def test_it_says_what_the_run_came_to(run_path, html):
    text = read(html).text
    with opened(run_path) as (view, scores):
        found = int(np.trace(scores.confusion))
        assert "digits on mnist-mini" in text
        assert (
            f"{found:,} of 300 test samples were classified correctly, {300 - found:,} were not, with the weights"
            in text
        )
        assert f"test accuracy {scores.accuracy:.2%}" in text and f"test loss {scores.loss:.4g}" in text
        assert f"params {view.net.graph.num_params:,}" in text
        for row in view.history:
            assert f"{row.train_loss:.4f} {row.train_accuracy:.2%}" in text
        assert f"test macro F1 {scores.values['f1']:.2%}" in text and "test top-5 accuracy" in text
    for words in ("Learning curves", "Confusion matrix", "A new kind", "opt", "lr=0.003", "numpy -O2", "openblas"):
        assert words.lower() in text.lower(), words
    assert "Inside the network" not in text, "there are no figures for it"


def test_it_says_how_to_go_on_with_the_path_quoted(run_path, html):
    text = read(html).text
    assert f"netdsl train --resume '{run_path}' --epochs 4" in text
    assert f"netdsl eval '{run_path}'" in text and f"netdsl predict '{run_path}' IMAGE..." in text


def test_the_spec_and_every_layer_are_in_it(run_path, html):
    page = read(html)
    with opened(run_path) as (view, _):
        assert view.net.source.text.strip() in "".join(page.parts)
        for node in view.net.graph.nodes:
            assert node.name in page.text
    assert "2 \N{MULTIPLICATION SIGN} step(4)" in page.text, "the diagram"


def test_figures_stand_as_they_came(html):
    assert html.count(SVG) == len(FIGURES)


def test_hostile_texts_stay_texts(run_path):
    names = tuple(HOSTILE[i % len(HOSTILE)] + str(i) for i in range(10))
    with opened(run_path, classes=names) as (view, scores):
        view = replace(
            view, run=replace(view.run, config=replace(view.run.config, spec=HOSTILE[0], data_path=HOSTILE[1]))
        )
        html = report_html(view, scores, {HOSTILE[1]: SVG})
    page = read(html)
    for name in names:
        assert name.replace("\x1b", "\\x1b") in page.text
    assert "\x1b" not in html and "49" not in page.text.split("{{ 7 * 7 }}")[1][:3]


def test_a_missing_or_damaged_environment_does_not_cost_the_report(run_path, tmp_path):
    with opened(run_path) as (view, scores):
        for i, text in enumerate((None, "{", "[]", '{"cpus": null}')):
            folder = tmp_path / str(i)
            folder.mkdir()
            if text is not None:
                (folder / "env.json").write_text(text)
            page = read(report_html(replace(view, run=replace(view.run, path=folder)), scores, {}))
            assert "Recipe" in page.text and "Environment" not in page.text


def test_a_regression_has_no_classes_and_no_accuracy(run_path):
    with opened(run_path, classes=()) as (view, _):
        text = read(report_html(view, Scores(0.25, 40, None, {"mae": 0.5, "rmse": 0.75, "r2": None}), {})).text
    assert "The mean loss of 40 test samples is 0.25, the MAE 0.5000, with" in text
    assert "test accuracy" not in text and "most often taken for" not in text
    assert "test R\N{SUPERSCRIPT TWO}" not in text


def test_masks_are_counted_in_pixels_and_have_the_iou():
    table = class_table(np.array([[90, 10, 0], [20, 80, 0], [0, 0, 0]]), ("ground", "disc", "moon"), "pixels")
    assert list(table.head) == ["class", "pixels", "correct", "IoU", "accuracy", "most often taken for"]
    assert table.rows[0] == ("ground", "100", "90", "75.0%", "90.0%", "disc (10)")
    assert table.rows[2] == ("moon", "0", "0", "", "no samples", "")


def test_classes_show_what_they_are_taken_for():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [2, 5, 1]])
    table = class_table(confusion, ("cat", "dog", "fox"))
    assert table.rows == [
        ("cat", "4", "3", "75.0%", "dog (1)"),
        ("dog", "0", "0", "no samples", ""),
        ("fox", "8", "1", "12.5%", "dog (5)"),
    ]
    assert table.bars == [0.75, None, 0.125]


def test_of_very_many_classes_the_worst_are_shown():
    confusion = np.diag(np.arange(1, 201))
    confusion[150, 0] = 1000
    table = class_table(confusion, tuple(f"class{i}" for i in range(200)))
    assert len(table.rows) == 50 and table.rows[0][0] == "class150"
    assert table.title == "Classes: the 50 of 200 that were classified correctly least often"


def test_the_same_run_gives_the_same_page(run_path, html):
    with opened(run_path) as (view, scores):
        assert report_html(view, scores, FIGURES) == html


def test_it_is_written_whole_into_the_run(run_path):
    with opened(run_path) as (view, scores):
        path = write_report(view, scores, {})
    assert path == run_path / "report.html" and path.read_text(encoding="utf-8").endswith("</html>\n")


@pytest.mark.parametrize("seconds, text", [(0.44, "0.4 s"), (59.4, "59 s"), (318, "5 min 18 s"), (7380, "2 h 3 min")])
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_every_part_has_a_heading_and_every_picture_words(html):
    page = read(html)
    levels = [int(tag[1]) for tag, _ in page.elements if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links and {link.removeprefix("#") for link in links} <= set(ids)


# -------------------------------------------------------------------------------------------- in a browser


def luminance(color):
    """Relative luminance (WCAG 2.1)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def screenshot(run_path, html, tmp_path, *options):
    page = tmp_path / "page.html"
    page.write_text(html, encoding="utf-8")
    browse([f"--screenshot={tmp_path / 'shot.png'}", "--window-size=1300,2400", *options], page, tmp_path)
    return np.asarray(Image.open(tmp_path / "shot.png").convert("RGB"))


def colors(pixels):
    """Color as `#rrggbb` -> how many pixels have it."""
    found, counts = np.unique(pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32), return_counts=True)
    return {f"#{color:06x}": int(n) for color, n in zip(found, counts, strict=True)}


def test_chromium_shows_tiles_spec_and_diagram(run_path, html, tmp_path):
    pixels = screenshot(run_path, html, tmp_path)
    assert pixels.shape == (2400, 1300, 3)
    shown = colors(pixels)
    assert len(shown) > 100
    assert shown["#fdfdfc"] > 500_000, "the paper"
    assert shown["#f3f5f7"] > 20_000, "the ground of the spec"
    assert shown["#d3e6f5"] > 2_000 and shown["#fbe6c0"] > 200, "convolutions and a merge in the diagram"
    left, right = pixels[400:1400, :600], pixels[400:1400, 700:]
    assert len(colors(left)) > 20 and len(colors(right)) > 20, "the spec is beside the diagram"


def test_chromium_shows_page_and_figures_dark_where_that_is_wished(run_path, tmp_path):
    with opened(run_path) as (view, scores):
        page = report_html(view, scores, {kind: svg_text(draw(kind, view)) for kind in ("curves", "confusion")})
    for options, paper, node in (([], "#fdfdfc", "#d3e6f5"), (["--force-dark-mode"], "#14171b", "#143a57")):
        shown = colors(screenshot(run_path, page, tmp_path, *options))
        assert shown[paper] > 500_000 and shown[node] > 2_000, "the paper, and convolutions in the diagram"
        light = sum(count for color, count in shown.items() if luminance(color) > 0.6)
        assert (light < 300_000) == bool(options), "no sheet of white in a dark page"


def test_tables_fit_a_narrow_page_and_the_first_column_stays(run_path, html, tmp_path):
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    frame = tmp_path / "frame.html"  # a window of Chromium is 500 pixels wide at least
    frame.write_text('<body style="margin:0"><iframe src="page.html" style="width:420px;height:2400px;border:0">')
    browse([f"--screenshot={tmp_path / 'shot.png'}", "--window-size=600,2400"], frame, tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB"))
    assert (pixels[:, 421:] == 255).all(), "nothing is wider than the page"
    assert ".scroll" in html and "position: sticky" in html


def test_the_layers_have_their_sums_below_them(run_path, html):
    with opened(run_path) as (view, _):
        graph = view.net.graph
    foot = html.split("<tfoot>")[1].split("</tfoot>")[0]
    assert ">total</th>" in foot and f"{graph.num_params:,}" in foot and f"{graph.num_macs:,}" in foot


def test_chromium_reads_the_text_and_runs_nothing(run_path, tmp_path):
    names = tuple(HOSTILE[i % len(HOSTILE)] + str(i) for i in range(10))
    with opened(run_path, classes=names) as (view, scores):
        (tmp_path / "page.html").write_text(report_html(view, scores, {}), encoding="utf-8")
    page = Page(browse(["--dump-dom"], tmp_path / "page.html", tmp_path))
    page.check_is_inert()
    assert "digits on mnist-mini" in page.text and "Going on" in page.text
    for name in names:
        assert name.replace("\x1b", "\\x1b") in page.text


def test_text_has_enough_contrast(html):
    for scheme in html.split("color-scheme: dark)")[:2]:
        found = {key: scheme.split(f"--{key}: ")[1][:7] for key in ("paper", "card", "ink", "muted", "code", "accent")}
        for ink in ("ink", "muted", "accent"):
            for ground in ("paper", "card", "code"):
                light, dark = sorted((luminance(found[ink]), luminance(found[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, found)
