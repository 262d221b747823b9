"""Recordings in `.wav` files as signals: of 8 to 32 bits, any rate and length. The standard library reads them; this
file distrusts."""

from __future__ import annotations

import os
import wave
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import reading, shown
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.wanted import Wanted

SUFFIXES = (".wav", ".wave")
SMALLEST = 44  # bytes of a file without sound
MAX_FRAMES = 50_000_000  # of one recording: 19 minutes at 44,100 Hz
MAX_RATE = 10_000_000
OTHER_FORMATS = {"2": "ADPCM", "3": "floats", "6": "A-law", "7": "mu-law", "85": "MP3", "65534": "an extended header"}
SAVE_HELP = "save it as PCM of 16 bits, as by `ffmpeg -i {} -c:a pcm_s16le out.wav`"


@dataclass(frozen=True)
class Header:
    """What the head of a recording says: `frames` moments, each of so many channels, `rate` of them a second."""

    rate: int
    channels: int
    frames: int


def header_of(path: Path) -> Header:
    """The head of a recording, checked against the size of its file. Raises UserError."""
    with _opened(path) as (header, _, _):
        return header


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """-> x (C, L) float32 from -1 to 1, and its rate in Hz. Raises UserError."""
    with _opened(path) as (header, file, width):
        data = file.readframes(header.frames)
    return _numbers(data, width).reshape(-1, header.channels).T, header.rate


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Header, wave.Wave_read, int]]:
    """The head, what reads the rest, and the bytes of a number. What the head says is compared with the file's size
    before anything is allocated."""
    with reading(path), open(path, "rb") as file:
        try:
            with wave.open(file) as recording:
                header = Header(recording.getframerate(), recording.getnchannels(), recording.getnframes())
                width = recording.getsampwidth()
                _check(path, header, width, file)
                yield header, recording, width
        except (wave.Error, EOFError) as error:
            raise _unread(path, str(error)) from None


def _check(path: Path, header: Header, width: int, file: BinaryIO) -> None:
    if width > 4:
        raise UserError(f"{shown(path)} has {8 * width} bits a number, expected 8, 16, 24 or 32", _save_help(path))
    if not header.frames:
        raise UserError(f"{shown(path)} has no sound: 0 frames", help="leave it out")
    if not 0 < header.rate <= MAX_RATE:
        raise UserError(f"{shown(path)} has a rate of {header.rate} Hz, expected 1 to {MAX_RATE}", _save_help(path))
    says, holds = header.frames * header.channels * width, os.fstat(file.fileno()).st_size - file.tell()
    if says > holds:
        text = f"{shown(path)} is cut off: its header says {says} bytes of sound, the file has {holds}"
        raise UserError(text, help=f"fetch it again, or {_save_help(path)}")
    if header.frames > MAX_FRAMES:
        text = f"{shown(path)} has {header.frames} frames, the limit is {MAX_FRAMES}"
        raise UserError(text, help="cut it into shorter recordings")


def _unread(path: Path, error: str) -> UserError:
    """About a file that the standard library does not read, by what it says."""
    code = error.removeprefix("unknown format: ")
    if code != error:
        name = f"{OTHER_FORMATS[code]} (format {code})" if code in OTHER_FORMATS else f"the format {code}"
        return UserError(f"{shown(path)} holds {name}, expected PCM", help=_save_help(path))
    if "RIFF" in error or "WAVE" in error:
        return UserError(f"{shown(path)} is no WAV file: it does not begin with RIFF and WAVE", help=_save_help(path))
    size = path.stat().st_size
    if size < SMALLEST:
        return UserError(f"{shown(path)} is no WAV file: it has {size} bytes", help=_save_help(path))
    return UserError(f"{shown(path)} is damaged: {error or 'it ends too early'}", help=_save_help(path))


def _save_help(path: Path) -> str:
    return SAVE_HELP.format(path.name if path.name.isascii() and path.name.isprintable() else "in.wav")


def _numbers(data: bytes, width: int) -> np.ndarray:
    """Bytes -> float32 from -1 to 1: of 8 bits they count from 128, of more they are signed, the lowest byte first."""
    if width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if width == 3:  # the upper three bytes of 32 bits
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, width = wide.tobytes(), 4
    return np.frombuffer(data, f"<i{width}").astype(np.float32) / np.float32(2 ** (8 * width - 1))


