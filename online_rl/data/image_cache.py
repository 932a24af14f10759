"""Shrunken copies of images on disk: a file of 2,048 pixels, 16 bits or DICOM is decoded once, not every epoch.

A copy is a PNG of the very pixels that `load_image` gives. Its name is a hash of the path, size and time of the file
and of what was asked for, so a file that changes gets another copy. Copies hold images of patients: keep the folder as
you keep the data.
"""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from online_rl.data.images import load_image

VERSION = 2  # of the pixels: another one makes every copy anew
COMPRESSION = 1  # zlib's fastest


def cached_image(source: str | bytes, max_side: int, where: str, folder: str | None) -> Image.Image:
    """What `load_image(source, max_side, where)` gives, from `folder` if it holds a copy; else the copy is made.

    Images in memory, and `folder` None, are decoded each time. A damaged copy is made again; one that cannot be
    written, as on a full disk, is done without.
    """
    if folder is None or isinstance(source, bytes):
        return load_image(source, max_side, where)
    try:
        found = os.stat(source)
    except (OSError, ValueError):
        return load_image(source, max_side, where)  # says what is wrong
    name = f"{VERSION}/{os.path.abspath(source)}/{found.st_size}/{found.st_mtime_ns}/{max_side}"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    path = Path(folder) / digest[:2] / f"{digest}.png"
    try:
        with Image.open(path, formats=("PNG",)) as copy:
            return copy.convert("RGB")
    except (OSError, SyntaxError, ValueError):
        image = load_image(source, max_side, where)
    _keep(image, path)
    return image


def _keep(image: Image.Image, path: Path) -> None:
    """Write the copy under a name of this thread's own, then rename; grey images as grey."""
    pixels = np.asarray(image)
    grey = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())
    partial = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (image.getchannel(0) if grey else image).save(partial, "PNG", compress_level=COMPRESSION)
        os.replace(partial, path)
    except OSError:
        with suppress(OSError):
            partial.unlink()
