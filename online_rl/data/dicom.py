"""What to do with a DICOM file, which is refused wherever it is met; needs no image library."""

from __future__ import annotations


def dicom_refusal(prefix: str) -> str:
    """The message for a DICOM file: what to run instead."""
    return (
        f"{prefix}: a DICOM file, expected PNG or JPEG. Convert it first, with window and MONOCHROME1 applied: "
        "`dcmj2pnm --write-png --use-window 1 in.dcm out.png` (DCMTK), or pydicom's apply_voi_lut."
    )
