"""Texts as data: what their characters become, how windows lie in them, and what is said of texts that do not do."""

import itertools
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from named_data import DATA, needs_data
from small_runs import ENGINES, kept, stop_after

from netdsl.graph.recipe import Recipe
from netdsl.graph.types import ids, vector
from netdsl.ground.catalog import CATALOG
from netdsl.ground.diagnostics import SpecError, UserError
from netdsl.language.train_block import with_data
from netdsl.pipeline import compile_text
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
from netdsl.training.data.texts import BYTE_NAMES, decoded, text_of
from netdsl.training.data.token_windows import Windows
from netdsl.training.data.wanted import Wanted, wanted_by
from netdsl.training.loop.epochs import train
from netdsl.training.loop.watch import Interrupted
from netdsl.training.runs.folder import new_run
from netdsl.training.runs.recipe_values import recipe_of
from netdsl.training.scores.evaluation import fitted

VERSE = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n" * 12
CHARACTERS = tuple(sorted(set(VERSE)))
COUNT = len(CHARACTERS)
SPEC = f"""input 8 of {COUNT}
words: embed 6 -> pos -> res {{ ln -> linear 6 }} -> dropout 0.1 -> ln
unembed @words
train {{ epochs 3, batch 16, opt adamw lr=0.01, seed 3 }}
"""


def want(length=8, limit=COUNT, val=0.1, **more):
    return Wanted(ids(length, limit), limit, "ce", val=val, mask_axes=1, **more)


@pytest.fixture
def text(tmp_path):
    """text(content) -> the path of a file that holds it."""

    def text(content, name="verse.txt"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return text


def load(path, asked=None, limit=None):
    return load_dataset(str(path), None, limit, want=asked or want())


def refuses(match, call, *args, **kwargs):
    """Asserts that the call ends in a UserError of one line that matches; returns it."""
    with pytest.raises(UserError, match=match) as caught:
        call(*args, **kwargs)
    assert "\n" not in caught.value.message + caught.value.help
    return caught.value


# -------------------------------------------------------------------------------------- characters and their numbers


def test_the_vocabulary_is_the_characters_of_the_text_in_their_order():
    read = text_of("a", VERSE.encode())
    assert read.vocabulary == CHARACTERS and decoded(read.ids, read.vocabulary) == VERSE
    assert read.ids.dtype == np.uint8 and read.unit == "character"


@pytest.mark.parametrize("content", ["zażółć gęślą jaźń", "日本語の文章です", "a\U0001f600b\U0001f680", "e\u0301 \xe9"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_characters_are_those_of_unicode_in_utf_8_and_utf_16(content, encoding):
    read = text_of("a", content.encode(encoding))
    assert read.vocabulary == tuple(sorted(set(content))) and decoded(read.ids, read.vocabulary) == content


def test_a_character_may_lie_across_the_pieces_that_are_decoded(monkeypatch):
    monkeypatch.setattr("netdsl.training.data.texts.PIECE", 3)
    content = "aä€😀" * 5
    read = text_of("a", content.encode())
    assert decoded(read.ids, read.vocabulary) == content


def test_more_than_256_characters_take_two_bytes_each():
    content = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    read = text_of("a", content.encode())
    assert read.ids.dtype == np.uint16 and decoded(read.ids, read.vocabulary) == content


def test_lines_that_end_with_cr_lf_end_with_lf_and_that_is_said():
    read = text_of("a", b"one\r\ntwo\rthree\r\n")
    assert decoded(read.ids, read.vocabulary) == "one\ntwo\rthree\n" and "CR LF" in read.notes[0]


def test_bytes_are_all_256_whatever_the_text_holds():
    raw = bytes(range(256)) + b"\r\n\xff"
    read = text_of("a", raw, are_bytes=True)
    assert read.ids.tobytes() == raw and len(read.vocabulary) == len(set(read.vocabulary)) == 256
    assert (read.vocabulary[10], read.vocabulary[65], read.unit) == ("\\x0a", "A", "byte")
    assert decoded(np.frombuffer("é".encode(), np.uint8), BYTE_NAMES) == "é"


def test_the_vocabulary_of_a_run_numbers_another_text():
    read = text_of("a", b"abba", names=("x", "b", "a"))
    assert read.ids.tolist() == [2, 1, 1, 2] and read.vocabulary == ("x", "b", "a")


def test_unknown_characters_are_named_and_counted():
    match, raw = "`a.txt` has 4 characters that the network does not know", "aéa\x07ééb".encode()
    error = refuses(match, text_of, "`a.txt`", raw, False, ("a", "b"))
    assert "`é` (3 times), `\\x07` (once)" in error.message
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 20)))
    assert "and 12 others" in refuses("20 characters", text_of, "`a`", many.encode(), False, ("a",)).message


