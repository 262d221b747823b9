"""Every code has a page in netdsl/reference/codes, whose wrong example gets that code and whose right one does not."""

import re

import pytest

from netdsl.cli import run
from netdsl.ground.diagnostics import CODES
from netdsl.pipeline import check_text
from netdsl.reference.explanations import FOLDER, explanation

NO_WRONG_EXAMPLE = {"N001", "N002"}  # what they are about cannot be shown


def examples(code):
    return re.findall(r"```net\n(.*?)```", explanation(code), re.DOTALL)


def test_there_is_a_page_for_each_code_and_no_other():
    assert {path.stem for path in FOLDER.iterdir()} == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_page_has_the_title_and_its_examples_are_what_they_say(code):
    assert explanation(code).startswith(f"# {code}: {CODES[code]}\n")
    *wrong, right = examples(code)
    assert len(wrong) == (0 if code in NO_WRONG_EXAMPLE else 1)
    for text in wrong:
        assert code in {d.code for d in check_text(text)[1]}
    net, diagnostics = check_text(right)
    assert net is not None
    assert code not in {d.code for d in diagnostics}


def test_explain_shows_the_page_and_lists_the_codes(capsys):
    assert run(["explain", "n201"]) == 0
    assert capsys.readouterr().out == explanation("N201")
    assert run(["explain"]) == 0
    assert capsys.readouterr().out.count("\n") == len(CODES)
    assert run(["explain", "N2011"]) == 2
    assert "did you mean `N201`" in capsys.readouterr().err
