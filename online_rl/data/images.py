"""Decoding one image: any PNG or JPEG to bounded 8-bit RGB with the right pixels, or a clear refusal."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from online_rl.data.dicom import dicom_refusal
from online_rl.errors import ImageError

MAX_PIXELS = 80_000_000  # several times the largest detector; refused before a pixel is decoded
MOST_SHOWN = 1024  # characters; no path of a file is longer by much
MIN_SIDE = 8  # pixels; smaller ones are thumbnails, icons or damage
DEPTHS = (8, 10, 12, 14, 16)  # bits that detectors deliver in 16-bit files

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error, MemoryError)


def load_image(source: str | bytes, max_side: int, where: str = "") -> Image.Image:
    """Decode a file path or encoded bytes to RGB, the longer side at most `max_side`.

    where  the row, for the message, such as "studies.jsonl:17"

    Rules: EXIF rotation is applied. Transparent pixels lie on black, as the outside of a radiograph does. 16-bit grey
    is divided by the range of the smallest of 8, 10, 12, 14 or 16 bits that holds its largest value, since a 12-bit
    radiograph in a 16-bit file would be almost black otherwise. CMYK (Adobe's inverted one too) becomes RGB.
    """
    name = shown_path(source) if isinstance(source, str) else f"({len(source)} bytes in memory)"
    prefix = f"{where}: image {name}" if where else f"image {name}"
    data = _read(source, prefix) if isinstance(source, str) else source
    if not data:
        raise ImageError(f"{prefix}: found no bytes, expected a PNG or JPEG file. Copy it again or remove the study.")
    if data[128:132] == b"DICM":
        raise ImageError(dicom_refusal(prefix))
    try:
        # Pillow warns on bombs by default and only raises later; its own bound is above ours.
        file = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{prefix}: too many pixels, expected at most {MAX_PIXELS:,}. Shrink it.") from None
    except _BROKEN:
        raise ImageError(f"{prefix}: neither PNG nor JPEG. Convert it, or remove the study.") from None
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{prefix}: found {width} x {height} pixels, expected at most {MAX_PIXELS:,}. Shrink it.")
    scale = min(1.0, max_side / max(width, height))
    if min(width, height) * scale < MIN_SIDE:
        raise ImageError(
            f"{prefix}: found {width} x {height} pixels, expected at least {MIN_SIDE} on the shorter side"
            f"{f' after shrinking the longer one to {max_side}' if scale < 1 else ''}. Replace it or remove the study."
        )
    try:
        file.load()
    except _BROKEN:
        raise ImageError(f"{prefix}: truncated or damaged. Copy it again, or remove the study.") from None
    image = _rgb(_upright(file))
    if scale < 1:
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image


def shown_path(path: str) -> str:
    """A path as messages show it. Somebody's image as text (data:image/png;base64,...) is cut: it is no path."""
    if path.lstrip().lower().startswith("data:") or len(path) > MOST_SHOWN:
        return f"{path[:30]}... ({len(path)} characters; expected the path of a file)"
    return path


def _read(path: str, prefix: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{prefix}: no such file. Set data.image_root, or remove the study.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ImageError(f"{prefix}: cannot be read ({reason}). Check the path and its permissions.") from None


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF says nothing about the pixels, and Pillow raises many kinds for it
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _eight_bits(np.asarray(image)).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(pixels: np.ndarray) -> Image.Image:
    largest = int(pixels.max())
    full = next(2**bits - 1 for bits in DEPTHS if largest < 2**bits)
    return Image.fromarray(np.rint(pixels.astype(np.float32) * (255.0 / full)).astype(np.uint8))  # (H, W)
