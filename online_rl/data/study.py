"""`Study`: one exam, as every part of the trainer sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Study:
    """One exam.

    images     1..k file paths, or the encoded bytes of PNG/JPEG files; decoded only when needed
    views      one per image where known, such as "PA", "AP", "lateral"
    reference  the radiologist's report as the reader found it (section chosen, text not yet cleaned)
    split      "train", "eval" or "test"; readers map their own words (validate, valid, val, dev -> eval)
    source     where the row came from, such as "studies.jsonl:17", for error messages
    columns    further fields of the row, passed on to rewards in TRL's call form
    date       when it was, as the data have it; "" if they do not say
    prior      the patient's study before it, where data.prior asks for it
    """

    study_id: str
    patient_id: str
    images: tuple[str | bytes, ...]
    indication: str
    reference: str
    split: str = "train"
    views: tuple[str, ...] = ()
    source: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    date: str = ""
    prior: Study | None = None

    @property
    def patient(self) -> str:
        """Whose study it is: one without a patient's id is of a patient of its own."""
        return f"patient {self.patient_id}" if self.patient_id else f"study {self.study_id}"