def resampled(x: np.ndarray, count: int) -> np.ndarray:
    """x (C, L) -> (C, count) over the same time, float32: its Fourier spectrum, cut or filled up with zeros.

    What lies above half of the new rate is gone, so that nothing is folded down (scipy.signal.resample's method).
    """
    if x.shape[1] == count:
        return x
    y: np.ndarray = np.fft.irfft(np.fft.rfft(x), n=count) * (count / x.shape[1])
    return y.astype(np.float32)


class WavReader:
    """Reads the recordings of a data set alike, and counts what it changes.

    files: all of them, whose most frequent rate is that of the data set unless `want` says one. The network's input
    says channels and length: several channels become one by their mean, one becomes several as it is; behind a
    recording that is shorter follow zeros, of a longer one the middle is taken. Without a network the first file does.
    """

    def __init__(self, files: Sequence[Path], want: Wanted) -> None:
        headers = [header_of(path) for path in files]
        rates = Counter(header.rate for header in headers)
        self.rate = want.rate or min(rates, key=lambda rate: (-rates[rate], rate))
        first = headers[0]
        self.shape = (first.channels, self._count(first)) if want.takes is None else want.takes.sizes
        self.files, self.is_alone = files, len(rates) == 1
        self.changed: Counter[str] = Counter()

    def _count(self, header: Header) -> int:
        """How many moments a recording has at the rate of the data set."""
        return max(1, round(header.frames * self.rate / header.rate))

    def read(self, paths: Sequence[Path]) -> np.ndarray:
        """-> x (N, C, L) float32."""
        channels, length = self.shape
        total = 4 * len(self.files) * channels * length
        if total > MAX_BYTES:
            text = f"the {len(self.files)} recordings of {channels}x{length} like {shown(paths[0])} take {total} bytes"
            raise UserError(f"{text}, the limit is {MAX_BYTES}", help="take fewer of them, or shorter ones")
        x = np.zeros((len(paths), channels, length), np.float32)
        for i, path in enumerate(paths):
            signal = self._signal(path)
            x[i, :, : signal.shape[1]] = signal
        return x

    def notes(self) -> tuple[str, ...]:
        """What was changed, each with the number of recordings."""
        return tuple(f"{n} of {len(self.files)} recordings {what}" for what, n in sorted(self.changed.items()))

    def _signal(self, path: Path) -> np.ndarray:
        """(C, L) of the network, or shorter."""
        x, rate = read_wav(path)
        x = self._with_channels(path, x)
        if rate != self.rate:
            self.changed[f"were resampled from {rate} to {self.rate} Hz"] += 1
            count = self._count(Header(rate, *x.shape))
            if count > MAX_FRAMES:
                text = f"{shown(path)} has {x.shape[1]} frames at {rate} Hz, which are {count} at {self.rate} Hz"
                raise UserError(f"{text}; the limit is {MAX_FRAMES}", help="give all recordings one rate")
            x = resampled(x, count)
        length = self.shape[1]
        size = f"{length} numbers ({length / self.rate:.4g} s at {self.rate} Hz)"
        if x.shape[1] < length:
            self.changed[f"are shorter than {size}: zeros follow"] += 1
        if x.shape[1] > length:
            self.changed[f"are longer than {size}: their middle is taken"] += 1
        start = max(0, (x.shape[1] - length) // 2)
        return x[:, start : start + length]

    def _with_channels(self, path: Path, x: np.ndarray) -> np.ndarray:
        has, wants = len(x), self.shape[0]
        if has == wants:
            return x
        if wants == 1:
            self.changed[f"were mixed from {has} channels to one"] += 1
            mixed: np.ndarray = x.mean(axis=0, keepdims=True)
            return mixed
        if has == 1:
            self.changed[f"have one channel, which became {wants} alike"] += 1
            return np.repeat(x, wants, axis=0)
        raise UserError(f"{shown(path)} has {has} channels, but the network takes {wants}", help=f"use {has} or 1")
