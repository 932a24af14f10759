"""Writes the demo world: a folder of drawn chest X-rays and `studies.jsonl`, the same bytes for the same seed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from online_rl.demo import indiana
from online_rl.demo.anatomy import Body
from online_rl.demo.pathology import DEVICES, Finding, draw_findings, evolve
from online_rl.demo.rendering import render
from online_rl.demo.reports import write_indication, write_report
from online_rl.errors import ConfigError

SPLITS = (("eval", 0.20), ("test", 0.08))  # shares of the patients; the rest is train


@dataclass(frozen=True)
class Plan:
    """One study before it is drawn: its row of studies.jsonl, and what the image shows."""

    row: dict[str, Any]
    body: Body
    findings: tuple[Finding, ...]


def write_world(
    folder: Path,
    studies: int = 2400,
    seed: int = 0,
    reports: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Path:
    """Write `studies` studies under `folder` and return the path of its studies.jsonl.

    Beside it lies world.json: what was asked for, and how many rows of `reports` were left out and why.

    reports   folder of the IU X-ray csv files: real reports and indications, images drawn from their labels
    progress  called with (images drawn, images in all)
    workers   processes; the result does not depend on their number. Default: one for each core
    A folder that is there already is replaced as a whole, and only when the new one is complete.
    """
    if studies < 1:
        raise ConfigError(f"demo.studies is {studies}; it must be at least 1.")
    left_out: dict[str, int] = {}
    if reports:
        rows, left_out = indiana.read_reports(reports)
        plans = plan_indiana(rows[:studies], seed)
    else:
        plans = plan_patients(studies, seed)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        unfinished.chmod(0o755)
        (unfinished / "images").mkdir()
        _draw_all(plans, unfinished, workers or os.cpu_count() or 1, progress)
        with open(unfinished / "studies.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps(plan.row, ensure_ascii=False) + "\n" for plan in plans)
        about = {"studies": len(plans), "seed": seed, "reports": "iu_xray" if reports else "demo", "left_out": left_out}
        (unfinished / "world.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        _swap(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder / "studies.jsonl"


def plan_patients(studies: int, seed: int) -> list[Plan]:
    """Patients with one to four studies each. A study depends on the seed and its patient alone."""
    plans: list[Plan] = []
    patient = 0
    while len(plans) < studies:
        plans += _plan_patient(patient, seed)
        patient += 1
    return plans[:studies]


def _plan_patient(number: int, seed: int) -> list[Plan]:
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    patient = f"p{number:05d}"
    findings, prior = draw_findings(rng), None
    plans: list[Plan] = []
    for visit in range(1 + int(rng.choice(4, p=(0.52, 0.26, 0.14, 0.08)))):
        if visit:
            prior, findings = findings, evolve(findings, rng)
        name = f"{patient}_s{visit + 1}"
        row = {
            "study_id": name,
            "patient_id": patient,
            "image_paths": [f"images/{name}.png"],
            "view": draw_view(findings, rng),
            "indication": write_indication(findings, prior, rng),
            "findings": write_report(findings, rng),
            "split": split_of(patient, seed),
            "labels": [finding.label() for finding in findings],
        }
        plans.append(Plan(row, draw_body(str(row["view"]), seed, (number,), visit), findings))
    return plans


def plan_indiana(reports: Iterable[indiana.Report], seed: int) -> list[Plan]:
    """IU X-ray reports as they are; the images are drawn from their labels. Every report is its own patient."""
    plans: list[Plan] = []
    for report in reports:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(report.uid,)))
        findings = indiana.findings_of(report.labels, rng)
        name = f"iu{report.uid}"
        row = {
            "study_id": name,
            "patient_id": name,
            "image_paths": [f"images/{name}.png"],
            "view": "PA",
            "indication": report.indication,
            "findings": report.findings,
            "split": split_of(name, seed),
            "labels": [finding.label() for finding in findings],
        }
        plans.append(Plan(row, draw_body("PA", seed, (report.uid,), 0), findings))
    return plans


def draw_view(findings: Iterable[Finding], rng: np.random.Generator) -> str:
    """AP is the view of patients who cannot stand, who have most of the tubes."""
    lying = any(finding.name in DEVICES[:2] for finding in findings)
    return "AP" if rng.random() < (0.8 if lying else 0.12) else "PA"


def draw_body(view: str, seed: int, patient: tuple[int, ...], visit: int) -> Body:
    """The patient's build, the same in all visits, in the pose and exposure of this one."""
    build = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*patient, 0)))
    pose = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*patient, 1 + visit)))
    return Body.draw(build, pose, view)


def split_of(patient: str, seed: int) -> str:
    """train, eval or test, decided by a hash of the patient: it never depends on how many patients there are."""
    share = int.from_bytes(blake2b(f"{seed}/{patient}".encode(), digest_size=8).digest(), "big") / 2**64
    for split, width in SPLITS:
        if share < width:
            return split
        share -= width
    return "train"


def _draw_all(plans: list[Plan], folder: Path, workers: int, progress: Callable[[int, int], None] | None) -> None:
    jobs = ((folder / plan.row["image_paths"][0], plan.body, plan.findings) for plan in plans)
    if workers == 1 or len(plans) < 32:
        _count(map(_draw, jobs), len(plans), progress)
        return
    # fork, if there is one: a spawned worker would import the caller's main module, and with it torch and vLLM.
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    with ProcessPoolExecutor(min(workers, len(plans)), mp_context=multiprocessing.get_context(method)) as pool:
        _count(pool.map(_draw, jobs, chunksize=16), len(plans), progress)


def _count(drawn: Iterable[None], total: int, progress: Callable[[int, int], None] | None) -> None:
    for done, _ in enumerate(drawn, 1):
        if progress:
            progress(done, total)


def _draw(job: tuple[Path, Body, tuple[Finding, ...]]) -> None:
    path, body, findings = job
    # Entropy coding alone (zlib's Z_HUFFMAN_ONLY): grain does not repeat, so searching for repeats only costs time.
    Image.fromarray(render(body, findings)).save(path, compress_level=1, compress_type=2)


def _swap(new: Path, folder: Path) -> None:
    """Put `new` where `folder` is, keeping the old one until the new one is in place."""
    if not folder.exists():
        new.rename(folder)
        return
    old = folder.with_name(f"{new.name}.old")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
