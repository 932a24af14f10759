"""How long does it take to read a large data set, and how much memory? MIMIC-CXR's 227,835 studies, made up.

    python benchmarks/reading.py [--studies N] [--rounds N] [--work DIR] [--json FILE]

    JSONL        one file, a study per line
    mimic_cxr    MIMIC-CXR-JPG's tree: csv.gz of splits and metadata, a text file per report, a folder per study

Reports of 600 to 1,200 characters come from 500 made-up texts; images and report files are links to one small image
and to these texts. Each reading is a process of its own; seconds are those of `read_studies` alone, memory is what the
process grew by in it, both medians of the rounds. "From the cache" is a later start with `data.study_cache`. The goals
are 15 s and 400 MiB for JSONL, 60 s for the tree, and 3 s from the cache.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import keep

STUDIES, TEXTS, PER_PATIENT = 227_835, 500, 3.5
FROM_CACHE = ", from the cache"
GOALS: dict[str, tuple[float, float | None]] = {
    "JSONL": (15.0, 400.0),
    f"JSONL{FROM_CACHE}": (3.0, None),
    "mimic_cxr": (60.0, None),
    f"mimic_cxr{FROM_CACHE}": (3.0, None),
}
SENTENCES = (
    "The lungs are clear without focal consolidation.",
    "There is a small left pleural effusion with adjacent atelectasis.",
    "No pneumothorax is seen.",
    "The cardiomediastinal silhouette is mildly enlarged but unchanged in contour.",
    "A right internal jugular catheter ends in the lower superior vena cava.",
    "Degenerative changes are noted in the thoracic spine.",
    "There is mild interstitial edema with fullness of the hila.",
    "The endotracheal tube ends 4 cm above the carina.",
)


def texts() -> list[str]:
    """Findings of 500 to 1,000 characters, so that whole reports have 600 to 1,200."""
    chance, found = random.Random(0), []
    for _ in range(TEXTS):
        text, goal = "", chance.randint(500, 1000)
        while len(text) < goal:
            text = f"{text} {chance.choice(SENTENCES)}".strip()
        found.append(text)
    return found


def studies(count: int) -> Iterator[tuple[int, int, str]]:
    """(study id, patient id, split), one after the other."""
    chance, patient, left = random.Random(1), 10_000_000, 0
    split = "train"
    for number in range(count):
        if not left:
            patient, left = patient + chance.randint(1, 200), max(1, round(chance.expovariate(1 / PER_PATIENT)))
            split = chance.choices(("train", "validate", "test"), (0.965, 0.015, 0.02))[0]
        left -= 1
        yield 50_000_000 + number, patient, split


def write_jsonl(folder: Path, count: int) -> None:
    image, found = _image(folder), texts()
    with (folder / "studies.jsonl").open("w") as file:
        for number, (study, patient, split) in enumerate(studies(count)):
            row = {
                "study_id": f"s{study}",
                "patient_id": f"p{patient}",
                "split": split,
                "images": [image.name],
                "indication": "Shortness of breath.",
                "findings": found[number % TEXTS],
            }
            file.write(json.dumps(row) + "\n")


def write_mimic(folder: Path, count: int) -> None:
    """MIMIC-CXR-JPG's tree beside MIMIC-CXR's reports."""
    image, places = _image(folder), []
    for number, text in enumerate(texts()):
        place = folder / f"text-{number}.txt"
        place.write_text(
            f"EXAMINATION:  CHEST\n\n INDICATION:  Dyspnea.\n\n FINDINGS:\n\n {text}\n\n IMPRESSION:\n\n As above.\n"
        )
        places.append(place)
    splits, metadata = (folder / f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("split", "metadata"))
    with (
        gzip.open(splits, "wt", compresslevel=1, newline="") as one,
        gzip.open(metadata, "wt", compresslevel=1) as other,
    ):
        split_rows, metadata_rows = csv.writer(one), csv.writer(other)
        split_rows.writerow(["dicom_id", "study_id", "subject_id", "split"])
        metadata_rows.writerow(["dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"])
        for number, (study, patient, split) in enumerate(studies(count)):
            dicom = f"{number:08x}-aaaa"
            split_rows.writerow([dicom, study, patient, split])
            metadata_rows.writerow([dicom, patient, study, "PA", 21_800_101 + number % 28, 101_112])
            home = folder / "files" / f"p{patient // 1_000_000}" / f"p{patient}"
            (home / f"s{study}").mkdir(parents=True)
            (home / f"s{study}" / f"{dicom}.jpg").symlink_to(image)
            (home / f"s{study}.txt").symlink_to(places[number % TEXTS])


def _image(folder: Path) -> Path:
    from PIL import Image

    place = folder / "image.jpg"
    Image.new("L", (64, 64), 90).save(place)
    return place


MAKERS = {"JSONL": write_jsonl, "mimic_cxr": write_mimic}
SETTINGS = {"JSONL": ("jsonl", "studies.jsonl"), "mimic_cxr": ("mimic_cxr", ".")}


def read(form: str, folder: Path, cache: bool) -> dict[str, float]:
    """Seconds and MiB of one reading, in this process."""
    from online_rl.config import config_from_dict
    from online_rl.data.readers import read_studies

    reader, path = SETTINGS[form]
    data = {"reader": reader, "path": str(folder / path)}
    if cache:
        data["study_cache"] = str(folder.parent / "cache")
    cfg = config_from_dict({"data": data})
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = read_studies(cfg)
    seconds = time.perf_counter() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "MiB": grown, "studies": len(found.train) + found.report["test"] + found.report["eval"]}


def measure(name: str, work: Path, count: int, rounds: int) -> dict[str, Any]:
    form, cache = name.removesuffix(FROM_CACHE), name.endswith(FROM_CACHE)
    folder = work / f"{form}-{count}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True)
        MAKERS[form](folder, count)
        (folder / "done").touch()
    command = [sys.executable, str(Path(__file__).resolve()), "--read", form, str(folder), str(int(cache))]
    if cache:
        subprocess.run(command, check=True, capture_output=True)  # fills it
    taken = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    return {key: statistics.median(one[key] for one in taken) for key in taken[0]}


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| form | studies | seconds | goal | MiB | goal |", "|---|---|---|---|---|---|"]
    for form, found in results.items():
        seconds, memory = GOALS[form]
        goal = "-" if memory is None else f"{memory:.0f}"
        measured = f"{found['seconds']:.1f} | {seconds:.0f} | {found['MiB']:.0f} | {goal}"
        lines.append(f"| {form} | {found['studies']:,.0f} | {measured} |")
    return "\n".join(lines)


def main() -> int:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--studies", type=int, default=STUDIES)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--work", type=Path, help="folder in which the data sets are made and kept")
    made.add_argument("--json", metavar="FILE")
    made.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.read:
        print(json.dumps(read(given.read[0], Path(given.read[1]), given.read[2] == "1")))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        results = {form: measure(form, work, given.studies, given.rounds) for form in GOALS}
    where = machine()
    text = f"# Reading data\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores.\n\n{table(results)}\n"
    keep("reading", text, {"machine": where, "results": results}, given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