def test_what_is_no_text_is_said_with_its_place():
    assert "bytes`" in refuses("is not UTF-8: byte 4, on line 2, is 0xff", text_of, "`a`", b"abc\n\xff").help
    assert "bytes`" in refuses("the character NUL, 2 of them", text_of, "`a`", b"a\0b\0").help
    assert "bytes`" in refuses("not UTF-8: byte 1, on line 1, is 0xe2", text_of, "`a`", b"a\xe2\x82").help
    refuses("begins as UTF-16 and is none", text_of, "`a`", b"\xff\xfea")
    refuses("is empty$", text_of, "`a`", b"")
    refuses("empty but for a byte order mark", text_of, "`a`", b"\xef\xbb\xbf")


# ------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("count, length", list(itertools.product((9, 10, 15, 16, 17, 23, 24, 25, 100), (1, 3, 8))))
def test_windows_that_move_come_to_every_place_and_leave_none_out(count, length):
    numbers = np.arange(count)
    first = Windows(numbers, length, moves=True)
    seen, starts = set(), set()
    for offset in range(first.spare + 1):
        x, y = first.moved(offset)[:], Windows(numbers, length, 1, moves=True).moved(offset)[:]
        assert (
            np.array_equal(x + 1, y) and x[0, 0] == offset and np.array_equal(np.diff(x.ravel()), np.ones(x.size - 1))
        )
        seen, starts = seen | set(y.ravel().tolist()), starts | set(x[:, 0].tolist())
    assert seen == set(range(1, count)) and starts == set(range(count - length))


