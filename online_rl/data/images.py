"""Decoding one image: any PNG, JPEG or DICOM file to bounded 8-bit RGB with the right pixels, or a clear refusal."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from online_rl.data.dicom import dicom_image, is_dicom
from online_rl.data.held_image import HeldImage
from online_rl.data.png import sixteen_bits, without_text
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
    or colour is divided by the range of the smallest of 8, 10, 12, 14 or 16 bits that holds its largest value, since a
    12-bit radiograph in a 16-bit file would be almost black otherwise. CMYK (Adobe's inverted one too) becomes RGB.
    DICOM goes through its LUTs and window (see `dicom`).
    """
    name = shown_path(source) if isinstance(source, str) else f"({len(source)} bytes in memory)"
    prefix = f"{where}: image {name}" if where else f"image {name}"
    if HeldImage.is_one(source):
        source = HeldImage.fetch(str(source))
    data = _read(source, prefix) if isinstance(source, str) else source
    if not data:
        raise ImageError(f"{prefix}: found no bytes, expected a PNG or JPEG file. Copy it again or remove the study.")
    if is_dicom(data):
        file: Image.Image = dicom_image(data, prefix, MAX_PIXELS)
        return _shrunken(file.convert("RGB"), _scale(file.size, max_side, prefix))
    try:
        # Pillow warns on bombs by default and only raises later; its own bound is above ours.
        file = Image.open(io.BytesIO(without_text(data)), formats=("PNG", "JPEG"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{prefix}: too many pixels, expected at most {MAX_PIXELS:,}. Shrink it.") from None
    except _BROKEN:
        raise ImageError(f"{prefix}: neither PNG nor JPEG nor DICOM. Convert it, or remove the study.") from None
    scale = _scale(file.size, max_side, prefix)
    try:
        deep = sixteen_bits(file)
        file.load()
    except _BROKEN:
        raise ImageError(f"{prefix}: truncated or damaged. Copy it again, or remove the study.") from None
    if deep is not None:
        file, exif = _eight_bits(deep), file.info.get("exif")
        file.info |= {"exif": exif} if exif else {}
    return _shrunken(_rgb(_upright(file)), scale)


def _scale(size: tuple[int, int], max_side: int, prefix: str) -> float:
    """What the sides are multiplied by. Raises ImageError for too many pixels, or too few on a side."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{prefix}: found {width} x {height} pixels, expected at most {MAX_PIXELS:,}. Shrink it.")
    scale = min(1.0, max_side / max(width, height))
    if min(width, height) * scale < MIN_SIDE:
        raise ImageError(
            f"{prefix}: found {width} x {height} pixels, expected at least {MIN_SIDE} on the shorter side"
            f"{f' after shrinking the longer one to {max_side}' if scale < 1 else ''}. Replace it or remove the study."
        )
    return scale


def _shrunken(image: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


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
    """From 16 bits, (H, W) or (H, W, C), C with alpha last if it is even; by a table, which needs no floating copy."""
    colours = pixels[..., : pixels.shape[2] - 1 + pixels.shape[2] % 2] if pixels.ndim == 3 else pixels
    largest = int(colours.max())
    full = next(2**bits - 1 for bits in DEPTHS if largest < 2**bits)
    table = np.rint(np.minimum(np.arange(2**16, dtype=np.float32) * (255.0 / full), 255)).astype(np.uint8)
    shown = table[pixels.astype(np.uint16, copy=False)]
    if colours is not pixels and colours.shape != pixels.shape:  # alpha has all 16 bits
        shown[..., -1] = pixels[..., -1] >> 8
    return Image.fromarray(shown)
