"""Folders of recordings as a data set of signals: `.wav` files, a folder for each class, in one part or several."""

from __future__ import annotations

from pathlib import Path

from netdsl.training.data.folders import labelled_files
from netdsl.training.data.listing import FileKind
from netdsl.training.data.parts import Parts
from netdsl.training.data.wanted import Wanted
from netdsl.training.data.wavs import SUFFIXES, WavReader

WAV_FILES = FileKind("recording", SUFFIXES, "yes/1.wav")


def recording_folders(folder: Path, want: Wanted) -> Parts:
    """The recordings of a folder of class folders as signals (N, C, L) float32. Raises UserError."""
    labelled = labelled_files(folder, WAV_FILES)
    reader = WavReader(labelled.every, want)
    x = {part: reader.read([path for path, _ in pairs]) for part, pairs in labelled.files.items()}
    notes = (*labelled.notes, *reader.notes())
    return Parts(x, labelled.labels(), labelled.classes, notes, are_sorted=True, rate=reader.rate)
