"""PNG files that Pillow alone gets wrong: 16 bits per channel, and long texts."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from online_rl.data.images import load_image
from online_rl.errors import ImageError

COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG's colour type


def png16(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel, (H, W, C), written by hand."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, COLOUR[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_depth_is_the_files_in_grey_and_in_colour(channels, bits):
    """Half of the range is 127.5 of 255, whatever the range, and the brightest pixel is white."""
    pixels = np.full((12, 16, channels), 2 ** (bits - 1), np.uint16)
    pixels[0, 0] = 2**bits - 1
    if channels in (2, 4):
        pixels[..., -1] = 65535  # opaque
        pixels[1, 1, -1] = 0
    image = load_image(png16(pixels), 64)
    assert image.mode == "RGB" and image.getpixel((0, 0)) == (255, 255, 255)
    assert all(127 <= value <= 129 for value in image.getpixel((5, 5)))
    assert image.getpixel((1, 1)) == ((0, 0, 0) if channels in (2, 4) else image.getpixel((5, 5)))


def test_colours_stay_colours():
    pixels = np.zeros((12, 16, 3), np.uint16)
    pixels[...] = (4095, 1024, 0)
    assert load_image(png16(pixels), 64).getpixel((3, 3)) == (255, 64, 0)  # 1024 / 4095 * 255 = 63.8


def test_a_cut_file_of_sixteen_bits_is_refused():
    data = png16(np.random.default_rng(0).integers(0, 4096, (64, 64, 3)).astype(np.uint16))
    with pytest.raises(ImageError, match="truncated or damaged"):
        load_image(data[: len(data) // 2], 64)


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_a_text_of_two_megabytes_does_not_lose_the_image(kind):
    info = PngImagePlugin.PngInfo()
    if kind == "iTXt":
        info.add_itxt("Comment", "x" * 2_000_000, zip=True)
    else:
        info.add_text("Comment", "x" * 2_000_000, zip=kind == "zTXt")
    buffer = io.BytesIO()
    Image.new("L", (16, 12), 90).save(buffer, "PNG", pnginfo=info)
    assert kind.encode() in buffer.getvalue()
    assert load_image(buffer.getvalue(), 64).getpixel((3, 3)) == (90, 90, 90)
