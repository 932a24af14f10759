"""What Pillow does not do for PNG: 16 bits per channel in colour, and files with long texts."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # Pillow refuses the whole file for a text that unpacks to more than 1 MB


def without_text(data: bytes) -> bytes:
    """The same PNG without its text chunks; other data as they are."""
    if not data.startswith(SIGNATURE) or not any(name in data for name in TEXTS):
        return data
    parts, start = [SIGNATURE], len(SIGNATURE)
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")  # length, name, content, checksum
        if data[start + 4 : start + 8] not in TEXTS:
            parts.append(data[start:end])
        start = end
    return b"".join([*parts, data[start:]])


def sixteen_bits(file: Image.Image) -> np.ndarray | None:
    """All 16 bits of a PNG in colour or with alpha, (H, W, C) with C = 2, 3 or 4; None for any other image.

    Pillow keeps the high byte of each value alone, so the file is decoded with the low one in its place as well. Grey
    with alpha has four bytes per pixel, as RGBA of 8 bits has, and is decoded as that.
    """
    tiles = getattr(file, "tile", None) if file.format == "PNG" else None
    raw = str(tiles[0].args) if tiles else ""
    if raw not in ("RGB;16B", "RGBA;16B", "LA;16B"):
        return None
    if raw == "LA;16B":
        octets = _decoded(file, "RGBA")  # (H, W, 4): grey high, grey low, alpha high, alpha low
        return np.stack([_joined(octets[..., 0], octets[..., 1]), _joined(octets[..., 2], octets[..., 3])], axis=-1)
    return _joined(_decoded(file, raw), _decoded(file, raw.replace("16B", "16L")))


def _decoded(file: Image.Image, raw: str) -> np.ndarray:
    """The pixels under another raw mode, (H, W, C); `file` itself stays unread."""
    stream = file.fp  # type: ignore[attr-defined]
    stream.seek(0)
    with Image.open(stream, formats=("PNG",)) as again:
        again.tile = [tile._replace(args=raw) for tile in again.tile]  # type: ignore[attr-defined]
        return np.array(again)


def _joined(high: np.ndarray, low: np.ndarray) -> np.ndarray:
    return (high.astype(np.uint16) << 8) | low
