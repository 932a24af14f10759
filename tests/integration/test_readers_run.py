"""One step on data as researchers have them: MIMIC-CXR in JPEG and in DICOM, a `save_to_disk` folder, CheXpert Plus."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from tests.integration.launch import records, resolved, train
from tests.unit.data import conftest as forms
from tests.unit.data.test_dicom import dicom

pytestmark = pytest.mark.long


def in_dicom(grey: int) -> bytes:
    """A picture of 12 bits with something to see in it."""
    pixels = np.full((24, 16), 16 * grey, np.uint16)
    pixels[:4, :4], pixels[-4:, -4:] = 0, 4095
    return dicom(pixels)


def mimic_jpg(root: Path) -> Path:
    forms.write_mimic(root / "mimic-cxr-jpg")
    return root / "mimic-cxr-jpg"


def mimic_dicom(root: Path) -> Path:
    forms.write_mimic(root / "mimic-cxr", suffix=".dcm", encode=in_dicom)
    return root / "mimic-cxr"


def saved(root: Path) -> Path:
    """As CheXalign keeps its data."""
    rows: dict[str, list[dict]] = {"train": [], "valid": [], "test": []}
    for exam in forms.EXAMS:
        paths = [root / "png" / f"{exam.study}-{at}.png" for at in range(len(exam.images))]
        for path, (_, grey) in zip(paths, exam.images, strict=True):
            forms.put(path, forms.picture(grey))
        row = {"image_path": [str(path) for path in paths], "text": exam.indication, "target_text": exam.findings}
        rows[exam.split].append(row)
    names = {"train": "train", "valid": "validation", "test": "test"}
    DatasetDict({names[s]: Dataset.from_list(part) for s, part in rows.items()}).save_to_disk(root / "set")
    return root / "set"


def chexpert(root: Path) -> Path:
    forms.write_chexpert(root / "chexpert")
    return root / "chexpert"


FORMS = {
    "mimic_cxr": ("mimic_cxr", mimic_jpg),
    "mimic_cxr in DICOM": ("mimic_cxr", mimic_dicom),
    "hf": ("hf", saved),
    "chexpert_plus": ("chexpert_plus", chexpert),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_line_names_the_data_and_it_trains(form, work, small, tmp_path):
    reader, write = FORMS[form]
    place = write(tmp_path)
    settings = ["train.max_steps=1", "eval.studies=2", "train.micro_batch_tokens=1024", "data.eval_fraction=0.25"]
    run = f"run.dir={tmp_path / 'run'}"
    named = [f"data.reader={reader}", f"data.path={place}"]
    finished = train(work / f"reader {form}", *small, *settings, *named, run, ranks=1).ok()
    [line] = records(finished.run_dir)
    assert line["step"] == 1 and line["grad_norm"] > 0 and line["sampling/sampling_logp_difference/mean"] < 1e-3
    assert resolved(finished.run_dir).data.reader == reader
    assert not (finished.run_dir / "quarantine.jsonl").exists(), "every image was read"
