"""Rows of the Indiana University collection as Open-i gives it: `ecgen-radiology/*.xml`, and PNG or DICOM files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from online_rl.data.on_disk import find_images, without_empty
from online_rl.data.rows import LeftOut, Row
from online_rl.errors import DataError

FOLDERS = ("", "NLMCXR_png", "NLMCXR_dcm", "images", "png", "images/images_normalized")
TEXTS = ("comparison", "indication", "findings", "impression")


def openi_xml_rows(path: Path, image_root: Path) -> Iterator[Row | LeftOut]:
    """One row per report, images in the report's order. The collection has one study per patient and no splits."""
    folder = next((place for place in (path / "ecgen-radiology", path) if next(place.glob("*.xml"), None)), None)
    if folder is None:
        raise DataError(f"{path}: found no ecgen-radiology/*.xml. Set data.path to the folder that holds the reports.")
    reports = [_report(file) for file in sorted(folder.glob("*.xml"), key=_numbered)]
    names = [name for _, _, images in reports for name in images]
    places = (
        find_images([f"{name}.png" for name in names], image_root, FOLDERS, (None, ".dcm", ".jpg")) if names else None
    )
    for file, texts, images in reports:
        if not images or places is None:
            yield LeftOut(file.name, "the report names no image")
            continue
        yield Row(
            file.name,
            {
                "study_id": file.stem,
                "patient_id": file.stem,
                "images": [places.path(f"{name}.png") for name in images],
                "indication": texts.pop("indication", ""),
                "findings": texts.pop("findings", ""),
                "impression": texts.pop("impression", ""),
                **without_empty(texts),
            },
        )


def _report(file: Path) -> tuple[Path, dict[str, str], list[str]]:
    """The file, its texts by section, and the ids of its images."""
    try:
        tree = ElementTree.parse(file)
    except ElementTree.ParseError as error:
        line, column = error.position
        raise DataError(f"{file.name}:{line}: malformed XML at column {column}. Copy it again.") from None
    texts = {}
    for node in tree.iter("AbstractText"):
        label = (node.get("Label") or "").lower()
        if label in TEXTS:
            texts[label] = "".join(node.itertext()).strip()
    return file, texts, [found for node in tree.iter("parentImage") if (found := node.get("id"))]


def _numbered(file: Path) -> tuple[int, str]:
    digits = re.search(r"\d+", file.stem)
    return (int(digits.group()) if digits else -1, file.stem)
