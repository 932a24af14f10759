"""Reports of MIMIC-CXR: a tree of text files, the zip of it, or `mimic_cxr_sectioned.csv`, which has no indication."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from online_rl.data.cells import is_missing
from online_rl.data.csv_table import csv_rows
from online_rl.data.mimic_sections import sections
from online_rl.data.on_disk import find_file, need_columns
from online_rl.errors import DataError

PATIENTS = 500  # looked at to tell a tree of reports from one of images
ZIP = "mimic-cxr-reports.zip"
SECTIONED = "mimic_cxr_sectioned.csv"
TREES = ("files", "mimic-cxr-reports/files", "reports/files", "reports", "mimic-cxr/*/files", "mimic-cxr/files", "")
KEPT = ("indication", "history", "findings", "impression", "last_paragraph", "comparison", "technique", "examination")


class Reports(Protocol):
    """The source of the reports.

    name      for messages
    sections  name -> text of the report's sections, of `KEPT` those with text; None if there is no such report
    """

    name: str

    def sections(self, patient: str, study: str) -> dict[str, str] | None: ...


def open_reports(place: Path | None, folders: Iterable[Path]) -> Reports:
    """The reports at `place`, else the first found: text files before the zip, and both before the table.

    patient and study are bare numbers everywhere.
    """
    looked = [place] if place is not None else list(folders)
    for folder in looked:
        if folder.is_file():
            return _Zip(folder) if zipfile.is_zipfile(folder) else _Table(folder)
    for folder in looked:
        for pattern in TREES:
            for tree in [folder] if not pattern else sorted(folder.glob(pattern)):
                if _has_reports(tree):
                    return _Tree(tree)
    for name, kind in ((ZIP, _Zip), (f"{SECTIONED}*", _Table)):
        if found := find_file(looked, [name, f"*/{name}", f"*/*/{name}"]):
            return kind(found)
    raise DataError(
        f"{looked[0]}: found no reports, expected files/p10/p10000032/s50414267.txt, {ZIP} or {SECTIONED}. They are a "
        "download of their own (MIMIC-CXR, not MIMIC-CXR-JPG): put them beside the images, or name them: "
        "data.args={reports: PLACE}."
    )


class _Tree:
    def __init__(self, folder: Path) -> None:
        self.name, self._folder = str(folder), str(folder)

    def sections(self, patient: str, study: str) -> dict[str, str] | None:
        try:
            with open(f"{self._folder}/p{patient[:2]}/p{patient}/s{study}.txt", "rb") as file:
                return _kept(sections(_decoded(file.read())))
        except FileNotFoundError:
            return None


class _Zip:
    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError):
            raise DataError(f"{path}: not a whole zip file. Copy it again.") from None
        self._members = {name.rpartition("/")[2]: name for name in self._zip.namelist() if name.endswith(".txt")}

    def sections(self, patient: str, study: str) -> dict[str, str] | None:
        member = self._members.get(f"s{study}.txt")
        if member is None:
            return None
        try:
            return _kept(sections(_decoded(self._zip.read(member))))
        except (zipfile.BadZipFile, EOFError, OSError):
            raise DataError(f"{self.name}: {member} cannot be unpacked. Copy the zip again.") from None


class _Table:
    """`mimic_cxr_sectioned.csv`, whole in memory."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._rows: dict[str, dict[str, str]] = {}
        for at, row in enumerate(csv_rows(path)):
            if at == 0:
                need_columns(row.values, ("study", "impression", "findings"), path.name)
            study = row.values["study"].strip().lstrip("sS").removesuffix(".0")
            self._rows[study] = {name: text for name, text in row.values.items() if not is_missing(text)}

    def sections(self, patient: str, study: str) -> dict[str, str] | None:
        found = self._rows.get(study)
        return None if found is None else _kept(found)


def _has_reports(tree: Path) -> bool:
    patients = itertools.islice(tree.glob("p1[0-9]/p*"), PATIENTS)  # some may have none
    return any(next(patient.glob("s*.txt"), None) is not None for patient in patients)


def _kept(found: dict[str, str]) -> dict[str, str]:
    return {name: found[name] for name in KEPT if found.get(name)}


def _decoded(content: bytes) -> str:
    """Line ends as upstream's text mode reads them."""
    return content.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
