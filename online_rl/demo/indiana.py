"""Reads the report files of the IU X-ray collection and turns their labels into findings that can be drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from online_rl.demo.pathology import SIDES, Finding, draw_finding, scale_of
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
    if not path.is_file():
        raise DataError(
            f"demo.reports is {str(folder)!r}, but {path} does not exist; expected the folder of the IU X-ray "
            "collection that holds indiana_reports.csv."
        )
    reports: list[Report] = []
    left_out = {"empty findings": 0}
    with open(path, newline="", encoding="utf-8") as lines:
        table = csv.DictReader(lines)
        missing = [column for column in COLUMNS if column not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"demo.reports: {path} lacks the columns {missing}; found {table.fieldnames}.")
        for number, row in enumerate(table, 2):
            if not (row["findings"] or "").strip():
                left_out["empty findings"] += 1
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
        term, *rest = (part.strip() for part in label.split("/"))
        qualifiers, name = set(rest), TERMS.get(term)
        if name is None or (term in NEEDS and not NEEDS[term] & qualifiers):
            continue
        finding = _specify(name, qualifiers, rng)
        if all(finding.name != other.name for other in found):
            found.append(finding)
    return tuple(found)


def _specify(name: str, qualifiers: set[str], rng: np.random.Generator) -> Finding:
    guess = draw_finding(name, rng)
    side, zone, severity = guess.side, guess.zone, guess.severity
    if side:
        left, right = bool(qualifiers & {"left", "lingula"}), bool(qualifiers & {"right", "middle lobe"})
        if "bilateral" in qualifiers or (left and right):
            side = "bilateral" if name in ("effusion", "atelectasis") else side
        elif left or right:
            side = "left" if left else "right"
        elif side == "bilateral":
            side = SIDES[rng.integers(2)]
    if zone and name != "atelectasis":
        zone = next((ZONES[word] for word in ZONES if word in qualifiers), zone)
    if severity:
        usual = 0 if name == "effusion" else 1  # a label names the size if it is not the usual one
        severity = scale_of(name)[next((SEVERITY[word] for word in SEVERITY if word in qualifiers), usual)]
    return Finding(name, side, zone, severity, guess.size_mm)
