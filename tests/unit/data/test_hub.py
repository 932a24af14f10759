"""Data sets of the `datasets` library and of other trainers: the same studies, images fetched when they are shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.data.held_image import HeldImage
from online_rl.data.image_cache import cached_image
from online_rl.data.images import load_image
from online_rl.data.readers import read_studies
from online_rl.errors import DataError

datasets = pytest.importorskip("datasets", reason="requirements/ has it")


def read(path, **data):
    data = {"reader": "hf", "path": str(path), "eval_fraction": 0.0, **data}
    return read_studies(config_from_dict({"data": data, "eval": {"studies": None}}))


def greys(study):
    return [load_image(image, 64).getpixel((3, 3))[0] for image in study.images]


@pytest.fixture
def exams(forms, tmp_path):
    for exam in forms.EXAMS:
        for at, (_, grey) in enumerate(exam.images):
            forms.put(tmp_path / "png" / f"{exam.study}-{at}.png", forms.picture(grey))
    return [
        (exam, [str(tmp_path / "png" / f"{exam.study}-{at}.png") for at in range(len(exam.images))])
        for exam in forms.EXAMS
    ]


def by_split(exams, row):
    """A DatasetDict of rows, with Image columns where `row` gives PIL images."""
    names = {"train": "train", "valid": "validation", "test": "test"}
    parts = {names[s]: [row(e, paths) for e, paths in exams if e.split == s] for s in names}
    return datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in parts.items()})


ROWS = {
    "chexalign": lambda e, p: {
        "data_source": "MIMIC-CXR", "image_path": p, "text": e.indication, "target_text": e.findings
    },
    "rrg24": lambda e, p: {
        "source": "x", "findings": e.findings, "impression": e.impression, "images": [Image.open(i) for i in p]
    },
    "srrg": lambda e, p: {
        "id": f"s{e.study}", "image_paths": p, "findings_section": e.findings, "history_section": e.indication
    },
    "verl": lambda e, p: {
        "prompt": [{"role": "user", "content": "<image> Report."}],
        "images": [{"image": i} for i in p],
        "reward_model": {"style": "rule", "ground_truth": e.findings},
    },
    "ms-swift": lambda e, p: {
        "messages": [{"role": "user", "content": "<image>Report."}, {"role": "assistant", "content": e.findings}],
        "images": p,
    },
    "llava": lambda e, p: {
        "id": f"s{e.study}", "image": p,
        "conversations": [{"from": "human", "value": "<image>\nReport."}, {"from": "gpt", "value": e.findings}],
    },
}  # fmt: skip


@pytest.mark.parametrize("form", ROWS)
@pytest.mark.parametrize("stored", ["save_to_disk", "parquet"])
def test_the_same_studies_in_every_form(exams, tmp_path, form, stored):
    data = by_split(exams, ROWS[form])
    if stored == "save_to_disk":
        data.save_to_disk(tmp_path / "set")
    else:
        for split, part in data.items():
            (tmp_path / "set" / "data").mkdir(parents=True, exist_ok=True)
            part.to_parquet(tmp_path / "set" / "data" / f"{split}-00000.parquet")
    studies = read(tmp_path / "set")
    assert [len(part) for part in (studies.train, studies.eval, studies.test)] == [16, 4, 4]
    found = {study.reference: study for study in (*studies.train, *studies.eval, *studies.test)}
    for exam, _ in exams:
        study = found[exam.findings]
        assert greys(study) == [grey for _, grey in exam.images]
        assert study.indication == (exam.indication if form in ("chexalign", "srrg") else "")
        assert study.split == {"train": "train", "valid": "eval", "test": "test"}[exam.split]
    assert any("split by patient is impossible" in doubt for doubt in studies.doubts)


@pytest.mark.parametrize("form", ["ms-swift", "llava"])
def test_json_files_of_other_trainers(exams, tmp_path, form):
    rows = [ROWS[form](e, paths) for e, paths in exams]
    (tmp_path / "train.json").write_text(json.dumps(rows))
    studies = read(tmp_path / "train.json").train
    assert [study.reference for study in studies] == [e.findings for e, _ in exams]
    assert studies[0].columns["question"] == "Report."


def test_images_inside_the_data_set_are_fetched_when_they_are_shown(exams, tmp_path):
    by_split(exams, ROWS["rrg24"]).save_to_disk(tmp_path / "set")
    study = read(tmp_path / "set", max_images=1).train[0]
    [image] = study.images
    assert HeldImage.is_one(image) and len(image) < 300, "no pixels are read with the rows"
    assert load_image(str(image), 64).getpixel((0, 0)) == (1, 1, 1)
    assert cached_image(image, 64, "", str(tmp_path / "cache")).getpixel((0, 0)) == (1, 1, 1)


def test_null_images_are_left_out_and_undecodable_ones_quarantined(exams, tmp_path):
    feature = datasets.Features({"image": datasets.Image(), "findings": datasets.Value("string")})
    good = Path(exams[0][1][0]).read_bytes()
    rows = [{"bytes": good, "path": None}, None, {"bytes": b"not an image", "path": None}]
    data = {"image": rows, "findings": ["Clear.", "Edema.", "Effusion."]}
    datasets.Dataset.from_dict(data, features=feature).to_parquet(tmp_path / "train.parquet")
    studies = read(tmp_path / "train.parquet")
    assert [study.reference for study in studies.train] == ["Clear.", "Effusion."]
    assert studies.report["left out: no image"] == 1
    with pytest.raises(DataError, match=r"row: image .*neither PNG nor JPEG"):
        load_image(studies.train[1].images[0], 64, "row")


def test_what_is_not_there_or_no_data_set(tmp_path):
    with pytest.raises(DataError, match="is not there, expected a file, a folder, or owner/name on the hub"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be read by the datasets library.*hub in reach"):
        read("nobody/no-such-data-set")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found neither a save_to_disk folder nor parquet files"):
        read(tmp_path / "empty")
    (tmp_path / "x.parquet").write_bytes(b"PAR1cut")
    with pytest.raises(DataError, match="cannot be read by the datasets library"):
        read(tmp_path / "x.parquet")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"found a name ending in '\.txt'"):
        read(tmp_path / "x.txt")


def test_a_split_called_eval_is_held_out_and_an_unknown_one_is_refused(exams, tmp_path):
    data = by_split(exams, ROWS["srrg"])
    for name in ("eval", "evaluation"):
        parts = datasets.DatasetDict({"train": data["train"], name: data["validation"]})
        parts.save_to_disk(tmp_path / name)
        studies = read(tmp_path / name)
        assert (len(studies.train), len(studies.eval)) == (16, 4)
    for folder, third in (("known", "test"), ("unknown", "holdout")):
        (tmp_path / folder).mkdir()
        for name, part in (("train", "train"), ("eval", "validation"), (third, "test")):
            data[part].to_parquet(tmp_path / folder / f"{name}-00000-of-00001.parquet")
    studies = read(tmp_path / "known")
    assert (len(studies.train), len(studies.eval)) == (16, 4)
    with pytest.raises(DataError, match="a part named 'holdout' among 3"):
        read(tmp_path / "unknown")


def test_an_image_column_of_another_name_is_found_by_its_type(exams, tmp_path):
    def row(exam, paths):
        return {"findings": exam.findings, "xray": Image.open(paths[0])}

    by_split(exams, row).save_to_disk(tmp_path / "set")
    study = read(tmp_path / "set", columns={"images": "xray"}).train[0]
    assert HeldImage.is_one(study.images[0])


@pytest.mark.parametrize("name", ["train", "all"])
def test_one_part_without_splits_holds_patients_out_as_other_readers_do(exams, tmp_path, name):
    rows = [{"patient_id": e.patient, "image_paths": paths, "findings": e.findings} for e, paths in exams]
    datasets.DatasetDict({name: datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "set")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read(tmp_path / "set", eval_fraction=0.4)
    same = read(tmp_path / "rows.jsonl", reader="jsonl", eval_fraction=0.4)
    held_out = {study.patient_id for study in found.eval}
    assert held_out == {study.patient_id for study in same.eval} and 0 < len(held_out) < 12
    assert len(found.train) + len(found.eval) == 24


def test_one_part_of_another_split_is_that_split(exams, tmp_path):
    by_split(exams, ROWS["srrg"])["test"].to_parquet(tmp_path / "test.parquet")
    with pytest.raises(DataError, match="no study to train on"):
        read(tmp_path)
