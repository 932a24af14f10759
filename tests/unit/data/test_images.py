"""Every kind of PNG and JPEG gives the right pixels within bounds, or a refusal that names the row."""

from __future__ import annotations

import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from online_rl.data.images import MAX_PIXELS, load_image
from online_rl.errors import DataError


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flat(mode: str, color, size=(16, 12)) -> Image.Image:
    return Image.new(mode, size, color)


def pixel(data: bytes, where=(3, 3)) -> tuple[int, int, int]:
    image = load_image(data, 64)
    assert image.mode == "RGB"
    return image.getpixel(where)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (flat("L", 90), (90, 90, 90)),
        (flat("RGB", (10, 20, 30)), (10, 20, 30)),
        (flat("1", 1), (255, 255, 255)),
        (flat("LA", (200, 255)), (200, 200, 200)),
        (flat("LA", (200, 0)), (0, 0, 0)),
        (flat("RGBA", (200, 100, 50, 255)), (200, 100, 50)),
        (flat("RGBA", (200, 100, 50, 0)), (0, 0, 0)),
        (flat("RGB", (7, 8, 9)).convert("P", palette=Image.Palette.ADAPTIVE), (7, 8, 9)),
    ],
    ids=["grey", "rgb", "1-bit", "grey+alpha", "clear grey", "rgba", "clear rgba", "palette"],
)
def test_every_png_mode_becomes_rgb_on_black(image, expected):
    assert pixel(encoded(image)) == expected


@pytest.mark.parametrize(
    "image", [flat("L", 90), flat("RGB", (90, 90, 90)), flat("P", 0)], ids=["grey", "rgb", "palette"]
)
def test_a_transparent_colour_lies_on_black_too(image):
    clear = {"L": 90, "RGB": (90, 90, 90), "P": 0}[image.mode]
    if image.mode == "P":
        image.putpalette([90, 90, 90])
    assert pixel(encoded(image, transparency=clear)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("largest", "value", "expected"),
    [
        (65535, 32768, 128),  # 32768 / 65535 * 255 = 127.5
        (4095, 2048, 128),  # a 12-bit radiograph in a 16-bit file: 2048 / 4095 * 255 = 127.5
        (4000, 2048, 128),  # its brightest pixel need not be the brightest possible
        (1023, 512, 128),
        (16383, 4096, 64),
        (255, 100, 100),
        (0, 0, 0),
    ],
)
def test_sixteen_bits_are_scaled_by_the_depth_that_holds_them(largest, value, expected):
    pixels = np.full((12, 16), value, np.uint16)
    pixels[0, 0] = largest
    data = encoded(Image.fromarray(pixels))
    assert abs(pixel(data)[0] - expected) <= 1
    if largest in (65535, 4095, 255):
        assert pixel(data, (0, 0)) == (255, 255, 255)


def test_cmyk_with_and_without_adobes_inversion_has_the_right_colour():
    paper = flat("CMYK", (0, 0, 0, 0))
    ink = flat("CMYK", (0, 0, 0, 255))
    for image, expected in ((paper, 255), (ink, 0)):
        data = encoded(image, "JPEG", quality=95)
        assert b"Adobe" in data, "Pillow writes Adobe's inverted CMYK"
        assert all(abs(channel - expected) <= 3 for channel in pixel(data))


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (-1, 0)), (8, (0, -1)), (2, (-1, 0)), (5, (0, 0))]
)
def test_exif_rotation_is_applied(orientation, corner):
    stored = flat("L", 0, (40, 24))
    stored.paste(255, (0, 0, 8, 8))  # the top left corner as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_image(encoded(stored, "JPEG", exif=exif, quality=95), 64)
    assert image.size == ((24, 40) if orientation >= 5 else (40, 24))
    x, y = (3 if side == 0 else size - 4 for side, size in zip(corner, image.size, strict=True))
    assert image.getpixel((x, y))[0] > 200


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_image():
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01"
    assert pixel(encoded(flat("L", 90), "JPEG", exif=exif, quality=95))[0] in range(88, 93)


def test_the_longer_side_is_bounded_and_the_shape_kept():
    assert load_image(encoded(flat("L", 5, (3000, 2000))), 300).size == (300, 200)
    assert load_image(encoded(flat("L", 5, (200, 300))), 300).size == (200, 300), "small images are not enlarged"


def test_a_path_is_read_like_bytes(tmp_path):
    path = tmp_path / "röntgen 1.png"
    path.write_bytes(encoded(flat("L", 90)))
    assert load_image(str(path), 64).getpixel((0, 0)) == (90, 90, 90)


def huge_png(width: int, height: int) -> bytes:
    """A few bytes that announce a picture whose pixels would fill memory."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000)))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    )


@pytest.mark.parametrize("side", [9_100, 12_000, 60_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_a_pixel_is_decoded(side):
    assert side * side > MAX_PIXELS
    with warnings.catch_warnings(), pytest.raises(DataError, match="row 5: image .* pixels, expected at most"):
        warnings.simplefilter("error")
        load_image(huge_png(side, side), 1024, "row 5")


GOOD = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)))
GOOD_JPEG = encoded(Image.open(io.BytesIO(GOOD)), "JPEG")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "found no bytes"),
        (b"not an image", "neither PNG nor JPEG"),
        (b"GIF89a" + bytes(100), "neither PNG nor JPEG"),
        (GOOD[:20], "neither PNG nor JPEG|truncated"),
        (GOOD[: len(GOOD) // 2], "truncated or damaged"),
        (GOOD_JPEG[: len(GOOD_JPEG) // 2], "truncated or damaged"),
        (GOOD[:60] + bytes(200) + GOOD[260:], "truncated or damaged"),
        (bytes(128) + b"DICM" + bytes(100), "a DICOM file without pixel data"),
        (encoded(flat("L", 3, (1, 1))), "found 1 x 1 pixels, expected at least 8"),
        (encoded(flat("L", 3, (7, 100))), "found 7 x 100 pixels, expected at least 8"),
        (encoded(flat("L", 3, (10, 2000))), "after shrinking the longer one to 256"),
    ],
    ids=["empty", "text", "gif", "header", "half png", "half jpeg", "zeroed", "dicom", "1x1", "7x100", "strip"],
)
def test_what_cannot_be_shown_is_refused_with_path_and_row(tmp_path, data, words):
    path = tmp_path / "s1.png"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words) as caught:
        load_image(str(path), 256, "studies.jsonl:17")
    assert str(caught.value).startswith(f"studies.jsonl:17: image {path}: ")


def test_a_missing_file_a_folder_and_an_impossible_path_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_image(str(tmp_path / "none.png"), 64)
    with pytest.raises(DataError, match="cannot be read"):
        load_image(str(tmp_path), 64)
    with pytest.raises(DataError, match="cannot be read"):
        load_image("a\0b.png", 64)


def test_any_cut_of_a_file_is_an_image_or_a_refusal():
    for data in (GOOD, GOOD_JPEG):
        for length in range(0, len(data), 97):
            try:
                load_image(data[:length], 64)
            except DataError as error:
                assert "bytes in memory" in str(error)


def test_real_radiographs_decode(shared):
    folder = shared / "data" / "cxr-notes" / "images"
    paths = sorted(folder.iterdir())[:40]
    images = [load_image(str(path), 224) for path in paths]
    assert all(image.mode == "RGB" and max(image.size) == 224 for image in images)
    assert all(np.asarray(image).std() > 10 for image in images)
