"""DICOM files: what a radiologist would see of each, and every file that has nothing to show named."""

from __future__ import annotations

import io
import sys

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from online_rl.config import config_from_dict
from online_rl.data.images import load_image
from online_rl.data.readers import read_studies
from online_rl.errors import ImageError


def dicom(
    pixels: np.ndarray, bits: int = 12, kind: str = "MONOCHROME2", syntax=ExplicitVRLittleEndian, **fields
) -> bytes:
    """A DICOM file of these pixels (H, W), 16 bits allocated."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = "1.2.3"
    file.PatientName = "Effusion^Patient"
    file.Rows, file.Columns = pixels.shape
    file.BitsAllocated, file.BitsStored, file.HighBit, file.SamplesPerPixel = 16, bits, bits - 1, 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PhotometricInterpretation = kind
    file.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for name, value in fields.items():
        setattr(file, name, value)
    if fields.get("HighBit", 0) is None:
        del file.HighBit
    if syntax != ExplicitVRLittleEndian:
        file.compress(syntax)
    buffer = io.BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def ramp(low: int, high: int, kind=np.uint16) -> np.ndarray:
    """16 x 16; the least value in the first pixel, the largest in the last, what lies between elsewhere."""
    pixels = np.full((16, 16), (low + high) // 2, kind)
    pixels[0, 0], pixels[-1, -1] = low, high
    return pixels


def corners(data: bytes) -> tuple[int, int, int]:
    """First, middle and last pixel."""
    image = load_image(data, 64)
    assert image.mode == "RGB"
    return tuple(image.getpixel(at)[0] for at in ((0, 0), (8, 8), (15, 15)))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_without_a_window_the_least_is_black_and_the_largest_white(bits):
    low, high = 5, 2**bits - 20
    assert corners(dicom(ramp(low, high), bits)) == pytest.approx((0, 127, 255), abs=2)
    assert corners(dicom(ramp(low, high), bits, "MONOCHROME1")) == pytest.approx((255, 128, 0), abs=2)


def test_a_window_is_applied_before_monochrome1_is_inverted():
    """Centre 1000, width 1001 of 12 bits: 500 is black and 1500 white. In MONOCHROME1 it is the other way round;
    inverting first would show 4095 - 1000 = 3095 through the window, all white."""
    window = {"WindowCenter": 1000, "WindowWidth": 1001}
    pixels = ramp(400, 1600)  # 1000 in the middle
    assert corners(dicom(pixels, **window)) == pytest.approx((0, 127.5, 255), abs=1)
    assert corners(dicom(pixels, kind="MONOCHROME1", **window)) == pytest.approx((255, 127.5, 0), abs=1)


def test_a_window_is_in_values_behind_the_modality_lut():
    """Stored 0, 1000, 2000 are -1000, 0, 1000 behind slope 1 and intercept -1000; the window is 0 +- 500."""
    fields = {"RescaleSlope": 1, "RescaleIntercept": -1000, "WindowCenter": 0, "WindowWidth": 1001}
    pixels = ramp(0, 2000)
    pixels[8, 8] = 1250  # 250 of -500 to 500: three quarters
    assert corners(dicom(pixels, **fields)) == pytest.approx((0, 191, 255), abs=1)


def test_signed_pixels_and_several_windows():
    pixels = ramp(-800, 800, np.int16)
    assert corners(dicom(pixels, 16)) == pytest.approx((0, 127, 255), abs=1)
    fields = {"WindowCenter": [0, 9], "WindowWidth": [801, 1]}
    assert corners(dicom(pixels, 16, **fields)) == pytest.approx((0, 127, 255), abs=1)


def test_a_voi_lut_is_applied():
    table = Dataset()
    table.LUTDescriptor = [3, 0, 8]
    table.LUTData = np.array([0, 200, 255], "<u2").tobytes()
    pixels = np.zeros((16, 16), np.uint16)
    pixels[8, 8], pixels[-1, -1] = 1, 2
    assert corners(dicom(pixels, VOILUTSequence=Sequence([table]))) == (0, 200, 255)


def test_padding_does_not_count_as_the_darkest():
    pixels = ramp(2000, 3000)
    pixels[0, 1] = 0
    image = load_image(dicom(pixels, PixelPaddingValue=0), 64)
    assert image.getpixel((8, 8))[0] == pytest.approx(127, abs=1) and image.getpixel((1, 0))[0] == 0


def test_a_file_without_high_bit_is_read():
    assert corners(dicom(ramp(0, 4095), HighBit=None)) == pytest.approx((0, 127, 255), abs=1)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_compressed_pixels_are_the_same(syntax):
    pixels = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    plain, packed = (np.asarray(load_image(dicom(pixels, syntax=s), 64)) for s in (ExplicitVRLittleEndian, syntax))
    assert (plain == packed).all()


GOOD = dicom(ramp(0, 4095))


def without_pixels() -> bytes:
    file = pydicom.dcmread(io.BytesIO(GOOD))
    del file.PixelData
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (without_pixels(), "a DICOM file without pixel data"),
        (GOOD[:-100], "damaged DICOM|cannot be decoded"),
        (dicom(ramp(0, 9), NumberOfFrames=2), "DICOM file of 2 frames, expected one"),
        (dicom(ramp(0, 9)[:4]), "found 16 x 4 pixels, expected at least 8"),
        (dicom(ramp(0, 9), Rows=10_000, Columns=10_000), "found 10000 x 10000 pixels, expected at most 80,000,000"),
    ],
    ids=["no pixels", "cut", "frames", "strip", "bomb"],
)
def test_what_has_nothing_to_show_is_named_without_a_word_of_its_header(data, words):
    with pytest.raises(ImageError, match=f"studies.jsonl:3: image .*{words}") as caught:
        load_image(data, 64, "studies.jsonl:3")
    assert "Effusion" not in str(caught.value)


def test_a_missing_plugin_is_named_with_what_to_install(monkeypatch):
    from pydicom.pixels import get_decoder

    data = dicom(np.zeros((64, 64), np.uint16), syntax=JPEG2000Lossless)
    decoder = get_decoder(JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(ImageError, match="JPEG 2000.* cannot be decoded here.*pylibjpeg-openjpeg"):
        load_image(data, 64)


def test_without_pydicom_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match="a DICOM file, which needs pydicom. Install it: pip install pydicom"):
        load_image(GOOD, 64)


def test_the_dicom_tree_of_mimic_and_names_without_extension(forms, tmp_path):
    """The same studies as the JPG tree gives. Grey values come back by a window of the whole range."""

    def encode(grey: int) -> bytes:
        return dicom(np.full((16, 24), grey, np.uint16), 8, WindowCenter=128, WindowWidth=256)

    forms.write_mimic(tmp_path / "dcm", suffix=".dcm", encode=encode)
    forms.write_mimic(tmp_path / "jpg")
    trees = [
        read_studies(config_from_dict({"data": {"reader": "mimic_cxr", "path": str(tmp_path / name)}})).train
        for name in ("dcm", "jpg")
    ]
    for one, other in zip(*trees, strict=True):
        assert (one.study_id, one.indication, one.reference) == (other.study_id, other.indication, other.reference)
        pairs = zip(one.images, other.images, strict=True)
        assert all(load_image(a, 64).tobytes() == load_image(b, 64).tobytes() for a, b in pairs)
    assert load_image(encode(77), 64).getpixel((0, 0))[0] == 77  # told by its first bytes, not by a name


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_negative_slope_turns_the_picture_round_with_and_without_a_window(kind):
    """Stored 0 to 4095 are 4095 to 0 behind the slope: the first pixel is the brightest. pydicom maps what lies below
    the window to the larger end there."""
    fields = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    plain = corners(dicom(ramp(0, 4095), kind=kind, **fields))
    assert plain == pytest.approx((255, 128, 0) if kind == "MONOCHROME2" else (0, 127, 255), abs=1)
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert corners(dicom(ramp(0, 4095), kind=kind, **fields, **window)) == pytest.approx(plain, abs=1)
