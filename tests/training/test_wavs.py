"""Recordings in `.wav` files: bits, channels, rates, lengths, and files that are none."""

import struct
import wave

import numpy as np
import pytest

from netdsl.graph.types import map_of
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import wavs
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.wanted import Wanted
from netdsl.training.data.wavs import WavReader, header_of, read_wav, resampled

RATE, LENGTH = 800, 400
SHORT = map_of(1, LENGTH)


def tone(hertz, length=LENGTH, rate=RATE, channels=1):
    """(C, L) float64 of half the largest amplitude; further channels are weaker."""
    wave_form = 0.5 * np.sin(2 * np.pi * hertz * np.arange(length) / rate)
    return wave_form / np.arange(1, channels + 1)[:, None]


def save(path, x, rate=RATE, bits=16):
    """Writes x (C, L) from -1 to 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = np.rint(x.T * (2 ** (bits - 1) - 1)).astype(np.int64)
    numbers = whole + 128 if bits == 8 else whole
    width = bits // 8
    data = b"".join(int(n).to_bytes(width, "little", signed=bits > 8) for n in numbers.ravel())
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(x))
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def read(paths, takes=SHORT, **want):
    reader = WavReader(paths, Wanted(takes, **want))
    return reader.read(paths), reader.notes()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_every_number_of_bits_is_read_from_minus_1_to_1(tmp_path, bits, channels):
    x, rate = read_wav(save(tmp_path / "a.wav", tone(50, channels=channels), bits=bits))
    assert x.dtype == np.float32 and rate == RATE
    np.testing.assert_allclose(x, tone(50, channels=channels), rtol=0, atol=1.5 / 2 ** (bits - 1) + 1e-7)  # a step


def test_a_recording_of_two_channels_is_mixed_or_kept_as_the_input_says(tmp_path):
    both = save(tmp_path / "both.wav", tone(50, channels=2))
    x, notes = read([both])
    assert notes == ("1 of 1 recordings were mixed from 2 channels to one",)
    np.testing.assert_allclose(x[0, 0], 0.75 * tone(50)[0], rtol=0, atol=1e-4)  # 16 bits
    x, notes = read([both], map_of(2, LENGTH))
    assert not notes and np.array_equal(x[0], read_wav(both)[0])
    x, notes = read([save(tmp_path / "one.wav", tone(50))], map_of(2, LENGTH))
    assert notes == ("1 of 1 recordings have one channel, which became 2 alike",)
    assert np.array_equal(x[0, 0], x[0, 1])
    with pytest.raises(UserError, match="both.wav` has 2 channels, but the network takes 3"):
        read([both], map_of(3, LENGTH))


@pytest.mark.parametrize("length", [1, 399, 401, 450, 1200])
def test_zeros_follow_a_short_recording_and_of_a_long_one_the_middle_is_taken(tmp_path, length):
    path = save(tmp_path / "a.wav", np.linspace(-1, 1, length)[None])
    whole = read_wav(path)[0]
    x, (note,) = read([path])
    if length < LENGTH:
        assert np.array_equal(x[0, :, :length], whole) and not x[0, :, length:].any()
        assert note == "1 of 1 recordings are shorter than 400 numbers (0.5 s at 800 Hz): zeros follow"
    else:
        start = (length - LENGTH) // 2
        assert np.array_equal(x[0], whole[:, start : start + LENGTH])
        assert note == "1 of 1 recordings are longer than 400 numbers (0.5 s at 800 Hz): their middle is taken"


def test_recordings_of_another_rate_are_brought_to_the_one_that_most_have(tmp_path):
    paths = [save(tmp_path / f"{i}.wav", tone(50)) for i in range(2)]
    paths += [
        save(tmp_path / "fast.wav", tone(50, 1600, 3200), 3200),
        save(tmp_path / "slow.wav", tone(50, 200, 400), 400),
    ]
    x, notes = read(paths)
    assert notes == (
        "1 of 4 recordings were resampled from 3200 to 800 Hz",
        "1 of 4 recordings were resampled from 400 to 800 Hz",
    )
    np.testing.assert_allclose(x[2:], x[:2], rtol=0, atol=2e-4)  # whole waves, in 16 bits
    x, notes = read(paths[:1], rate=1600)
    assert x.shape == (1, 1, LENGTH) and len(notes) == 2  # twice as many, whose middle is taken
    np.testing.assert_allclose(x[0], tone(50, 800, 1600)[:, 200:600], rtol=0, atol=2e-4)


@pytest.mark.parametrize("count", [100, 150, 399, 401, 1000])
def test_resampling_is_that_of_scipy_and_folds_nothing_down(count):
    signal = pytest.importorskip("scipy.signal")
    x = np.random.default_rng(0).normal(size=(2, LENGTH))
    expected = signal.resample(x, count, axis=1)
    share = np.fft.rfft(expected - resampled(x, count))
    if count % 2 == 0 and count < LENGTH:  # where the last wave is of two numbers scipy takes it twice
        share[:, -1] = 0
    if LENGTH % 2 == 0 and count > LENGTH:
        share[:, LENGTH // 2] = 0
    np.testing.assert_allclose(share, 0, atol=1e-3)  # sums of a thousand float32
    high = resampled(tone(390), 100)
    assert np.abs(high).max() < 1e-6


def test_class_folders_of_recordings_are_signals_of_their_classes(tmp_path):
    for part, count in (("train", 4), ("test", 2)):
        for k, name in enumerate(("high", "low")):
            for i in range(count):
                save(tmp_path / part / name / f"{i}.wav", tone(100 - 50 * k), bits=8 if i else 16)
    (tmp_path / "train" / "high" / "notes.txt").write_text("")
    d = load_dataset(str(tmp_path), None, want=Wanted(SHORT, 2, "ce"))
    assert d.input_type == SHORT and d.classes == ("high", "low") and d.rate == RATE
    assert (len(d.x_train), len(d.x_test)) == (8, 4) and d.x_train.dtype == np.float32
    waves = np.abs(np.fft.rfft(d.x_train[:, 0])).argmax(axis=1) / (LENGTH / RATE)
    assert np.array_equal(waves, np.where(d.y_train == 0, 100, 50))
    assert len(d.notes) == 1 and "no recording by its name, as `notes.txt`: not used" in d.notes[0]
    assert abs(d.std[0] - 0.5 / np.sqrt(2)) < 0.01


def test_folders_that_are_no_recordings_are_refused_with_their_cause(tmp_path):
    def refuses(match, help=""):
        with pytest.raises(UserError, match=match) as error:
            load_dataset(str(tmp_path), None, want=Wanted(SHORT, 2, "ce"))
        assert help in error.value.help

    refuses("has 0 class folders", "put the recordings of each class into a folder of its own, as in `yes/1.wav`")
    save(tmp_path / "1.wav", tone(50))
    refuses("0 class folders, expected 2 or more, and 1 recording beside them")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    refuses("the class folder .*a` has no recordings", "recordings end in .wav, .wave")
    save(tmp_path / "b" / "1.wav", tone(50))
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "1.wav")
    with pytest.raises(UserError, match="the class folder .*a` has no images") as error:
        load_dataset(str(tmp_path), None, want=Wanted(map_of(1, 8, 8), 2, "ce"))
    assert error.value.help == "recordings are for the input of a signal, as `input 1x16000 map`"


def riff(data=b"\0" * 80, says=None, form=1, channels=1, rate=800, bits=16, head=b"RIFF", kind=b"WAVE", riff_says=None):
    says = len(data) if says is None else says
    block = struct.pack("<HHIIHH", form, channels, rate, rate * 2, 2, bits)
    body = kind + b"fmt " + struct.pack("<I", 16) + block + b"data" + struct.pack("<I", says) + data
    return head + struct.pack("<I", (len(body) if riff_says is None else riff_says) & 0xFFFFFFFF) + body


BROKEN = {
    "empty": (b"", "is no WAV file: it has 0 bytes"),
    "text": (b"hello, this is no sound at all", "is no WAV file: it does not begin with RIFF and WAVE"),
    "avi": (riff(kind=b"AVI "), "is no WAV file: it does not begin with RIFF and WAVE"),
    "rifx": (riff(head=b"RIFX"), "is no WAV file: it does not begin with RIFF and WAVE"),
    "no sound": (riff(b""), "has no sound: 0 frames"),
    "cut off": (riff(says=16000), "is cut off: its header says 16000 bytes of sound, the file has 80"),
    "4 GB": (riff(says=2**32 - 1, riff_says=2**32 - 1), "is cut off: its header says 4294967294 bytes"),
    "stereo cut off": (riff(says=1000, channels=2), "is cut off: its header says 1000 bytes of sound"),
    "floats": (riff(form=3, bits=32), r"holds floats \(format 3\), expected PCM"),
    "adpcm": (riff(form=2, bits=4), r"holds ADPCM \(format 2\), expected PCM"),
    "unheard of": (riff(form=777), "holds the format 777, expected PCM"),
    "64 bits": (riff(bits=64), "has 64 bits a number, expected 8, 16, 24 or 32"),
    "no rate": (riff(rate=0), "has a rate of 0 Hz, expected 1 to 10000000"),
    "no channels": (riff(channels=0), "is damaged: bad # of channels"),
    "no bits": (riff(bits=0), "is damaged: bad sample width"),
    "only the head": (riff()[:20], "is no WAV file: it has 20 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named_with_their_cause(tmp_path, name):
    data, match = BROKEN[name]
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(UserError, match=f"a.wav` {match}") as error:
        header_of(tmp_path / "a.wav")
    assert error.value.help


def test_no_byte_that_is_missing_or_wrong_is_more_than_a_user_error(tmp_path):
    """Every truncation, and every byte of the head with each of its bits turned."""
    good, path = riff(), tmp_path / "a.wav"
    spoiled = [good[:i] for i in range(len(good))]
    spoiled += [good[:i] + bytes([good[i] ^ 1 << bit]) + good[i + 1 :] for i in range(44) for bit in range(8)]
    refused = 0
    for data in spoiled:
        path.write_bytes(data)
        try:
            x, _ = read_wav(path)
            assert x.size <= 80
        except UserError:
            refused += 1
    assert len(good) <= refused < len(spoiled)


def test_what_would_take_too_much_memory_is_refused_before_it_does(tmp_path, monkeypatch):
    path = save(tmp_path / "a.wav", tone(50))
    monkeypatch.setattr(wavs, "MAX_BYTES", 1599)
    with pytest.raises(UserError, match="the 1 recordings of 1x400 like .* take 1600 bytes, the limit is 1599"):
        read([path])
    monkeypatch.setattr(wavs, "MAX_FRAMES", 399)
    with pytest.raises(UserError, match="has 400 frames, the limit is 399"):
        header_of(path)
    monkeypatch.undo()
    with pytest.raises(UserError, match="400 frames at 800 Hz, which are 5000000000 at 10000000000 Hz"):
        read([path], rate=10**10)


def test_a_folder_or_a_missing_file_is_no_recording(tmp_path):
    for path, match in ((tmp_path, "it is a folder"), (tmp_path / "b.wav", "no such file")):
        with pytest.raises(UserError, match=match):
            header_of(path)
