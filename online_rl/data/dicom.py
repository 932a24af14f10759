"""Pixels of a DICOM file as a radiologist sees them, by pydicom: Modality LUT, VOI LUT or window, then MONOCHROME1.

The order is the standard's (PS3.3 C.11.1, C.11.2, C.7.6.3.1.2): a window is in values behind the Modality LUT and
before the inversion; to invert first gives another picture wherever a window is not symmetric.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from online_rl.errors import ImageError

PLUGINS = "pip install pydicom pylibjpeg pylibjpeg-openjpeg pyjpegls"


def is_dicom(data: bytes) -> bool:
    """Whether the bytes are a DICOM file: its mark behind 128 bytes, whatever the file's name."""
    return data[128:132] == b"DICM"


def dicom_image(data: bytes, prefix: str, max_pixels: int) -> Image.Image:
    """Decode the one frame of a DICOM file to 8-bit grey or RGB.

    prefix  row and path, for messages

    A window maps to black and white; without one the least and the largest value do. Raises ImageError for a file
    without pixels, with several frames, with too many pixels, or with a compression that no installed plugin reads.
    """
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError:
        raise ImageError(f"{prefix}: a DICOM file, which needs pydicom. Install it: {PLUGINS}.") from None
    try:
        file = pydicom.dcmread(io.BytesIO(data))
        rows, columns = int(file.get("Rows", 0) or 0), int(file.get("Columns", 0) or 0)
        if "PixelData" not in file or not rows or not columns:
            raise ImageError(f"{prefix}: a DICOM file without pixel data. Replace it, or remove the study.")
        if rows * columns > max_pixels:
            raise ImageError(f"{prefix}: found {columns} x {rows} pixels, expected at most {max_pixels:,}. Shrink it.")
        if int(file.get("NumberOfFrames", 1) or 1) > 1:
            raise ImageError(f"{prefix}: a DICOM file of {file.NumberOfFrames} frames, expected one. Split it.")
        stored = file.pixel_array  # (H, W), or (H, W, 3)
        if stored.ndim == 3:
            return Image.fromarray(_colour(file, stored))
        values = apply_voi_lut(apply_modality_lut(stored, file), file)  # (H, W)
        shown = stored != file.PixelPaddingValue if "PixelPaddingValue" in file else None
        grey = _eight_bits(np.asarray(values, np.float32), _limits(file, values, shown))
        return Image.fromarray(255 - grey if file.PhotometricInterpretation == "MONOCHROME1" else grey)
    except ImageError:
        raise
    except (RuntimeError, NotImplementedError) as error:  # pydicom's, when a plugin is missing or cannot decode
        syntax = getattr(getattr(file, "file_meta", None), "TransferSyntaxUID", None)
        name = getattr(syntax, "name", "unknown")
        raise ImageError(
            f"{prefix}: DICOM pixels in {name} cannot be decoded here ({type(error).__name__}). If a plugin is "
            f"missing: {PLUGINS}. Else copy the file again, or remove the study."
        ) from None
    except Exception as error:  # pydicom raises many kinds for damaged files, and their texts may quote the header
        raise ImageError(
            f"{prefix}: a damaged DICOM file ({type(error).__name__}). Copy it again, or remove the study."
        ) from None


def _limits(file: Any, values: np.ndarray, shown: np.ndarray | None) -> tuple[float, float]:
    """The values that become black and white; `shown` says which pixels are no padding, None = all.

    A window's are the ends of the range that pydicom's windowing maps to: of the stored values, behind the Modality
    LUT. With a negative slope the first end is the larger one: what lies below the window is mapped to it. A LUT's are
    0 and the largest value of its depth. Without either: the least and the largest value.
    """
    if file.get("VOILUTSequence"):
        descriptor = file.VOILUTSequence[0].LUTDescriptor
        return 0.0, float(2 ** int(descriptor[2]) - 1)
    if file.get("WindowCenter") is not None and file.get("WindowWidth") is not None:
        bits = int(file.BitsStored)
        signed = int(file.get("PixelRepresentation", 0))
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        if "ModalityLUTSequence" in file:
            return 0.0, float(2 ** int(file.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
        slope, intercept = float(file.get("RescaleSlope", 1) or 1), float(file.get("RescaleIntercept", 0) or 0)
        return low * slope + intercept, high * slope + intercept
    counted = values[shown] if shown is not None and shown.any() else values
    return float(np.min(counted)), float(np.max(counted))


def _eight_bits(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Values from `limits` to 0 to 255, (H, W): the first limit is black, whether or not it is the smaller one."""
    low, high = limits
    scaled = (values - low) * (255.0 / (high - low)) if high != low else np.zeros_like(values)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _colour(file: Any, stored: np.ndarray) -> np.ndarray:
    """RGB at 8 bits (H, W, 3), mostly of secondary captures; pydicom has converted other colour spaces."""
    shift = max(0, int(file.BitsStored) - 8)
    return np.ascontiguousarray((stored >> shift).astype(np.uint8))
