"""Files that are small and say they are large: an image or one line, in bounded memory."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

MOST = 400  # MB of address space above what the imports take; Pillow's own limits are about 200

READ = """
import resource, sys
from pathlib import Path
import PIL.Image, PIL.PngImagePlugin, PIL.JpegImagePlugin, PIL.GifImagePlugin, PIL.TiffImagePlugin, PIL.BmpImagePlugin
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.images import read_image
PIL.Image.init()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for path in sys.argv[2:]:
    try:
        print(read_image(path, (3, 8, 8)).shape)
    except UserError as error:
        print(error.message)
"""


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=8, height=8, extra=b"", data=None):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = bytes(height * (3 * width + 1)) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def saved(form, *frames):
    file = io.BytesIO()
    first, *rest = [Image.fromarray(np.full((8, 8), i % 256, np.uint8)) for i in frames]
    first.save(file, form, **({"save_all": True, "append_images": rest} if rest else {}))
    return bytearray(file.getvalue())


def bombs():
    """name -> (bytes, what is said of it or the shape that is read)."""
    zeros = zlib.compress(bytes(100_000_000), 9)
    jpeg, tiff = saved("JPEG", 0), saved("TIFF", 0)
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff" * 4
    (at,) = struct.unpack("<I", tiff[4:8])
    (count,) = struct.unpack("<H", tiff[at : at + 2])
    tiff[at + 2 + 12 * count : at + 6 + 12 * count] = struct.pack("<I", at)  # the next directory is this one
    bitmap = struct.pack("<IHHI", 100, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, *[0] * 6
    )
    return {
        "profile.png": (png(extra=chunk(b"iCCP", b"a\0\0" + zeros)), "decompressed data too large"),
        "text.png": (png(extra=chunk(b"zTXt", b"a\0\0" + zeros)), "decompressed data too large"),
        "words.png": (png(extra=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros)), "decompressed data too large"),
        "texts.png": (png(extra=chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))) * 100), "too much memory"),
        "pixels.png": (png(2**31 - 1, 2**31 - 1, data=b""), "too many pixels"),
        "line.png": (png(50_000_001, 1, data=b""), "has 50000001x1 pixels, the limit is 50000000"),
        "nothing.png": (png(0, 0), "is not an image of a known format"),
        "more.png": (png(data=bytes(50_000_000)), "(3, 8, 8)"),
        "frames.png": (png(extra=chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))), "(3, 8, 8)"),
        "pixels.jpg": (jpeg, "too many pixels"),
        "cut.jpg": (saved("JPEG", 0)[:300], "truncated"),
        "frames.gif": (saved("GIF", *range(2000)), "(3, 8, 8)"),
        "pixels.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;", "too many pixels"),
        "circle.tif": (tiff, "(3, 8, 8)"),
        "pixels.bmp": (b"BM" + bitmap, "too many pixels"),
        "pixels.ppm": (b"P6 99999999 99999999 255\n", "too many pixels"),
        "digits.ppm": (b"P6 " + b"9" * 100_000, "is damaged: b'Token too long"),
    }


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process is read from /proc")
def test_image_bombs_are_one_line_each_in_bounded_memory(tmp_path):
    expected = bombs()
    for name, (data, _) in expected.items():
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in expected]
    done = subprocess.run([sys.executable, "-c", READ, str(MOST), *paths], capture_output=True, text=True, timeout=120)
    assert not done.returncode and not done.stderr
    for line, (name, (_, words)) in zip(done.stdout.splitlines(), expected.items(), strict=True):
        assert words in line, name