@pytest.mark.parametrize("count", [9, 16, 17, 18, 24, 25, 100])
def test_windows_that_do_not_move_ask_for_every_number_but_the_first(count):
    numbers = np.arange(count)
    x, y = Windows(numbers, 8), Windows(numbers, 8, 1)
    assert x[0][0] == 0
    assert set(y[:].ravel().tolist()) == set(range(1, count)) and y[-1][-1] == count - 1 and x.moved(3) is x
    assert len(x) == -(-(count - 1) // 8)


def test_a_text_is_split_by_its_places_and_the_test_part_is_the_validation_part(text):
    d = load(text(VERSE), want(val=0.25))
    begin = int(0.75 * len(VERSE))
    rows, held = d.parts(0.25, 0)
    assert "".join(d.classes[k] for k in d.x_train[rows].ravel()) in VERSE[:begin]
    assert np.array_equal(d.x_train[held], d.x_test[:]) and np.array_equal(d.y_train[held], d.y_test[:])
    assert "".join(d.classes[k] for k in d.x_test[0]) == VERSE[begin : begin + 8]
    assert "".join(d.classes[k] for k in d.y_test[-1]) == VERSE[-8:]
    assert d.has_token_labels and d.has_ids and not d.has_masks and d.written == f"8 of {COUNT}"
    assert any("the test part of `verse.txt` is its validation part" in note for note in d.notes)
    assert len(rows) == max(1, (begin - 8) // 8)


def test_a_text_without_validation_part_is_tested_on_all_of_itself(text):
    d = load(text(VERSE), want(val=0.0))
    assert len(d.x_test) == -(-(len(VERSE) - 1) // 8) and d.parts(0.0, 0)[1].size == 0
    assert any("its test part is all of it" in note for note in d.notes)


def test_a_limit_keeps_the_first_windows_of_each_part(text):
    d = load(text(VERSE), limit=3)
    rows, held = d.parts(0.1, 0)
    assert (len(rows), len(held), len(d.x_test)) == (3, 3, 3)


def test_a_large_text_is_kept_once_and_in_a_byte_a_character(text):
    d = load(text(VERSE))
    part = d.x_train.parts[0]
    assert part.ids.dtype == np.uint8 and part.ids.base is d.y_train.parts[0].ids.base is d.x_test.ids.base


def test_the_digest_tells_texts_and_splits_apart(text):
    of = {load(text(VERSE), want(val=val)).digest() for val in (0.1, 0.11, 0.2)}
    of |= {load(text(VERSE.replace("mind", "mend"))).digest(), load(text(VERSE), want(length=9)).digest()}
    assert len(of) == 5 and load(text(VERSE)).digest() in of


def feed(path, seed=3, **recipe):
    net = compile_text(SPEC, "verse")
    recipe = replace(net.recipe, seed=seed, **recipe)
    return Feed(load(path), recipe)


def test_every_epoch_begins_its_windows_elsewhere_and_the_same_one_at_the_same_place(text):
    path = text(VERSE)
    one = feed(path)
    offsets = [one._placed(epoch)[0].parts[0].offset for epoch in range(1, 60)]
    assert len(set(offsets[:3])) > 1 and set(offsets) == set(range(one.data.x_train.spare + 1))
    for a, b in zip(feed(path).epoch(2), feed(path).epoch(2), strict=True):
        assert np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y)
    assert not np.array_equal(next(iter(feed(path, 4).epoch(2))).x, next(iter(feed(path).epoch(2))).x)


def test_ids_go_into_a_batch_as_they_are(text):
    batch = feed(text(VERSE)).batch(1, 1)
    assert batch.x.dtype == batch.y.dtype == np.int64 and np.array_equal(batch.x[:, 1:], batch.y[:, :-1])
    assert batch.x.max() > 1


@pytest.mark.parametrize("engine", ["interp", "textbook", "fast", "processes", "torch"])
def test_a_text_run_that_is_stopped_within_an_epoch_goes_on_bit_for_bit(text, tmp_path, engine):
    net = compile_text(SPEC, "verse")
    data = load(text(VERSE))
    train(net, data, ENGINES[engine], new_run("verse", tmp_path / "whole"))
    steps = Feed(data, net.recipe).steps
    for step in (1, steps + 2, 2 * steps + 3):
        run = new_run("verse", tmp_path / str(step))
        with pytest.raises(Interrupted):
            train(net, data, ENGINES[engine], run, stop_after(step))
        train(net, data, ENGINES[engine], run, resume=True)
        assert kept(run) == kept(tmp_path / "whole"), step


def test_engines_learn_the_same_from_a_text(text, tmp_path):
    net, data = compile_text(SPEC.replace("dropout 0.1 -> ", ""), "verse"), load(text(VERSE))
    losses = [
        train(net, data, ENGINES[engine], new_run("verse", tmp_path / engine)).test_loss
        for engine in ("interp", "textbook", "fast", "processes", "torch")
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)  # float32, 60 steps


# ------------------------------------------------------------------------------------- what does not do, and names


def test_texts_that_are_too_short_are_refused_in_either_part(text):
    match = "the part to learn from of `a.txt` has 5 characters, but the input takes 8"
    assert "`input 4 of ...`" in refuses(match, load, text("abcdef", "a.txt"), want(limit=9)).help
    refuses("the validation part, the last 0.1 of it, of `b.txt` has 4 characters", load, text("ab" * 20, "b.txt"))
    refuses("the text `c.txt` has 6 characters", load, text("abcdef", "c.txt"), want(limit=9, val=0.0))


def test_a_text_of_more_characters_than_the_network_takes_is_refused_with_the_input_that_it_needs(text):
    match = f"`verse.txt` has {COUNT} different characters, but the network takes 20"
    assert f"`input 8 of {COUNT}`" in refuses(match, load, text(VERSE), want(limit=20)).help
    d = load(text(VERSE), want(limit=COUNT + 4))
    assert d.limit == COUNT + 4 and len(d.classes) == COUNT
    spec = SPEC.replace(f"of {COUNT}", f"of {COUNT + 4}")
    assert fitted(compile_text(spec, "verse"), d)


def test_a_network_of_another_input_is_told_what_a_text_needs(text):
    d = load(text(VERSE), Wanted(vector(64), options={"text": "characters"}))
    net = compile_text("input 64\nlinear 27", "a")
    assert "`embed`" in refuses("whole numbers, but `a` takes 64", fitted, net, d).help
    spiral = load_dataset("spiral", None, want=want(length=2, limit=5))
    net = compile_text("input 2 of 5\nembed 3 -> linear 3", "b")
    match = "`b` takes whole numbers, 2 of 5, but the samples of `spiral` are none"
    assert "`input 2`" in refuses(match, fitted, net, spiral).help


def test_a_file_that_is_missing_and_a_folder_are_one_line(tmp_path):
    recipe = with_data(Recipe(), f"text {tmp_path / 'none.dat'}")
    asked = want(options=recipe.data_options)
    refuses("none.dat`: no such file", load_dataset, recipe.data, None, want=asked)
    refuses("it is a folder, not a file", load_dataset, str(tmp_path), None, want=asked)


@pytest.mark.parametrize(
    "entry, unit",
    [('text "a b.dat"', "characters"), ('text "a b.dat" bytes', "bytes"), ('"a b.dat" text=bytes', "bytes")],
)
def test_a_text_is_named_in_a_train_block_and_on_the_command_line_and_kept_in_a_run(entry, unit):
    net = compile_text(f"input 8 of 256\nembed 4 -> linear 256\ntrain {{ data {entry} }}", "a")
    assert (net.recipe.data, net.recipe.data_options) == ("a b.dat", {"text": unit})
    assert recipe_of(asdict(net.recipe)) == net.recipe
    if entry.startswith("text"):
        assert with_data(Recipe(), entry) == with_data(Recipe(), entry.replace('"', ""))
        assert with_data(Recipe(), entry).data_options == net.recipe.data_options


@pytest.mark.parametrize(
    "entry, message",
    [
        ("text", "takes a path in quotes"),
        ("text shakespeare", "takes a path in quotes"),
        ('text "a" words', "unknown unit of a text `words`"),
        ('text "a" bytes bytes', "takes a path, and `bytes` or nothing"),
        ('text "a" stride=3', "takes a path, and `bytes` or nothing"),
        ("tinyshakespear", "did you mean `tinyshakespeare`"),
        ("shakespeare", "did you mean `tinyshakespeare`"),
    ],
)
def test_what_no_text_is_in_a_train_block_is_said(entry, message):
    with pytest.raises(SpecError) as caught:
        compile_text(f"input 8 of 256\nembed 4 -> linear 256\ntrain {{ data {entry} }}", "a")
    (said,) = caught.value.diagnostics
    assert message in f"{said.message} {said.help}"


def test_a_text_needs_an_input_of_whole_numbers_and_what_moves_maps_none(text):
    with pytest.raises(SpecError) as caught:
        compile_text('input 64\nlinear 2\ntrain { data text "a" }', "a")
    assert "a text is for an input of whole numbers" in caught.value.diagnostics[0].message
    for change in ("shift=1", "noise=0.1", "mixup=0.2", "flip", "scale=0.1"):
        with pytest.raises(SpecError) as caught:
            compile_text(f"input 8 of 5\nembed 4 -> take 0 -> linear 5\ntrain {{ augment {change} }}", "a")
        assert any(f"`{change.partition('=')[0]}`" in one.message for one in caught.value.diagnostics), change


def test_the_text_of_the_package_has_the_characters_of_the_catalog():
    data = CATALOG["classics"]
    d = load_dataset("classics", None, want=want(64, 65))
    assert d.classes == data.classes and d.counted.startswith(f"{data.train:,} + {data.test:,} characters")


@needs_data
@pytest.mark.parametrize("name", ["tinyshakespeare", "names"])
def test_the_texts_of_the_catalog_are_those_of_the_folder(name):
    data = CATALOG[name]
    d = load_dataset(name, Path(DATA), want=want(64, len(data.classes)))
    (member,) = data.members
    content = (Path(DATA) / name / member.name).read_text()
    assert d.classes == data.classes == tuple(sorted(set(content))) and len(content) == data.train + data.test
    assert not any("published" in note for note in d.notes)


def test_another_text_of_a_known_name_is_taken_and_said(tmp_path):
    (tmp_path / "names").mkdir()
    (tmp_path / "names/names.txt").write_text("ann\nbob\n" * 40)
    d = load_dataset("names", tmp_path, want=want(8, 27))
    assert d.classes == ("\n", "a", "b", "n", "o") and any("not the `names` that was published" in n for n in d.notes)


def test_a_recipe_tells_what_data_want_of_tokens():
    net = compile_text(SPEC, "verse")
    asked = wanted_by(net.recipe, net.graph.input_type, net.graph.output_type)
    assert (asked.classes, asked.outputs, asked.mask_axes) == (COUNT, COUNT, 1)
