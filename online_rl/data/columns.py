"""The role of each column of a file: known names, those that `data.columns` gives, and the rest."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from online_rl.errors import DataError

# Where a row has several names of one line, the first in the line counts. Compared as `plain_name` writes them.
_TEXT_OF_EITHER = ("reference", "ground_truth", "target_text", "report")
COLUMNS: dict[str, tuple[str, ...]] = {
    "images": (
        *("images", "image", "image_paths", "image_path", "path_to_image", "filename", "ImagePath"),
        *("images_path", "img_path", "file_name", "image_file", "path"),
    ),
    "views": ("views", "view", "ImageViewPosition", "ViewPosition", "frontal_lateral", "projection"),
    "findings": ("findings", "section_findings", "findings_section", *_TEXT_OF_EITHER),
    "impression": ("impression", "section_impression", "impression_section", *_TEXT_OF_EITHER),
    "indication": (
        *("indication", "section_indication", "clinical_indication", "reason_for_exam"),
        *("history", "section_history", "history_section", "clinical_history", "section_clinical_history"),
    ),
    "study_id": ("study_id", "study", "StudyInstanceUid", "uid", "id", "StudyID", "AccessionNumber"),
    "patient_id": ("patient_id", "subject_id", "PatientID", "patient", "subject", "deid_patient_id"),
    "split": ("split", "subset", "partition"),
    "study_date": ("study_date", "StudyDate", "patient_report_date_order"),
}
SECTIONS = ("findings", "impression")
# CheXalign's own pair of columns: what is asked, and what should be written. Alone, `text` may be a whole report.
_ASKED, _WRITTEN = "text", "target_text"
# What data.columns may say beside the roles and their names.
OWN_WORDS = {"reference": SECTIONS, "date": ("study_date",)}
# Parts of names that people give to a column of that role.
_RESEMBLE = {
    "images": ("image", "img", "path", "file", "dicom"),
    "indication": ("indic", "history", "reason", "clinic"),
    "study_id": ("study", "exam", "accession"),
    "patient_id": ("patient", "subject", "pat_", "pid", "mrn", "person"),
    "split": ("split", "fold", "set", "part"),
    "study_date": ("date", "time"),
}


def plain_name(name: str) -> str:
    """The name without regard to case, and with `_` for blanks and hyphens: `Study ID` is study_id."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


_KNOWN = {role: tuple(plain_name(name) for name in names) for role, names in COLUMNS.items()}
IMAGES = frozenset(_KNOWN["images"])


def role_of(word: str) -> tuple[str, ...]:
    """The roles that a key of data.columns names: a role, one of its known names, or `reference`; () if none."""
    plain = plain_name(word)
    if plain in OWN_WORDS:
        return OWN_WORDS[plain]
    if plain in _KNOWN:
        return (plain,)
    return next(((role,) for role, names in _KNOWN.items() if plain in names), ())


@dataclass
class Columns:
    """Finds the columns of rows, and remembers what it found.

    sections  of the reference report: ("findings",), ("impression",) or both
    named     data.columns: role, or a known name of it -> the column's name, exactly as the file has it
    used      role -> the columns that were taken for it
    ignored   column -> rows that have it, for columns with no role
    """

    sections: tuple[str, ...]
    named: Mapping[str, str] = field(default_factory=dict)
    used: dict[str, set[str]] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    _found: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._named: dict[str, str] = {role: column for word, column in self.named.items() for role in role_of(word)}
        self._roles = [role for role in COLUMNS if role not in SECTIONS or role in self.sections]

    def of(self, values: Mapping[str, Any], source: str) -> dict[str, str]:
        """Role -> name of its column in this row; roles without a column are missing.

        Raises DataError if two names that differ in case alone could both be meant.
        """
        key = tuple(values)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._resolve(key, source)
            for role, name in found.items():
                self.used.setdefault(role, set()).add(name)
        return found

    def count_ignored(self) -> None:
        """Fill `ignored` once all rows have been seen."""
        for key, found in self._found.items():
            self.ignored.update(str(name) for name in key if name not in found.values())

    def refuse_absent(self, origin: str) -> None:
        """Raise DataError if no row has a column that data.columns names."""
        present = {str(name): None for key in self._found for name in key}
        for word, column in self.named.items():
            if present and column not in present:
                near = difflib.get_close_matches(column, present, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise DataError(
                    f"data.columns.{word}: found {column!r}, but {origin} has no such column; it has: "
                    f"{', '.join(list(present)[:30])}.{hint}"
                )

    def resembling(self, role: str) -> str | None:
        """A column without a role whose name looks like `role`, for a hint."""
        parts = _RESEMBLE.get(role, (role.rstrip("s"),))
        return next((name for name in self.ignored if any(part in plain_name(name) for part in parts)), None)

    def lines(self) -> list[str]:
        """What was used for what, and what for nothing."""
        used = ", ".join(f"{role}: {' | '.join(sorted(names))}" for role in COLUMNS if (names := self.used.get(role)))
        ignored = ", ".join(sorted(self.ignored)) or "none"
        return [f"used {used}", f"kept for rewards and prompts alone: {ignored}"]

    def _resolve(self, key: Iterable[str], source: str) -> dict[str, str]:
        plain: dict[str, str] = {}
        doubled: dict[str, tuple[str, str]] = {}
        for name in key:
            word = plain_name(str(name))
            if word in plain:
                doubled[word] = (plain[word], name)
            plain.setdefault(word, name)
        found: dict[str, str] = {}
        for role in self._roles:
            if (own := self._named.get(role)) is not None:
                if own in key:
                    found[role] = own
                continue
            names = (*_KNOWN[role], _ASKED) if role == "indication" and _WRITTEN in plain else _KNOWN[role]
            known = next((name for name in names if name in plain), None)
            if known in doubled:
                one, other = doubled[known]
                raise DataError(
                    f"{source}: found the columns {one!r} and {other!r}, expected one for {role}. Remove one, or name "
                    f"the one that counts: data.columns={{{role}: {one}}}."
                )
            if known is not None and plain[known] not in self._named.values():
                found[role] = plain[known]
        return found
