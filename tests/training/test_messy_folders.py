"""Random trees of folders and images: each is a data set or one line that says what is wrong (`--trees N`)."""

import random

import numpy as np
from PIL import Image

from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.wanted import Wanted

PARTS = ["train", "val", "test", "valid", "Train"]
NAMES = [*PARTS, "images", "imgs", "masks", "labels", "annotations", "train_masks", "a", "b", "c", "x y", ".h"]
FITS = ("resize", "crop", "pad")


def image(rng, numbers):
    """An image of any mode, mostly small and of any size."""
    size = (rng.randrange(1, 12), rng.randrange(1, 12))
    grey = numbers.integers(0, 256, size).astype(np.uint8)
    made = [
        lambda: Image.fromarray(grey),
        lambda: Image.fromarray(numbers.integers(0, 256, (*size, 3)).astype(np.uint8)),
        lambda: Image.fromarray(numbers.integers(0, 256, (*size, 4)).astype(np.uint8)),
        lambda: Image.fromarray(numbers.integers(0, 4096, size).astype(np.uint16)),
        lambda: Image.fromarray(grey).convert("P"),
        lambda: Image.fromarray(grey).convert("LA"),
        lambda: Image.fromarray(grey > 128),
        lambda: Image.fromarray((grey > 128).astype(np.uint8) * 255),
        lambda: Image.fromarray(np.full((8, 8), rng.randrange(3), np.uint8)),
    ]
    return rng.choice(made)()


def plant(folder, rng, numbers, depth=0):
    """Fills a folder with folders and images, some of which are cut."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(rng.randrange(5)):
        if depth < 3 and rng.random() < 0.75:
            plant(folder / rng.choice(NAMES), rng, numbers, depth + 1)
    for i in range(rng.randrange(6) if depth else rng.randrange(2)):
        path = folder / rng.choice([f"{i}.png", f"{i}.jpg", f"{i}_mask.png", f"{i}.PNG", "notes.txt"])
        image(rng, numbers).save(path, "png")
        if rng.random() < 0.03:
            path.write_bytes(path.read_bytes()[: rng.randrange(100)])


def test_any_tree_of_folders_is_a_data_set_or_refused_in_one_line(tmp_path, request):
    count, read = request.config.getoption("--trees"), 0
    for seed in range(count):
        rng, folder = random.Random(seed), tmp_path / f"tree{seed}"
        plant(folder, rng, np.random.default_rng(seed))
        grey = Wanted(from_sizes((1, 8, 8)), 2, "ce", 0.1, 0, rng.choice([None, *FITS]))
        for want in (None, grey, Wanted(from_sizes((3, 6, 9)), 3, "mse", 0.1, 0, rng.choice(FITS))):
            try:
                d = load_dataset(str(folder), None, want=want)
            except UserError as error:
                assert "\n" not in error.message, seed
                assert folder.name in error.message or "training samples" in error.message, seed
                continue
            read += 1
            assert len(d.x_train) == len(d.y_train) and len(d.x_test) == len(d.y_test) > 0, seed
            assert d.y_train.max() < len(d.classes) and (want is None or d.input_type == want.takes), seed
    print(f"{count} trees, {read} of {3 * count} readings are data sets")
    assert read > count / 20
