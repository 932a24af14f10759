"""The same 24 made-up studies, written in the layout of every published data set."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

FINDINGS = ("The lungs are clear.", "Small left pleural effusion.", "The heart is enlarged.", "Right basal opacity.")
SPLITS = ("train",) * 8 + ("valid",) * 2 + ("test",) * 2


@dataclass(frozen=True)
class Exam:
    """patient, study  from 0; images are (view, grey value); the first two studies of a patient are a year apart"""

    patient: int
    study: int
    split: str
    images: tuple[tuple[str, int], ...]
    indication: str
    findings: str
    impression: str

    @property
    def mimic(self) -> tuple[str, str]:
        return f"p1{self.patient % 3}0000{self.patient:02d}", f"s500000{self.study:02d}"


EXAMS = [
    Exam(
        patient=study // 2,
        study=study,
        split=SPLITS[study // 2],
        images=(("PA", 10 * study + 1), ("LATERAL", 10 * study + 2)) if study % 3 == 0 else (("AP", 10 * study + 3),),
        indication=f"Cough for {study + 1} days.",
        findings=f"{FINDINGS[study % 4]} Tube {study} cm above the carina.",
        impression=f"Finding {study}.",
    )
    for study in range(24)
]


def picture(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (24, 16), grey).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def table(path: Path, rows: list[dict], packed: bool = False) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    content = buffer.getvalue().encode()
    put(path, gzip.compress(content) if packed else content)


def report_text(exam: Exam) -> str:
    return (
        f" FINAL REPORT\n EXAMINATION:  CHEST\n \n INDICATION:  {exam.indication}\n \n"
        f" FINDINGS: \n \n {exam.findings}\n \n"
        f" IMPRESSION:  {exam.impression}\n"
    )


def write_mimic(
    root: Path, exams=EXAMS, reports: str = "txt", packed: bool = False, suffix: str = ".jpg", encode=picture
) -> None:
    """MIMIC-CXR-JPG below `root`, reports below `root`/../mimic-cxr, lateral images first in the metadata."""
    records, splits, texts = [], [], []
    for exam in exams:
        patient, study = exam.mimic
        for at, (view, grey) in reversed(list(enumerate(exam.images))):
            dicom = f"{exam.study:08d}-{at}"
            put(root / "files" / patient[:3] / patient / study / f"{dicom}{suffix}", encode(grey))
            ids = {"dicom_id": dicom, "subject_id": patient[1:], "study_id": study[1:]}
            date = {"StudyDate": 21800101 + 10000 * (exam.study % 2), "StudyTime": f"{exam.study}14.531"}
            records.append({**ids, "ViewPosition": view, **date})
            splits.append({"dicom_id": dicom, "study_id": study[1:], "subject_id": patient[1:], "split": exam.split})
            splits[-1]["split"] = {"valid": "validate"}.get(exam.split, exam.split)
        place = f"files/{patient[:3]}/{patient}/{study}.txt"
        texts.append((place, report_text(exam), exam))
    end = ".csv.gz" if packed else ".csv"
    table(root / f"mimic-cxr-2.0.0-metadata{end}", records, packed)
    table(root / f"mimic-cxr-2.0.0-split{end}", splits, packed)
    if reports == "txt":
        for place, text, _ in texts:
            put(root.parent / "mimic-cxr-reports" / place, text)
    elif reports == "zip":
        with zipfile.ZipFile(root / "mimic-cxr-reports.zip", "w") as file:
            for place, text, _ in texts:
                file.writestr(place, text)
    elif reports == "sectioned":
        sectioned = [
            {
                "study": e.mimic[1],
                "impression": e.impression,
                "findings": e.findings,
                "last_paragraph": "",
                "comparison": "",
            }
            for _, _, e in texts
        ]
        table(root / "mimic_cxr_sectioned.csv", sectioned)


def write_chexpert(root: Path, exams=EXAMS, folder: str = "PNG", suffix: str = ".png", column: str = "image") -> None:
    rows = []
    for exam in exams:
        for at, (view, grey) in reversed(list(enumerate(exam.images, 1))):
            split = exam.split if exam.split != "test" else "valid"
            name = f"{split}/patient{exam.patient}/study{exam.study % 2 + 1}/view{at}"
            put(root / folder / f"{name}{suffix}", picture(grey))
            rows.append(
                {
                    "path_to_image": f"{name}.jpg",
                    "path_to_dcm": f"{name}.dcm",
                    "frontal_lateral": "Lateral" if view == "LATERAL" else "Frontal",
                    "ap_pa": "" if view == "LATERAL" else view,
                    "deid_patient_id": f"patient{exam.patient}",
                    "patient_report_date_order": float(exam.study % 2 + 1),
                    "report": "whole text",
                    "section_clinical_history": "" if exam.study % 2 else exam.indication,
                    "section_history": exam.indication if exam.study % 2 else "other",
                    "section_findings": exam.findings,
                    "section_impression": exam.impression,
                    "age": 61,
                    "split": split,
                }
            )
    table(root / "df_chexpert_plus_240401.csv", rows)


def write_rexgradient(root: Path, exams=EXAMS) -> None:
    parts: dict[str, dict] = {"train": {}, "valid": {}, "test": {}}
    for exam in exams:
        names = [f"deid_png/{exam.patient}/{exam.study}/{at}.png" for at in range(len(exam.images))]
        for name, (_, grey) in zip(names, exam.images, strict=True):
            put(root / name, picture(grey))
        parts[exam.split][f"study_{exam.study}"] = {
            "PatientID": f"GR{exam.patient}",
            "AccessionNumber": f"A{exam.study}",
            "StudyInstanceUid": f"1.2.{exam.study}",
            "PatientAge": "007Y",
            "StudyDate": f"2010010{exam.study % 2 + 1}",
            "Indication": exam.indication,
            "Comparison": float("nan"),  # bare NaN in the file
            "Findings": exam.findings,
            "Impression": exam.impression,
            "ImagePath": [f"../{name}" for name in names][::-1],
            "ImageViewPosition": [view if view != "PA" else "POSTERO_ANTERIOR" for view, _ in exam.images][::-1],
        }
    for split, rows in parts.items():
        put(root / "metadata" / f"{split}_metadata_view_position.json", json.dumps(rows))


def write_padchest(root: Path, exams=EXAMS) -> None:
    reports, rows = [], []
    for exam in exams:
        first, second = (sentence.strip(". ") + "." for sentence in exam.findings.split(". ", 1))
        for at, (_, grey) in enumerate(exam.images):
            image = f"{exam.study}_{at}.png"
            put(root / "Padchest_GR_files" / "PadChest_GR" / image, picture(grey))
            findings = [{"sentence_en": first, "sentence_es": "uno.", "abnormal": True}, {"sentence_en": second}]
            reports.append({"StudyID": f"{exam.study}", "ImageID": image, "findings": findings})
            ids = {"StudyID": f"{exam.study}", "PatientID": exam.patient, "ImageID": image}
            rows += [{**ids, "label": label, "split": exam.split.replace("valid", "validation")} for label in "ab"]
    put(root / "grounded_reports_20240819.json", json.dumps(reports))
    table(root / "master_table.csv", rows)


def write_openi(root: Path, exams=EXAMS) -> None:
    for exam in exams:
        images = ""
        for at, (_, grey) in enumerate(exam.images):
            name = f"CXR{exam.study}_IM-0001-{at}"
            put(root / "NLMCXR_png" / f"{name}.png", picture(grey))
            images += f'<parentImage id="{name}"><caption>Chest</caption></parentImage>'
        texts = {
            "COMPARISON": "",
            "INDICATION": exam.indication,
            "FINDINGS": exam.findings,
            "IMPRESSION": exam.impression,
        }
        abstract = "".join(f'<AbstractText Label="{label}">{text}</AbstractText>' for label, text in texts.items())
        put(
            root / "ecgen-radiology" / f"{exam.study}.xml",
            f"<eCitation><Abstract>{abstract}</Abstract>{images}</eCitation>",
        )


def write_indiana(root: Path, exams=EXAMS) -> None:
    reports, projections = [], []
    for exam in exams:
        for at, (view, grey) in reversed(list(enumerate(exam.images))):
            name = f"{exam.study}_{at}.png"
            put(root / "images" / "images_normalized" / name, picture(grey))
            side = "Lateral" if view == "LATERAL" else "Frontal"
            projections.append({"uid": exam.study, "filename": name, "projection": side})
        texts = {"indication": exam.indication, "findings": exam.findings, "impression": exam.impression}
        reports.append({"uid": exam.study, "image": "Xray", **texts})
    table(root / "indiana_reports.csv", reports)
    table(root / "indiana_projections.csv", projections)


def write_r2gen(root: Path, exams=EXAMS) -> None:
    parts: dict[str, list] = {"train": [], "val": [], "test": []}
    for exam in exams:
        name, split = f"CXR{exam.study}_IM-00{exam.study}", exam.split.replace("valid", "val")
        paths = [f"{name}/{at}.png" for at in range(len(exam.images))]
        for path, (_, grey) in zip(paths, exam.images, strict=True):
            put(root / "images" / path, picture(grey))
        parts[split].append({"id": name, "report": exam.findings, "image_path": paths, "split": split})
    put(root / "annotation.json", json.dumps(parts))


def write_rexrank(root: Path, exams=EXAMS) -> None:
    rows = {}
    for exam in exams:
        patient, study = exam.mimic
        paths = [f"/{patient[:3]}/{patient}/{study}/{at}.jpg" for at in range(len(exam.images))]
        for path, (_, grey) in zip(paths, exam.images, strict=True):
            put(root / "files" / path[1:], picture(grey))
        rows[study] = {
            "image_path": paths[::-1],
            "key_image_path": paths[0],
            "context": f"Age:60-70. Gender:F. Indication: {exam.indication} Comparison: None.",
            "section_findings": exam.findings,
            "section_impression": float("nan"),
            "report": "whole text",
            "split": exam.split,
        }
    put(root / "data.json", json.dumps(rows))


@pytest.fixture(scope="session")
def forms():
    """Names that tests of the layouts use."""
    import sys

    return sys.modules[__name__]
