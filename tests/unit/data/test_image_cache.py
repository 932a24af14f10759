"""Copies have the very pixels, follow the file, and never stand in the way."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from online_rl.data.image_cache import cached_image
from online_rl.data.images import load_image
from online_rl.errors import ImageError


@pytest.fixture
def path(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4096, (300, 200)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    return str(tmp_path / "x.png")


def same(one, other) -> bool:
    return one.mode == other.mode and one.tobytes() == other.tobytes()


def test_the_copy_has_the_pixels_of_the_file_and_is_read_instead(path, tmp_path, monkeypatch):
    folder = str(tmp_path / "cache")
    first = cached_image(path, 100, "row", folder)
    assert same(first, load_image(path, 100))
    monkeypatch.setattr("online_rl.data.image_cache.load_image", lambda *_: pytest.fail("decoded again"))
    assert same(cached_image(path, 100, "row", folder), first)


def test_colour_stays_colour(tmp_path):
    Image.new("RGB", (40, 30), (9, 80, 200)).save(tmp_path / "c.png")
    for _ in range(2):
        assert cached_image(str(tmp_path / "c.png"), 20, "", str(tmp_path / "cache")).getpixel((3, 3)) == (9, 80, 200)


def test_another_file_or_size_gets_another_copy(path, tmp_path):
    folder = str(tmp_path / "cache")
    assert cached_image(path, 100, "", folder).size == (67, 100)
    assert cached_image(path, 50, "", folder).size == (33, 50)
    Image.new("L", (300, 200), 7).save(path)
    os.utime(path, ns=(1, 1))
    assert cached_image(path, 100, "", folder).getpixel((0, 0)) == (7, 7, 7)


def test_a_damaged_copy_is_made_again_and_a_folder_that_cannot_be_written_is_done_without(path, tmp_path):
    folder = tmp_path / "cache"
    whole = cached_image(path, 100, "", str(folder))
    [copy] = folder.rglob("*.png")
    copy.write_bytes(copy.read_bytes()[:100])
    assert same(cached_image(path, 100, "", str(folder)), whole)
    assert same(load_image(str(copy), 100), whole), "the copy is whole again"
    (tmp_path / "file").write_text("")
    assert same(cached_image(path, 100, "", str(tmp_path / "file")), whole)


def test_errors_are_those_of_the_file(tmp_path):
    with pytest.raises(ImageError, match="row 3: image .*none.png: no such file"):
        cached_image(str(tmp_path / "none.png"), 100, "row 3", str(tmp_path / "cache"))
