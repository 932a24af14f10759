"""Reads the report files of the IU X-ray collection and turns their labels into findings that can be drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from online_rl.demo.pathology import GRADES, SIZES, Finding, compatible, draw_finding
from online_rl.errors import DataError

# First term of a label -> what is drawn. A label such as "Pleural Effusion/left/small" is a term and its qualifiers.
TERMS = {
    "Cardiomegaly": "cardiomegaly",
    "Cardiac Shadow": "cardiomegaly",
    "Pleural Effusion": "effusion",
    "Costophrenic Angle": "effusion",
    "Pneumothorax": "pneumothorax",
    "Opacity": "consolidation",
    "Density": "consolidation",
    "Consolidation": "consolidation",
    "Infiltrate": "consolidation",
    "Airspace Disease": "consolidation",
    "Pneumonia": "consolidation",
    "Pulmonary Edema": "edema",
    "Pulmonary Congestion": "edema",
    "Heart Failure": "edema",
    "Pulmonary Atelectasis": "atelectasis",
    "Cicatrix": "atelectasis",
    "Nodule": "nodule",
    "Mass": "nodule",
    "Granuloma": "nodule",
    "Calcified Granuloma": "nodule",
    "Catheters, Indwelling": "central_line",
    "Tube, Inserted": "endotracheal_tube",
    "Implanted Medical Device": "pacemaker",
    "Medical Device": "pacemaker",
    "Surgical Instruments": "sternotomy_wires",
    "Sutures": "sternotomy_wires",
}
# Where the term alone is not enough: it is drawn only with one of these qualifiers.
NEEDS = {
    "Cardiac Shadow": {"enlarged"},
    "Costophrenic Angle": {"blunted"},
    "Cicatrix": {"base", "lower lobe", "lingula"},
    "Surgical Instruments": {"mediastinum", "sternum", "thorax", "heart"},
    "Sutures": {"mediastinum", "sternum"},
}
ZONES = {
    "apex": "upper", "upper lobe": "upper", "paratracheal": "upper",
    "middle lobe": "mid", "lingula": "mid", "hilum": "mid",
    "base": "lower", "lower lobe": "lower", "retrocardiac": "lower", "costophrenic angle": "lower",
}  # fmt: skip
SEVERITY = {"borderline": 0, "mild": 0, "small": 0, "moderate": 1, "severe": 2, "large": 2}
COLUMNS = ("uid", "MeSH", "indication", "findings")


@dataclass(frozen=True)
class Report:
    """One row of indiana_reports.csv that can become a study."""

    uid: int
    labels: tuple[str, ...]
    indication: str
    findings: str


def read_reports(folder: str | Path) -> tuple[list[Report], dict[str, int]]:
    """The usable rows in the order of the file, and how many were left out, by reason."""
    path = Path(folder) / "indiana_reports.csv"
    projections = Path(folder) / "indiana_projections.csv"
    for needed in (path, projections):
        if not needed.is_file():
            raise DataError(
                f"demo.reports: {needed} not found; expected the folder of the IU X-ray collection with "
                "indiana_reports.csv and indiana_projections.csv."
            )
    with open(projections, newline="", encoding="utf-8") as lines:
        frontal = {row.get("uid") for row in csv.DictReader(lines) if row.get("projection") == "Frontal"}
    reports: list[Report] = []
    left_out = {"empty findings": 0, "no frontal image": 0}
    with open(path, newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"demo.reports: {path} lacks the columns {missing}; found {table.fieldnames}.")
        for number, row in enumerate(table, 2):
            if not (row["findings"] or "").strip():
                left_out["empty findings"] += 1
            elif row["uid"] not in frontal:
                left_out["no frontal image"] += 1
            elif not row["uid"].isdigit():
                raise DataError(f"demo.reports: {path}, line {number}: uid is {row['uid']!r}; expected a number.")
            else:
                labels = tuple(label.strip() for label in (row["MeSH"] or "").split(";") if label.strip())
                text = row["findings"].strip()
                reports.append(Report(int(row["uid"]), labels, (row["indication"] or "").strip(), text))
    return reports, left_out


def findings_of(labels: tuple[str, ...], rng: np.random.Generator) -> tuple[Finding, ...]:
    """What can be drawn of the labels. What a label leaves open (a side, a size) is drawn by chance."""
    found: list[Finding] = []
    for label in labels:
        term, *qualifiers = (part.strip() for part in label.split("/"))
        name = TERMS.get(term)
        if name is None or (term in NEEDS and not NEEDS[term] & set(qualifiers)):
            continue
        for finding in _specify(name, set(qualifiers), rng):
            if finding.name != "consolidation" or all(compatible(finding, other) for other in found):
                if all(finding.name != other.name for other in found):
                    found.append(finding)
    return tuple(found[:5])


def _specify(name: str, qualifiers: set[str], rng: np.random.Generator) -> list[Finding]:
    guess = draw_finding(name, rng)
    both = "bilateral" in qualifiers or {"left", "right"} <= qualifiers
    side = guess.side
    if side is not None:
        can_be_both = name in ("effusion", "atelectasis")
        if both and can_be_both:
            side = "bilateral"
        elif not both and qualifiers & {"left", "lingula"}:
            side = "left"
        elif not both and qualifiers & {"right", "middle lobe"}:
            side = "right"
        elif side == "bilateral" and not both:
            side = "left"
    zone = next((ZONES[q] for q in ZONES if q in qualifiers), guess.zone) if guess.zone else None
    severity = guess.severity
    if severity is not None:
        scale = SIZES if severity in SIZES and name in ("effusion", "pneumothorax") else GRADES
        stated = [SEVERITY[q] for q in SEVERITY if q in qualifiers]
        severity = scale[stated[0] if stated else (0 if "blunted" in qualifiers else 1 if name != "effusion" else 0)]
    if name == "atelectasis":
        zone = "lower"
    return [Finding(name, side, zone, severity, guess.size_mm)]
